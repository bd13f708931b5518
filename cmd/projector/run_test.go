package main

import (
	"errors"
	"flag"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime/debug"
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
		{args: "run --check", out: "the configuration is valid"},
		{args: "run --check", env: map[string]string{"CONVOVIEW_FLUSH_INTERVAL": "1s"}, out: "valid"},
		{args: "run --check --flush-interval -1s --clickhouse-database a;b --log-level loud", errs: []string{"flush", `"a;b"`, `"loud"`}},
		{args: "run --check", env: map[string]string{"CONVOVIEW_MAX_BATCH_BYTES": "much"}, errs: []string{"CONVOVIEW_MAX_BATCH_BYTES", `"much"`}},
		{args: "run --check --stop-timeout 25s", errs: []string{"stop timeout 25s", "less than 25s"}},
		{args: "run --check --clickhouse-write-timeout 20s", errs: []string{"write timeout 20s", "less than 20s, the stop timeout"}},
		{args: "run --check --stop-timeout 9s", errs: []string{"write timeout 10s", "less than 9s"}},
		{args: "run --check --stuck-after 2m", errs: []string{"stuck after 2m0s", "more than twice 1m0s"}},
		{args: "run --check --kafka-request-timeout 2562047h", errs: []string{"stuck after 5m0s", "more than twice 2562047h0m0s"}},
		{args: "run --check --kafka-heartbeat-interval 1500000h", errs: []string{"kafka heartbeat interval 1500000h0m0s: expected at most a third of"}},
		{args: "run --check --observe-interval 1us", errs: []string{"observe interval 1µs: expected at least 1ms"}},
		{args: "rebuild --check --stuck-after 5m --clickhouse-read-timeout 3m", errs: []string{"stuck after 5m0s", "more than twice 3m0s"}},
		{args: "run --check --limit-payload-bytes 0", errs: []string{"limit payload bytes 0"}},
		{args: "run --check --sweep-interval 25h", errs: []string{"sweep interval 25h0m0s", "expected 0 (never) to 23h0m0s"}},
		{args: "sweep --check --dry-run", out: "the configuration is valid"},
		{args: "sweep --check --clickhouse-database a-b --log-level loud", errs: []string{`"a-b"`, `"loud"`}},
		{args: "migrate --check", out: "the configuration is valid"},
		{args: "migrate --check --clickhouse-database a-b", errs: []string{`"a-b"`}},
		{args: "rebuild --check", out: "the configuration is valid"},
		{args: "rebuild --check --max-rate -1 --progress-interval 0s", errs: []string{"max rate -1", "progress interval 0s"}},
		{args: "rebuild --check --from 2026-11-23T03:00:00Z", out: "the configuration is valid"},
		{args: "rebuild --check --from chat.state/0=5,chat.state/1=7", out: "the configuration is valid"},
		{args: "rebuild --check --max-without-ids 0", errs: []string{"max without ids 0: expected at least 1"}},
		{args: "rebuild --check --from yesterday", errs: []string{`"yesterday"`, "expected a time such as"}},
		{args: "verify 2 --check", out: "the configuration is valid"},
		{args: "verify 2 --check --against -1 --max-differences 0", errs: []string{"against -1", "max differences 0"}},
		{args: "verify 2 --check --sample 100 --seed 7", out: "valid"},
		{args: "verify 2 --check --sample 100 --against 1", errs: []string{"sample 100", "--against"}},
		{args: "verify 2 --check --seed 7", errs: []string{"seed 7", "--sample"}},
		{args: "run --check --kafka-topics= --kafka-group=", errs: []string{"--kafka-topics", "--kafka-group"}},
		{args: "run --check --kafka-tls-server-name x --kafka-sasl-username ann", errs: []string{"kafka: tls: ", `kafka: sasl mechanism ""`}},
		{args: "run --check --kafka-topics=chat.messages;chat.state --kafka-dead-topic=..", errs: []string{
			`kafka topic "chat.messages;chat.state": expected 1 to 249 letters, digits, dots, underscores and hyphens`, `kafka topic ".."`,
		}},
		{args: "run --check --max-retry-interval 50ms", errs: []string{"max retry interval 50ms: expected at least the retry interval 100ms"}},
		{args: "run --check --kafka-brokers a:99999,b:x,c", errs: []string{`"a:99999"`, `"b:x"`, `"c"`}},
		{args: "run --flush-interval soon", errs: []string{`"soon"`, "expected a duration such as", "(projector run --help)"}},
		{args: "verify 2 --strikt", errs: []string{"strikt", "(projector verify --help)"}},
		{args: "verify 2 --check --sample -1 --seed -2", errs: []string{"sample -1", "seed -2"}},
		{args: "verify", errs: []string{"expected the number of a generation"}},
		{args: "verify --check --max-differences 0", errs: []string{"expected the number of a generation", "max differences 0"}},
		{args: "switch 2 --force --check", out: "the configuration is valid"},
		{args: "switch 2 --check --nats-url=", errs: []string{"nats url"}},
		{args: "switch", errs: []string{"expected the number of a generation"}},
		{args: "switch --force 2", errs: []string{`unexpected argument "2": expected one GENERATION, before the flags (projector switch --help)`}},
		{args: "switch second", errs: []string{`"second"`, "expected a number"}},
		{args: "generations drop 1 --check --clickhouse-database a-b", errs: []string{`"a-b"`}},
		{args: "generations drop 1 --check", out: "the configuration is valid"},
		{args: "generations drop", errs: []string{"expected the number of a generation"}},
		{args: "generations drop 0", errs: []string{`"0"`, "at least 1"}},
		{args: "generations", errs: []string{"expected one of list, drop (projector generations --help)"}},
		{args: "generations list --check --clickhouse-database a-b", errs: []string{`"a-b"`}},
		{args: "generations list --check", out: "the configuration is valid"},
		{args: "generations list --clickhouse-database a;b", errs: []string{`"a;b"`}},
		{args: "rollback --check --clickhouse-database a-b", errs: []string{`"a-b"`}},
		{args: "rollback --check --nats-url= --log-level loud", errs: []string{"nats url", `"loud"`}},
		{args: "rollback --check", out: "the configuration is valid"},
		{args: "dead list --check --code too_large,malformed --topic chat.state --since 36h --until 2126-11-23T03:00:00Z", out: "the configuration is valid"},
		{args: "dead list --check --code toolarge --progress-interval 0s --kafka-dead-topic=", errs: []string{
			`code "toolarge"`, "expected one of malformed, unknown_encoding, ", ", time_out_of_range\n", "progress interval 0s", "kafka dead topic is missing",
		}},
		{args: "dead list --check --since yesterday", errs: []string{`"yesterday"`, "how long ago it was, such as 36h"}},
		{args: "dead list --check --since 1h --until 2h", errs: []string{"expected a time before", "(--until)"}},
		{args: "dead show 0/17 --check", out: "the configuration is valid"},
		{args: "dead show chat.dead/0/17 --check --limit-text-bytes 0", errs: []string{"limit text bytes 0"}},
		{args: "dead show --check --log-level loud", errs: []string{`dead letter ""`, "such as 0/17", `"loud"`}},
		{args: "dead show chat.messages/0/17 --check", errs: []string{`dead letter "chat.messages/0/17"`}},
		{args: "dead show 0/-1 --check", errs: []string{`dead letter "0/-1"`}},
		{args: "dead redrive --dry-run --check", out: "the configuration is valid"},
		{args: "dead redrive --check --kafka-brokers=", errs: []string{"brokers"}},
		{args: "dead", errs: []string{"expected one of list, show, redrive (projector dead --help)"}},
		{args: "rollback --nope", errs: []string{"nope"}},
		{args: "run --nope", errs: []string{"nope"}},
		{args: "frob", errs: []string{`"frob"`, "generations, dead"}},
		{args: "", errs: []string{"expected one of run, migrate, rebuild"}},
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

// setting is a flag of a number, a duration or a size in a command's help.
var setting = regexp.MustCompile(`(?m)^  --([a-z-]+) <(number|duration|size)>$`)

// TestRun_NamesSettings holds that who gives less than a setting can be is told which one
// it is, in the words of its flag.
func TestRun_NamesSettings(t *testing.T) {
	given, noEnv := 0, func(string) string { return "" }
	for _, command := range []string{"run", "rebuild", "verify", "dead redrive", "sweep"} {
		var help strings.Builder
		if err := run(t.Context(), append(strings.Fields(command), "--help"), noEnv, &help); !errors.Is(err, flag.ErrHelp) {
			t.Fatal(err)
		}
		if command == "verify" {
			command = "verify 2 --sample 1"
		}
		for _, m := range setting.FindAllStringSubmatch(help.String(), -1) {
			least := map[string]string{"number": "-1", "duration": "-1s", "size": "0"}[m[2]]
			args := append(strings.Fields(command), "--check", "--"+m[1]+"="+least)
			err := run(t.Context(), args, noEnv, io.Discard)
			given++
			if want := strings.ReplaceAll(m[1], "-", " ") + " " + least; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want it to name %q", strings.Join(args, " "), err, want)
			}
		}
	}
	if given < 50 {
		t.Errorf("%d settings were given, so hardly any was looked at", given)
	}
}

// TestVerify_LimitsMemory holds that reading the topics for a sample stays within what
// projecting them does.
func TestVerify_LimitsMemory(t *testing.T) {
	limit, percent := debug.SetMemoryLimit(math.MaxInt64), debug.SetGCPercent(100)
	defer func() { debug.SetMemoryLimit(limit); debug.SetGCPercent(percent) }()
	args := []string{"verify", "2", "--sample", "1", "--clickhouse-addresses", "127.0.0.1:1"}
	if err := run(t.Context(), args, func(string) string { return "" }, io.Discard); err == nil {
		t.Fatal("it has verified without ClickHouse")
	}
	if got, want := debug.SetMemoryLimit(-1), memoryLimit(defaultConfig().ingest); got != want {
		t.Errorf("the collector stays within %d bytes, want %d", got, want)
	}
}

// TestRun_Ready asks the one that runs, whatever is in the files that its settings name.
func TestRun_Ready(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "it is") }))
	defer ready.Close()
	for args, want := range map[string]string{
		"run --clickhouse-password-file nowhere --admin-addr " + ready.Listener.Addr().String(): "",
		"rebuild --without nowhere --admin-addr " + ready.Listener.Addr().String():              "",
		"run --admin-addr x":     `admin address "x"`,
		"rebuild --admin-addr x": `admin address "x"`,
	} {
		var out strings.Builder
		err := run(t.Context(), append(strings.Fields(args), "--ready"), func(string) string { return "" }, &out)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && out.String() != "it is" {
			t.Errorf("%s: got %v, %q", args, err, out.String())
		}
	}
}

func TestRun_Help(t *testing.T) {
	for args, want := range map[string]string{
		"--help":         "migrate      make the read model's tables",
		"run --help":     "CONVOVIEW_KAFKA_BROKERS",
		"migrate --help": "CONVOVIEW_CLICKHOUSE_ADDRESSES",
		"switch --help":  "Usage: projector switch GENERATION [flags]",
		"dead --help":    "redrive  send again those",

		"generations --help": "drop  drop one",
	} {
		var out strings.Builder
		err := run(t.Context(), strings.Fields(args), func(string) string { return "" }, &out)
		if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), want) {
			t.Errorf("%s: %v, no %q in\n%s", args, err, want, out.String())
		}
	}
}

// TestStopBudget_IsBelowThePodsGrace holds the parts of a stop within each other.
func TestStopBudget_IsBelowThePodsGrace(t *testing.T) {
	if stop := defaultConfig().ingest.StopTimeout; stop >= stopBudget || stopBudget >= podGrace {
		t.Errorf("stop timeout %v, budget %v, grace %v: expected each less than the next", stop, stopBudget, podGrace)
	}
}
