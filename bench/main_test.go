package main

import (
	"io"
	"strings"
	"testing"
)

func TestRun_SaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args string
		errs []string
	}{
		{"--goals sync,foo", []string{`goal "foo": expected one of rebuild, ingest, ingest_json, `, ", list_cold, cache_bytes"}},
		{"--goals=", []string{"goals: expected at least one of rebuild, ingest, "}},
		{"--rounds 4 --round 1ms", []string{"rounds 4: expected at least 5", "round 1ms: expected at least 1s"}},
		{"--events 9999", []string{"events 9999", "expected at least 10000"}},
		{"--events 20000 --backlog 10000", []string{"backlog 10000", "no smaller backlog"}},
		{"--steady 1ms", []string{"steady 1ms: expected at least 1s"}},
	} {
		err := run(t.Context(), strings.Fields(c.args), func(string) string { return "" }, io.Discard, io.Discard)
		for _, part := range c.errs {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: no %q in %v", c.args, part, err)
			}
		}
	}
}
