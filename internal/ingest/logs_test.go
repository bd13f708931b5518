package ingest

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// logs is a handler that tests can wait on.
type logs struct {
	mu      *sync.Mutex
	attrs   []slog.Attr
	records *[]map[string]string
	changed *chan struct{}
}

func newLogs() *logs {
	changed := make(chan struct{})
	return &logs{mu: &sync.Mutex{}, records: &[]map[string]string{}, changed: &changed}
}

func (l *logs) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

func (l *logs) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.attrs = append(slices.Clone(l.attrs), attrs...)
	return &c
}

func (l *logs) WithGroup(string) slog.Handler { return l }

func (l *logs) Handle(_ context.Context, r slog.Record) error {
	line := map[string]string{"time": r.Time.Format("05.000"), "msg": r.Message, "level": r.Level.String()}
	for _, a := range l.attrs {
		line[a.Key] = a.Value.String()
	}
	r.Attrs(func(a slog.Attr) bool { line[a.Key] = a.Value.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	*l.records = append(*l.records, line)
	close(*l.changed)
	*l.changed = make(chan struct{})
	return nil
}

// await waits for the nth line (from 1) with this message.
func (l *logs) await(h waiter, message string, n int) map[string]string {
	h.Helper()
	for {
		l.mu.Lock()
		changed, left := *l.changed, n
		for _, line := range *l.records {
			if line["msg"] == message {
				if left--; left == 0 {
					l.mu.Unlock()
					return line
				}
			}
		}
		l.mu.Unlock()
		select {
		case <-changed:
		case <-h.expired():
			h.Fatalf("no %d lines %q in the log", n, message)
		}
	}
}

func (l *logs) count(message string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range *l.records {
		if line["msg"] == message {
			n++
		}
	}
	return n
}
