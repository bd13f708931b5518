package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// piece is what one owner has folded of its partition: [from, to).
type piece struct {
	partition *partition
	from, to  int64
	resets    int
	moved     bool // reading was moved to from by force
	// model is what the events came to, until the sink has it; kept are their records, for
	// folding them again and for the announcer. If the piece is named, ids are their IDs.
	model *projection.Model
	kept  []events.Record
	named bool
	ids   []string
	amount
	dead int // records that hold no valid event
	// oldest and latest are the Kafka timestamps of the first and the last record; zero:
	// there is none.
	oldest, latest time.Time
	spans          []trace.SpanContext // of records that are traced, some of them

	// What follows is the accumulator's.
	counted amount    // what it knows of
	due     time.Time // when it is to be written
	out     bool      // its owner goes on with it
}

// amount is how much was read, how much of it was folded, and into how many rows.
type amount struct{ records, events, rows, bytes int }

func (a amount) minus(o amount) amount {
	return amount{a.records - o.records, a.events - o.events, a.rows - o.rows, a.bytes - o.bytes}
}

func (a amount) plus(o amount) amount {
	return amount{a.records + o.records, a.events + o.events, a.rows + o.rows, a.bytes + o.bytes}
}

// news is what the piece has got since the accumulator saw it last.
func (p *piece) news() amount {
	p.rows = p.model.Rows()
	return p.minus(p.counted)
}

// accumulator holds the pieces of the batch that is folded while the previous
// one is being written. Its bounds are the process's: an owner whose piece
// finds no room waits, and reads nothing meanwhile.
type accumulator struct {
	config  Config
	metrics *metrics

	mu      sync.Mutex
	pieces  []*piece
	held    amount        // of all of them, as they were seen last
	waiting int           // owners that wait for room
	closed  bool          // nothing more comes
	changed chan struct{} // closed and replaced with every change
}

func newAccumulator(config Config, m *metrics) *accumulator {
	return &accumulator{config: config, metrics: m, changed: make(chan struct{})}
}

// signal tells everybody who waits. The caller holds mu.
func (a *accumulator) signal() {
	close(a.changed)
	a.changed = make(chan struct{})
	a.metrics.bufferedEvents.Set(float64(a.held.events))
	a.metrics.bufferedBytes.Set(float64(a.held.bytes))
	a.metrics.waitingForRoom.Set(float64(a.waiting))
}

// full reports whether a bound is reached. The caller holds mu.
func (a *accumulator) full() bool {
	return a.held.events >= a.config.MaxBatchEvents || a.held.rows >= a.config.MaxBatchRows || a.held.bytes >= a.config.MaxBatchBytes
}

// wait waits for room. It reports false when ctx ends before.
func (a *accumulator) wait(ctx context.Context) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.room(ctx)
}

// room waits, with mu held by the caller, and holds it when there is room.
func (a *accumulator) room(ctx context.Context) bool {
	if a.full() && ctx.Err() == nil {
		a.waiting++
		a.signal()
		for a.full() && ctx.Err() == nil {
			changed := a.changed
			a.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
			}
			a.mu.Lock()
		}
		a.waiting--
		a.signal()
	}
	return ctx.Err() == nil
}

// add puts a piece into the batch once there is room. It reports false, and
// leaves the piece out, when ctx ends before.
func (a *accumulator) add(ctx context.Context, p *piece) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !p.out && !a.room(ctx) {
		return false
	}
	a.put(p)
	return true
}

// addLast puts an owner's last piece into the batch, room or not.
func (a *accumulator) addLast(p *piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(p)
}

func (a *accumulator) put(p *piece) {
	if !p.out {
		p.due = time.Now().Add(a.config.FlushInterval)
		a.pieces = append(a.pieces, p)
	}
	news := p.news()
	p.out, p.counted = false, p.amount
	a.held = a.held.plus(news)
	a.metrics.records.WithLabelValues(p.partition.Topic).Add(float64(news.records))
	a.metrics.recordBytes.WithLabelValues(p.partition.Topic).Add(float64(news.bytes))
	a.signal()
}

// resume gives an owner the piece of its partition again that waits for the next write, so
// that there is one piece and not one for each fetch; nil when there is none that goes on
// at next, or when its time has come. Its place in the batch is kept.
func (a *accumulator) resume(partition *partition, next int64, resets int) *piece {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full() {
		return nil
	}
	i := slices.IndexFunc(a.pieces, func(p *piece) bool {
		return p.partition == partition && p.to == next && p.resets == resets && time.Until(p.due) > 0
	})
	if i < 0 {
		return nil
	}
	a.pieces[i].out = true
	return a.pieces[i]
}

// close says that nothing more comes: what is there is due at once.
func (a *accumulator) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.signal()
}

// take waits until a batch is due and takes it. It returns early, with none,
// when wake says that there may be something to commit, and at once when the
// accumulator is closed and empty (done) or ctx has ended.
func (a *accumulator) take(ctx context.Context, wake <-chan struct{}) (b batch, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ctx.Err() == nil {
		var timer <-chan time.Time
		if due, some := a.due(); some {
			wait := time.Until(due)
			if wait <= 0 || a.closed || a.full() {
				return a.takeAll(), false
			}
			timer = time.After(wait)
		} else if a.closed {
			return batch{}, true
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-timer:
		case <-wake:
			a.mu.Lock()
			return batch{}, false
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	return batch{}, true
}

// due is when the first piece is to be written, of those that are not out; false when
// there are none. The caller holds mu.
func (a *accumulator) due() (first time.Time, some bool) {
	for _, p := range a.pieces {
		if !p.out && (!some || p.due.Before(first)) {
			first, some = p.due, true
		}
	}
	return first, some
}

// takeAll takes the pieces that are not out. The caller holds mu.
func (a *accumulator) takeAll() batch {
	b := batch{full: a.full()}
	var rest []*piece
	a.held = amount{}
	for _, p := range a.pieces {
		if p.out {
			rest = append(rest, p)
			a.held = a.held.plus(p.counted)
		} else {
			b.pieces = append(b.pieces, p)
		}
	}
	a.pieces = rest
	a.signal()
	return b
}

// counts are the events and bytes that wait for the next write.
func (a *accumulator) counts() (events, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held.events, a.held.bytes
}
