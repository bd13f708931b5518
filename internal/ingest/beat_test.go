package ingest

import (
	"context"
	"testing"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// TestConsumer_Beats holds that the writer moves while the sink is away, and while there is
// nothing to write, and that nothing is expected of it once it has stopped.
func TestConsumer_Beats(t *testing.T) {
	h := newHarness(t, 1)
	b := beat.New(-1) // any mark is too old, so that it shows
	marked := func() bool { return b.Check() != nil }
	h.sink.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		if call > 1 && !marked() {
			t.Errorf("attempt %d: the writer has not moved since the one before", call)
		}
		b.Rest()
		if call < 4 {
			return errSink
		}
		return nil
	})
	r := h.runWith(h.config(), h.sink, events.NewDecoder(events.DefaultLimits()), func(c *Consumer) { c.BeatWith(b) })
	h.produce(messagesTopic, 0, h.message())
	h.awaitAll()
	b.Rest()
	for !marked() {
		if h.ctx.Err() != nil {
			t.Fatal("the writer does not move when there is nothing to write")
		}
	}
	r.mustStop()
	if marked() {
		t.Error("something is expected of a writer that has stopped")
	}
}
