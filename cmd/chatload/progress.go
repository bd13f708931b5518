package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// How often is shown how far it is: on a terminal, and where there is none.
const (
	showEvery = 100 * time.Millisecond
	noteEvery = 5 * time.Second
)

// progress counts what was written and shows it: in a bar on a terminal, else
// in a line now and then.
type progress struct {
	start          time.Time
	records, bytes atomic.Int64
	stop, stopped  chan struct{}
}

// newProgress shows progress towards total records (0: nobody knows).
func (c *console) newProgress(what string, total int64) *progress {
	p := &progress{start: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	go p.tell(c, what, total)
	return p
}

func (p *progress) tell(c *console, what string, total int64) {
	defer close(p.stopped)
	defer c.stderr.Clear()
	every := noteEvery
	if c.stderr.Terminal() {
		every = showEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			of, done := "", -1.0
			if total > 0 {
				of, done = " of "+thousands(total), float64(p.records.Load())/float64(total)
			}
			text := fmt.Sprintf("%s: %s%s events, %s/s", what, thousands(p.records.Load()), of, thousands(p.perSecond()))
			if c.stderr.Terminal() {
				c.stderr.Show(done, text)
			} else {
				c.notef("%s", text)
			}
		case <-p.stop:
			return
		}
	}
}

// written counts records.
func (p *progress) written(records, bytes int) {
	p.records.Add(int64(records))
	p.bytes.Add(int64(bytes))
}

func (p *progress) perSecond() int64 {
	return int64(float64(p.records.Load()) / max(time.Since(p.start).Seconds(), 1e-3))
}

// close takes away what is shown.
func (p *progress) close() {
	close(p.stop)
	<-p.stopped
}

// String is the summary.
func (p *progress) String() string {
	return fmt.Sprintf("%s events in %s: %s/s, %s",
		thousands(p.records.Load()), time.Since(p.start).Round(10*time.Millisecond), thousands(p.perSecond()), megabytes(p.bytes.Load()))
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
