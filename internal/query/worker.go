package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
)

// ServiceName is the name of the micro service and of its queue group.
const ServiceName = "convoview"

const subjectPrefix = "convoview.v1."

// minPayload is what the contract promises that a reply may hold.
const minPayload = 1 << 20

// Worker answers requests. One Run per Worker.
type Worker struct {
	cfg       Config
	nc        *nats.Conn
	clock     func() time.Time
	log       *slog.Logger
	metrics   *metrics
	tracer    trace.Tracer // nil: nobody wants traces
	beat      *beat.Beat
	endpoints []*endpoint

	generations Generations
	feed        Feed                  // as a cache has it
	current     atomic.Pointer[cache] // of the generation that is read
	hearing     struct {
		sync.Mutex
		caches []*cache // those that hear of changes
	}
	switched chan struct{} // full when a switch was heard of
	failed   failedTurn    // of who looks which generation is read

	queue   chan *job    // in hand, and to be answered from memory next
	running atomic.Int64 // are being answered from memory
	hall    room         // of those, and of the queue
	waiting room         // of the requests that had to wait for anything else
	inHand  sync.WaitGroup
	mu      sync.RWMutex // guards closed against requests that are being taken in hand; held while nothing waits
	closed  bool
}

// endpoint is one of the service's three, at one of its subjects.
type endpoint struct {
	name    string
	subject string
	decode  func(*fields, *query)
	answer  answer
	stats   stats
	seconds prometheus.Observer // of the metric of requests: those without an error
}

// answer gives the reply to a query from what is in memory, or what has to be
// loaded for it. It may write the reply into the buffer, and gives the reply until
// the buffer is used again. It waits for nobody.
type answer func(q *query, maxBytes int, to *bytes.Buffer) (reply []byte, lacks *missing, err error)

// New makes a worker that does nothing before Run. The clock says what is
// expired. nc's closed and error handlers must be set before Run: micro hooks
// into them.
func New(cfg Config, nc *nats.Conn, generations Generations, clock func() time.Time, log *slog.Logger, r prometheus.Registerer) *Worker {
	m := newMetrics(r)
	w := &Worker{
		cfg: cfg, nc: nc, clock: clock, log: log, metrics: m, beat: beat.New(0),
		generations: generations,
		switched:    make(chan struct{}, 1),
		queue:       make(chan *job, cfg.MaxRunning+cfg.MaxQueued+cfg.MaxWaiting), // all that there is room for
	}
	w.hall.places, w.hall.bytes = int64(cfg.MaxRunning+cfg.MaxQueued), int64(cfg.MaxQueuedBytes)
	w.waiting.places, w.waiting.bytes = int64(cfg.MaxWaiting), int64(cfg.MaxQueuedBytes)
	w.read(w.open(0, nil)) // which one it is, Run finds out
	for _, token := range append([]string{""}, cfg.AffinityTokens...) {
		w.endpoints = append(w.endpoints,
			&endpoint{name: "list", subject: subject("list", token), decode: decodeList, answer: w.list},
			&endpoint{name: "profile", subject: subject("profile", token), decode: decodeProfile, answer: w.profile},
			&endpoint{name: "unread", subject: subject("unread", token), decode: decodeUnread, answer: w.unread},
		)
	}
	for _, e := range w.endpoints {
		e.seconds = m.seconds.WithLabelValues(e.name, strconv.Itoa(codeOK))
	}
	w.watch(r)
	return w
}

// subject is where an endpoint takes requests of any app; "" is no token.
func subject(endpoint, token string) string {
	s := subjectPrefix + "*.conversation." + endpoint
	if token != "" {
		s += "." + token
	}
	return s
}

// Follow has lists and totals answered from memory while feed says that
// everything is heard of. Call it before Run, and have the feed call Apply and Lost.
func (w *Worker) Follow(feed Feed) { w.feed, w.cache().feed = feed, feed }

// BeatWith has those who answer requests from memory mark a beat, which stands still when
// none of them moves. It is called before Run.
func (w *Worker) BeatWith(b *beat.Beat) { w.beat = b }

// Apply merges what has become visible into what is in memory: events, and the model that
// they fold into.
func (w *Worker) Apply(m *projection.Model, list []events.Event) {
	for _, c := range w.hear() {
		c.apply(c.spared(m, list))
	}
}

// Lost says that what was loaded before may lack something.
func (w *Worker) Lost() {
	for _, c := range w.hear() {
		c.lost()
	}
}

// Run serves until ctx is done, then drains: it takes no more requests,
// answers those in hand and returns, within Config.DrainTimeout. It leaves the
// connection open. Whoever closes it should drain it first: a request that
// came while the service was leaving is refused through it.
func (w *Worker) Run(ctx context.Context) error {
	if most := w.nc.MaxPayload(); most < minPayload {
		return fmt.Errorf("nats server %s takes messages of up to %d bytes: expected at least %d (max_payload)",
			w.nc.ConnectedAddr(), most, minPayload)
	}
	if !w.nc.HeadersSupported() { // a refusal would not get out
		return fmt.Errorf("nats server %s takes no headers: expected them (no_header_support: false)", w.nc.ConnectedAddr())
	}
	base, stop := context.WithCancelCause(context.WithoutCancel(ctx)) // requests outlive the stop
	defer stop(errDraining)
	lost := make(chan struct{})
	stopHearing, err := feed.HearSwitches(w.nc, w.hearSwitch)
	if err != nil {
		return err
	}
	defer stopHearing()
	w.look(ctx)
	service, err := w.addService(lost) //nolint:contextcheck // the span of a request is in the job
	if err != nil {
		return err
	}
	var others sync.WaitGroup
	for range w.cfg.MaxRunning {
		others.Go(func() { w.serve(base) })
	}
	serving, leave := context.WithCancel(ctx)
	defer leave()
	others.Go(func() { w.attend(serving) })
	if w.cfg.WarmUpUsers > 0 && w.feed != nil {
		others.Go(func() { w.warmUp(serving) })
	}
	select {
	case <-ctx.Done():
		err = nil
	case <-lost:
		err = errors.New("the service stopped: its nats connection was closed")
	}
	leave()
	err = errors.Join(err, w.drain(context.WithoutCancel(ctx), service, stop))
	close(w.queue)
	others.Wait()
	w.cache().cohorts.hurry()
	w.beat.Rest()
	return err
}

// addService adds the service. lost is closed when it stops.
func (w *Worker) addService(lost chan struct{}) (micro.Service, error) {
	service, err := micro.AddService(w.nc, micro.Config{
		Name:         ServiceName,
		Version:      w.cfg.Version,
		Description:  "Conversation lists, profiles and unread totals of chat users.",
		QueueGroup:   ServiceName,
		StatsHandler: w.stats,
		DoneHandler:  func(micro.Service) { close(lost) },
		ErrorHandler: func(_ micro.Service, e *micro.NATSError) {
			w.log.Error("nats failed", "subject", e.Subject, "error", e.Description)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("add the service: %w", err)
	}
	for _, e := range w.endpoints {
		handler := micro.HandlerFunc(func(r micro.Request) { w.take(e, r) })
		if err := service.AddEndpoint(e.name, handler, micro.WithEndpointSubject(e.subject)); err != nil {
			return nil, errors.Join(fmt.Errorf("add endpoint %s at %s: %w", e.name, e.subject, err), service.Stop())
		}
	}
	return service, nil
}

// drain leaves in order. Nothing that the server handed to us is dropped.
func (w *Worker) drain(ctx context.Context, service micro.Service, stop context.CancelCauseFunc) error {
	whole, cancel := context.WithTimeout(ctx, w.cfg.DrainTimeout)
	defer cancel()
	answers, cancel := context.WithTimeout(whole, w.cfg.DrainTimeout/2)
	defer cancel()
	var errs []error
	flush := func(ctx context.Context, what string) {
		if !w.nc.IsConnected() { // nobody to wait for
			return
		}
		if err := w.nc.FlushWithContext(ctx); err != nil && w.nc.IsConnected() {
			errs = append(errs, fmt.Errorf("flush the %s: %w", what, err))
		}
	}

	// 1 no more from the server; what is under way to us arrives before the flush returns
	if err := service.Stop(); err != nil {
		errs = append(errs, fmt.Errorf("stop the service: %w", err))
	}
	flush(answers, "unsubscription")

	// 2 what has arrived is in hand
	arrived := make(chan struct{})
	if err := w.nc.Barrier(func() { close(arrived) }); err == nil { // else the connection is closed
		select {
		case <-arrived:
		case <-answers.Done():
		}
	}
	w.close()

	// 3 what is in hand is answered, in time or with 503
	undo := context.AfterFunc(answers, func() { stop(errDraining) })
	w.inHand.Wait()
	undo()

	// 4 the replies are out
	flush(whole, "last replies")
	return errors.Join(errs...)
}

func (w *Worker) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}
