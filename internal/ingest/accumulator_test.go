package ingest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/projection"
)

// newPiece is a piece of some events, [from, to).
func newPiece(p *partition, from, to int64) *piece {
	n := int(to - from)
	return &piece{partition: p, from: from, to: to, model: projection.NewModel(), amount: amount{records: n, events: n, bytes: n}}
}

// grow has an owner go on with a piece that it was given again.
func (p *piece) grow(to int64) {
	p.events += int(to - p.to)
	p.to = to
}

// testAccumulator is one whose pieces are due after a second.
func testAccumulator() *accumulator {
	config := DefaultConfig()
	config.FlushInterval = time.Second
	return newAccumulator(config, newMetrics(prometheus.NewRegistry(), "test", nil))
}

func testPartition(id int) *partition {
	return newPartition("t", kafka.PartitionAssignment{ID: id}, &session{done: make(chan struct{})})
}

// An owner goes on with the piece that ends where it reads on, and with no other: what was
// written of one says that everything before its end was.
func TestAccumulator_GoesOnWithThePieceThatEndsThere(t *testing.T) {
	a, p := testAccumulator(), testPartition(0)
	first, second := newPiece(p, 0, 10), newPiece(p, 10, 20)
	for _, piece := range []*piece{first, second} {
		if !a.add(t.Context(), piece) {
			t.Fatal("not taken")
		}
	}
	for _, c := range []struct {
		name      string
		partition *partition
		next      int64
		resets    int
	}{
		{"another partition", testPartition(0), 20, 0},
		{"another place", p, 21, 0},
		{"of before a reset", p, 20, 1},
	} {
		if got := a.resume(c.partition, c.next, c.resets); got != nil {
			t.Errorf("%s: given [%d, %d)", c.name, got.from, got.to)
		}
	}
	if got := a.resume(p, 20, 0); got != second {
		t.Errorf("given %+v, want the second piece", got)
	}
}

// A piece that its owner goes on with is not written meanwhile, and all of it is when it is
// back: the next one begins behind it.
func TestAccumulator_LeavesWhatItsOwnerGoesOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := testAccumulator(), testPartition(0)
		out, other := newPiece(p, 0, 10), newPiece(testPartition(1), 0, 3)
		a.add(t.Context(), out)
		if a.resume(p, 10, 0) != out {
			t.Fatal("not given again")
		}
		a.add(t.Context(), other)
		if b, _ := a.take(t.Context(), nil); !slices.Equal(b.pieces, []*piece{other}) {
			t.Fatalf("took %d pieces, want the one that is not out", len(b.pieces))
		}
		if events, _ := a.counts(); events != 10 {
			t.Errorf("%d events are held, want those of the piece that is out", events)
		}
		out.grow(25)
		a.add(t.Context(), out)
		b, _ := a.take(t.Context(), nil)
		if !slices.Equal(b.pieces, []*piece{out}) {
			t.Fatalf("took %d pieces, want the one that is back", len(b.pieces))
		}
		if events, _ := a.counts(); events != 0 {
			t.Errorf("%d events are held of what was taken", events)
		}
	})
}

// However often an owner goes on with a piece, it is due when it was, and then no longer
// the owner's: a partition that is never quiet would never be written.
func TestAccumulator_IsDueWhenItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, p := testAccumulator(), testPartition(0)
		begin, piece := time.Now(), newPiece(p, 0, 1)
		a.add(t.Context(), piece)
		for to := int64(1); time.Since(begin) < 900*time.Millisecond; to++ {
			time.Sleep(100 * time.Millisecond)
			if a.resume(p, to, 0) != piece {
				t.Fatalf("not given again after %v", time.Since(begin))
			}
			piece.grow(to + 1)
			a.add(t.Context(), piece)
		}
		b, _ := a.take(t.Context(), nil)
		if took := time.Since(begin); len(b.pieces) != 1 || took != time.Second {
			t.Errorf("%d pieces are taken after %v, want one after a second", len(b.pieces), took)
		}
		a.add(t.Context(), newPiece(p, 10, 20))
		time.Sleep(time.Second)
		if a.resume(p, 20, 0) != nil {
			t.Error("an owner goes on with what is due")
		}
	})
}
