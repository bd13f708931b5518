package main

import (
	"strings"
	"sync"
	"testing"

	"github.com/convoview/convoview/internal/lifecycle"
)

// watched is a terminal that can be read while it is written to.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
	return w.text.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// TestProgress_Terminal has what is said on the way stand on a line of its own, above that of
// how far it is, which is gone in the end.
func TestProgress_Terminal(t *testing.T) {
	const clearLine = "\r\x1b[K"
	for total, want := range map[int64]string{
		0:    "import: 1,234 events, ",
		2468: "50% |█████     |  import: 1,234 of 2,468 events, ",
	} {
		out := &watched{news: make(chan struct{}, 1)}
		c := &console{stderr: lifecycle.NewTerminal(out, func() int { return 80 })}
		p := c.newProgress("import", total)
		p.written(1234, 5000)
		for !strings.Contains(out.String(), want) {
			select {
			case <-out.news:
			case <-t.Context().Done():
				t.Fatalf("it does not say %q: %q", want, out)
			}
		}
		c.notef("kafka is away")
		p.close()
		if got := out.String(); !strings.Contains(got, clearLine+"kafka is away\n"+want) || !strings.HasSuffix(got, clearLine) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
}
