package main

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

// logTo logs without the time.
func logTo(s *lifecycle.Screen) *slog.Logger {
	return slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// tell tells of a rebuild and of a comparison, and logs meanwhile.
func tell(s *lifecycle.Screen) {
	log := logTo(s)
	log.Info("new generation")
	rebuilding := tellRebuild(s, log)
	rebuilding(rebuild.Progress{Generation: 2, Waiting: []events.Partition{{Topic: "chat.state", ID: 1}}})
	log.Info("meanwhile")
	rebuilding(rebuild.Progress{Generation: 2, Done: 310, Total: 1000, Rate: 50})
	rebuilding(rebuild.Progress{Generation: 2, Done: 1000, Total: 1000, Rate: 50})
	s.Clear()
	s.Clear()
	log.Info("filled")
	comparing := tellComparison(s, log)
	comparing(readmodel.Compared{Table: "registers", Rows: 9, Ranges: 1, Of: 4, TablesLeft: 7, Differences: 2})
	comparing(readmodel.Compared{Table: "plans", Rows: 1, Ranges: 1, Of: 1})
	s.Clear()
	tellScan(s, log)(ingest.Scanned{Done: 1, Total: 2, Letters: 1})
	s.Clear()
}

// clearLine takes the last line away.
const clearLine = "\r\x1b[K"

// TestScreen_Terminal has one line that a bar is in, and nothing in it of what is logged.
func TestScreen_Terminal(t *testing.T) {
	var out strings.Builder
	tell(lifecycle.NewTerminal(&out, func() int { return 70 }))
	waiting := "0% |          |  generation 2: 0 of 0 events, waiting for projectors "
	want := []string{
		"level=INFO msg=\"new generation\"\n" +
			clearLine + waiting,
		clearLine + "level=INFO msg=meanwhile\n" + waiting,
		clearLine + "31% |███       |  generation 2: 310 of 1000 events, 50/s, 14s left",
		clearLine + "99% |█████████ |  generation 2: 1000 of 1000 events, 50/s",
		clearLine + "level=INFO msg=filled\n" +
			clearLine + "25% |██        |  registers: 1 of 4 ranges, 7 tables left, 2 seen to ",
		clearLine + "99% |█████████ |  plans: 1 of 1 ranges, 0 tables left",
		clearLine,
		clearLine + "50% |█████     |  reading dead letters: 1 of 2 offsets, 0 match",
		clearLine,
	}
	if diff := cmp.Diff(strings.Join(want, ""), out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestScreen_File logs how far it is where there is no terminal, and how long it still takes
// only if that is known.
func TestScreen_File(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	tell(lifecycle.NewScreen(file))
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	const want = `level=INFO msg="new generation"
level=INFO msg=rebuilding generation=2 done=0 of=0 per_second=0 waiting_for_projectors_of=1 first=chat.state/1
level=INFO msg=meanwhile
level=INFO msg=rebuilding generation=2 done=310 of=1000 per_second=50 left=14s
level=INFO msg=rebuilding generation=2 done=1000 of=1000 per_second=50 left=0s
level=INFO msg=filled
level=INFO msg=comparing table=registers rows=9 ranges=1 of=4 tables_left=7 differences_seen=2
level=INFO msg=comparing table=plans rows=1 ranges=1 of=1 tables_left=0 differences_seen=0
level=INFO msg="reading dead letters" done=1 of=2 letters=1 matching=0
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
