package main

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progressEvery is how often progress is logged where there is no terminal.
const progressEvery = 5 * time.Second

// progress counts what was written and shows it: as a bar on a terminal, else
// as a line now and then.
type progress struct {
	start          time.Time
	records, bytes atomic.Int64
	bar            *progressbar.ProgressBar
	stop, stopped  chan struct{}
}

// newProgress shows progress towards total records (0: nobody knows).
func (c *console) newProgress(what string, total int64) *progress {
	p := &progress{start: time.Now(), stop: make(chan struct{}), stopped: make(chan struct{})}
	if isTerminal(c.stderr) {
		if total == 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(lockedStderr{c}),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("events"),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
		close(p.stopped)
		return p
	}
	go p.log(c, what, total)
	return p
}

func (p *progress) log(c *console, what string, total int64) {
	defer close(p.stopped)
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			of := ""
			if total > 0 {
				of = " of " + thousands(total)
			}
			c.notef("%s: %s%s events, %s/s", what, thousands(p.records.Load()), of, thousands(p.perSecond()))
		case <-p.stop:
			return
		}
	}
}

// written counts records.
func (p *progress) written(records, bytes int) {
	p.records.Add(int64(records))
	p.bytes.Add(int64(bytes))
	if p.bar != nil {
		_ = p.bar.Add(records)
	}
}

func (p *progress) perSecond() int64 {
	return int64(float64(p.records.Load()) / max(time.Since(p.start).Seconds(), 1e-3))
}

// close takes the bar away.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
	close(p.stop)
	<-p.stopped
}

// String is the summary.
func (p *progress) String() string {
	return fmt.Sprintf("%s events in %s: %s/s, %s",
		thousands(p.records.Load()), time.Since(p.start).Round(10*time.Millisecond), thousands(p.perSecond()), megabytes(p.bytes.Load()))
}

// lockedStderr keeps the bar and the notes apart.
type lockedStderr struct{ c *console }

func (l lockedStderr) Write(b []byte) (int, error) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.c.stderr.Write(b)
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
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
