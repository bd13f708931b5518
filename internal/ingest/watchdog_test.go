package ingest

import (
	"testing"
	"time"
)

func TestWatchdog(t *testing.T) {
	w := watchdog{timeout: 30 * time.Second}
	for i, step := range []struct {
		took             time.Duration
		progress, behind bool
		want             bool
	}{
		{10 * time.Second, true, true, false},
		{29 * time.Second, false, true, false},
		{time.Second, true, true, false}, // progress starts it anew
		{20 * time.Second, false, true, false},
		{20 * time.Second, false, true, true},
		{20 * time.Second, false, true, false}, // and so does an alarm
		{20 * time.Second, false, true, true},
		{20 * time.Second, false, true, false},
		{20 * time.Second, false, false, false}, // at the end: a quiet topic
		{20 * time.Second, false, true, false},
	} {
		if got := w.observe(step.took, step.progress, step.behind); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}
