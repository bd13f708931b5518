package main

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/lifecycle"
)

// podGrace is Kubernetes' default terminationGracePeriodSeconds.
const podGrace = 30 * time.Second

func TestRun_Arguments(t *testing.T) {
	for _, c := range []struct {
		args string
		env  map[string]string
		out  string   // part of what is printed
		errs []string // parts of the error; none: it was checked, and is valid
	}{
		{args: "--check", out: "the configuration is valid"},
		{args: "--check", env: map[string]string{"CONVOVIEW_MAX_RUNNING": "3"}, out: "valid"},
		{args: "--check --max-running 0 --clickhouse-max-connections 0 --admin-addr x", errs: []string{"max running 0", "max connections 0", `"x"`}},
		{args: "--check", env: map[string]string{"CONVOVIEW_DRAIN_TIMEOUT": "20s"}, errs: []string{"drain timeout 20s"}},
		{args: "--check --stuck-after 2s", errs: []string{"stuck after 2s: expected more than twice 1s"}},
		{args: "--check --stuck-after 2001ms", out: "valid"},
		{args: "--check --affinity-tokens 0,3,6,9", out: "valid"},
		{args: "--check --affinity-tokens=", errs: []string{"affinity tokens: expected at least one"}},
		{args: "--check", env: map[string]string{"CONVOVIEW_AFFINITY_TOKENS": "1, 4,1"}, errs: []string{"affinity token 1: expected once"}},
		{args: "--check --feed-silence 1ns --cache-max-age 999ms --generation-interval 1us", errs: []string{
			"feed silence 1ns: expected at least 1s", "cache max age 999ms: expected at least 1s", "generation interval 1µs: expected at least 1ms",
		}},
		{args: "--check --feed-silence 1s --cache-max-age 1s --generation-interval 1ms", out: "valid"},
		{args: "--check --nats-url=", errs: []string{"nats url"}},
		{args: "--nope", errs: []string{"nope"}},
		{args: "extra", errs: []string{`"extra"`}},
	} {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(c.args), func(name string) string { return c.env[name] }, &out)
		if errors.Is(err, lifecycle.ErrChecked) != (len(c.errs) == 0) || err == nil {
			t.Errorf("%q: got %v", c.args, err)
			continue
		}
		for _, part := range c.errs {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: no %q in %v", c.args, part, err)
			}
		}
		if !strings.Contains(out.String(), c.out) {
			t.Errorf("%q: no %q in %q", c.args, c.out, out.String())
		}
	}
}

// TestRun_Ready asks the one that runs, whatever is in the files that its settings name.
func TestRun_Ready(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "it is") }))
	defer ready.Close()
	for args, want := range map[string]string{
		"--nats-password-file nowhere --admin-addr " + ready.Listener.Addr().String(): "",
		"--admin-addr x": `admin address "x"`,
	} {
		var out strings.Builder
		err := run(t.Context(), append(strings.Fields(args), "--ready"), func(string) string { return "" }, &out)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && out.String() != "it is" {
			t.Errorf("%s: got %v, %q", args, err, out.String())
		}
	}
}

func TestRun_Help(t *testing.T) {
	var out strings.Builder
	err := run(t.Context(), []string{"--help"}, func(string) string { return "" }, &out)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "CONVOVIEW_NATS_URL") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestStopBudget_IsBelowThePodsGrace holds the parts of a stop within each other.
func TestStopBudget_IsBelowThePodsGrace(t *testing.T) {
	if drain := defaultConfig().query.DrainTimeout; drain >= stopBudget || stopBudget >= podGrace {
		t.Errorf("drain timeout %v, budget %v, grace %v: expected each less than the next", drain, stopBudget, podGrace)
	}
}
