package ingest

import "time"

// watchdog notices a partition that stands still although there is more to
// read: a client library that waits for what will never come looks, from
// outside, like a quiet topic. Only time spent trying to read counts.
type watchdog struct {
	timeout time.Duration
	stuck   time.Duration
}

// observe takes the duration of one attempt, whether it moved on, and whether
// the end of the partition is ahead. It reports true each time that the timeout is over.
func (w *watchdog) observe(took time.Duration, progress, behind bool) bool {
	if progress || !behind {
		w.stuck = 0
		return false
	}
	w.stuck += took
	if w.stuck < w.timeout {
		return false
	}
	w.stuck = 0
	return true
}
