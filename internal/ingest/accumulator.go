package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// piece is what one owner has folded of its partition: [from, to).
type piece struct {
	partition *partition
	from, to  int64
	resets    int
	moved     bool // reading was moved to from by force
	model     *projection.Model
	// kept are the records of the events, for the announcer and for places that leave
	// some out. If the piece is named, ids are their IDs.
	kept  []events.Record
	named bool
	ids   []string
	// records and bytes were read; of the records events were folded, and dead
	// hold no valid event.
	events, records, bytes, dead int
}

// accumulator holds the pieces of the batch that is folded while the previous
// one is being written. Its bounds are the process's: an owner whose piece
// finds no room waits, and reads nothing meanwhile.
type accumulator struct {
	config  Config
	metrics *metrics

	mu      sync.Mutex
	pieces  []*piece
	events  int
	rows    int // of all pieces; merged they are fewer
	bytes   int
	due     time.Time     // of the oldest piece
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
	a.metrics.bufferedEvents.Set(float64(a.events))
	a.metrics.bufferedBytes.Set(float64(a.bytes))
	a.metrics.waitingForRoom.Set(float64(a.waiting))
}

// full reports whether a bound is reached. The caller holds mu.
func (a *accumulator) full() bool {
	return a.events >= a.config.MaxBatchEvents || a.rows >= a.config.MaxBatchRows || a.bytes >= a.config.MaxBatchBytes
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
	if !a.room(ctx) {
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
	if len(a.pieces) == 0 {
		a.due = time.Now().Add(a.config.FlushInterval)
	}
	a.pieces = append(a.pieces, p)
	a.events += p.events
	a.rows += p.model.Rows()
	a.bytes += p.bytes
	a.metrics.records.WithLabelValues(p.partition.topic).Add(float64(p.records))
	a.metrics.recordBytes.WithLabelValues(p.partition.topic).Add(float64(p.bytes))
	a.signal()
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
func (a *accumulator) take(ctx context.Context, wake <-chan struct{}) (pieces []*piece, done bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for ctx.Err() == nil {
		var timer <-chan time.Time
		if len(a.pieces) > 0 {
			wait := time.Until(a.due)
			if wait <= 0 || a.closed || a.full() {
				pieces = a.pieces
				a.pieces, a.events, a.rows, a.bytes = nil, 0, 0, 0
				a.signal()
				return pieces, false
			}
			timer = time.After(wait)
		} else if a.closed {
			return nil, true
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-timer:
		case <-wake:
			a.mu.Lock()
			return nil, false
		case <-ctx.Done():
		}
		a.mu.Lock()
	}
	return nil, true
}

// counts are the events and bytes that wait for the next write.
func (a *accumulator) counts() (events, bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events, a.bytes
}
