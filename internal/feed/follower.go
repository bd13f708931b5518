package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// Follower hears of what projectors apply and tells its handler. One Run per Follower.
type Follower struct {
	config  Config
	nc      *nats.Conn
	handler Handler
	log     *slog.Logger
	metrics *metrics
	tracer  trace.Tracer // nil: nobody wants traces
	beat    *beat.Beat

	receiver *Receiver // of Run alone
	away     bool      // the connection is, as far as Run knows
	back     time.Time // when it came, as far as Run knows

	mu      sync.Mutex
	topics  map[string]int32
	applied map[events.Partition]int64 // after the handler has applied it
	changed chan struct{}              // closed and made anew when something was applied

	fault atomic.Pointer[error] // why memory is not relied on; nil: it is, while Run moves
	begun time.Time
	moved atomic.Int64 // when Run last said so, after begun
}

// ErrUnknownPartition says that a topic or a partition does not exist.
var ErrUnknownPartition = errors.New("unknown partition")

// ErrNotHeard says that no projector was heard of yet.
var ErrNotHeard = errors.New("no projector was heard of yet")

// NewFollower makes a follower that does nothing before Run.
func NewFollower(config Config, nc *nats.Conn, handler Handler, log *slog.Logger, r prometheus.Registerer) *Follower {
	f := &Follower{
		config: config, nc: nc, handler: handler, log: log,
		beat: beat.New(0), receiver: NewReceiver(handler),
		topics: map[string]int32{}, applied: map[events.Partition]int64{}, changed: make(chan struct{}),
		begun: time.Now(),
	}
	f.fault.Store(&ErrNotHeard)
	f.metrics = newMetrics(r, f.Check)
	return f
}

// BeatWith has Run mark a beat as it moves. It is called before Run.
func (f *Follower) BeatWith(b *beat.Beat) { f.beat = b }

// Check gives the reason why what is in memory must not be relied on; nil if
// there is none. It costs next to nothing.
func (f *Follower) Check() error {
	if fault := f.fault.Load(); fault != nil {
		return *fault
	}
	if still := f.still(); still > f.config.Silence {
		return fmt.Errorf("nothing that was heard was applied for %v", still)
	}
	return nil
}

// still is how long Run has not moved.
func (f *Follower) still() time.Duration {
	return time.Since(f.begun) - time.Duration(f.moved.Load())
}

// Await waits until everything up to and including an offset is applied. The
// error is ErrUnknownPartition or the context's.
func (f *Follower) Await(ctx context.Context, p events.Partition, offset int64) error {
	for {
		f.mu.Lock()
		partitions, known := f.topics[p.Topic]
		applied, changed, heard := f.applied[p], f.changed, len(f.topics) > 0
		f.mu.Unlock()
		if heard && (!known || p.ID < 0 || p.ID >= int(partitions)) {
			return fmt.Errorf("%w: %s", ErrUnknownPartition, p)
		}
		if known && applied > offset {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Run follows until ctx is done.
func (f *Follower) Run(ctx context.Context) error {
	sub, err := f.nc.SubscribeSync(SubjectPrefix + "*")
	if err != nil {
		return fmt.Errorf("subscribe to the feed: %w", err)
	}
	if err := sub.SetPendingLimits(-1, f.config.PendingBytes); err != nil {
		return fmt.Errorf("subscribe to the feed: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = sub.Unsubscribe() })()
	connections := f.nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED)
	defer f.nc.RemoveStatusListener(connections)
	defer f.beat.Rest()
	f.back = time.Now()
	f.moved.Store(int64(time.Since(f.begun)))
	for {
		f.beat.Mark()
		m, err := sub.NextMsg(min(f.config.Silence/4, beat.Every))
		select {
		case status := <-connections:
			f.connection(status)
		default:
			if f.away && f.nc.IsConnected() { // it was told while too much waited to be told
				f.connection(nats.CONNECTED)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			f.take(m, time.Now()) //nolint:contextcheck // the context of a span is in the message
		case errors.Is(err, nats.ErrSlowConsumer):
			f.lost(fmt.Sprintf("more than %d bytes waited to be applied", f.config.PendingBytes))
		case !errors.Is(err, nats.ErrTimeout):
			return fmt.Errorf("follow the feed: %w", err)
		}
		f.listen(time.Now())
	}
}

// connection takes note of what has become of the connection. Whatever it is, something may
// have been lost; but to be away is one gap, however often it is tried to connect again, and
// however many projectors have spoken meanwhile.
func (f *Follower) connection(status nats.Status) {
	f.handler.Lost()
	if status != nats.CONNECTED && !f.away {
		f.tellLoss("the connection to NATS was lost")
	}
	if f.away = status != nats.CONNECTED; !f.away {
		f.back = time.Now()
	}
}

// take applies one message.
func (f *Follower) take(m *nats.Msg, now time.Time) {
	var a feedpb.Announcement
	if err := proto.Unmarshal(m.Data, &a); err != nil {
		f.lost(fmt.Sprintf("an announcement on %s is malformed: %v", m.Subject, err))
		return
	}
	end := f.span(m, &a)
	lost := f.receiver.Take(strings.TrimPrefix(m.Subject, SubjectPrefix), &a, now)
	if settled := !f.away && now.Sub(f.back) > f.config.Silence; lost != "" && settled { // by then all have spoken
		f.tellLoss(lost)
	}
	end()
	f.metrics.applied(&a, time.Now())
	if len(a.GetRanges())+len(a.GetTopics()) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range a.GetRanges() {
		p := partitionOf(r)
		f.applied[p] = f.receiver.tracker.applied[p]
	}
	for _, topic := range a.GetTopics() {
		f.topics[topic.GetName()] = f.receiver.tracker.topics[topic.GetName()].partitions
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// lost tells the handler of a loss that no announcement says anything of.
func (f *Follower) lost(what string) {
	f.handler.Lost()
	f.tellLoss(what)
}

func (f *Follower) tellLoss(what string) {
	f.metrics.gaps.Inc()
	tell := f.log.Warn
	if f.Check() != nil { // nothing in memory is relied on anyway
		tell = f.log.Debug
	}
	tell("the feed has a gap; what is in memory is loaded again when it is asked for", "lost", what)
}

// listen notes whether every partition was heard of lately. Who has stood still, be it that
// the machine has, may have much before it, and what comes first is not the news.
func (f *Follower) listen(now time.Time) {
	if still := f.still(); still > f.config.Silence {
		f.lost(fmt.Sprintf("nothing was applied for %v", still))
	}
	defer func() { f.moved.Store(int64(time.Since(f.begun))) }()
	silent, known := f.receiver.tracker.silent(now.Add(-f.config.Silence))
	var fault error
	switch {
	case !known:
		fault = ErrNotHeard
	case len(silent) > 0:
		fault = fmt.Errorf("nothing was heard of %d partitions for %v, first of %s: is a projector running?", len(silent), f.config.Silence, silent[0])
	}
	before := f.Check()
	if fault == nil {
		f.fault.Store(nil)
	} else {
		f.fault.Store(&fault)
	}
	switch {
	case fault != nil && before == nil:
		f.log.Error("the feed is not whole; answering from ClickHouse", "error", fault)
	case fault == nil && before != nil:
		f.log.Info("the feed is whole")
	}
}
