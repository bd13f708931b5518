package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
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

// room bounds the requests of a kind, and their bytes.
type room struct {
	places, bytes int64
	taken, held   atomic.Int64
}

// enter reports whether there was room. Who entered leaves.
func (r *room) enter(size int) bool {
	if taken, held := r.taken.Add(1), r.held.Add(int64(size)); taken > r.places || held > r.bytes {
		r.leave(size)
		return false
	}
	return true
}

func (r *room) leave(size int) {
	r.taken.Add(-1)
	r.held.Add(-int64(size))
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

// job is one request in hand.
type job struct {
	*endpoint
	subject, reply string
	data           []byte
	arrived        time.Time
	maxBytes       int    // of the reply
	query          *query // nil: not decoded yet
	in             *room
	span           trace.Span // nil: nobody wants traces
}

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
		return err //nolint:wrapcheck // it says what it is about
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

// take takes a request in hand or refuses it at once.
func (w *Worker) take(e *endpoint, r micro.Request) {
	j := &job{
		endpoint: e, subject: r.Subject(), reply: r.Reply(), data: r.Data(), arrived: time.Now(),
		maxBytes: int(w.nc.MaxPayload()), in: &w.hall,
	}
	if j.reply == "" {
		w.metrics.dropped.Inc()
		e.stats.dropped.Add(1)
		return
	}
	if w.tracer != nil {
		j.span = w.beginSpan(j, r)
	}
	if refused := w.accept(j); refused != nil {
		w.respond(j, nil, refused)
	}
}

func (w *Worker) accept(j *job) *replyError {
	if len(j.data) > w.cfg.MaxRequestBytes {
		return badRequest("request of %d bytes: expected at most %d", len(j.data), w.cfg.MaxRequestBytes)
	}
	if refused := w.takeInHand(j); refused != nil {
		return refused
	}
	if reply := w.ready(j); reply != nil {
		w.finish(j, reply, nil)
	} else {
		w.queue <- j // there is room
	}
	return nil
}

// takeInHand has the worker stay until the request is finished.
func (w *Worker) takeInHand(j *job) *replyError {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errDraining
	}
	if !j.in.enter(len(j.data)) {
		return errOverloaded
	}
	w.inHand.Add(1)
	return nil
}

// finish answers a request that is in hand.
func (w *Worker) finish(j *job, reply []byte, err error) {
	if j.query != nil {
		j.query.cache.done(j.query)
	}
	j.in.leave(len(j.data)) // first: whoever has the reply may ask the next thing
	w.respond(j, reply, err)
	w.inHand.Done()
}

// ready gives the reply to a request for a list if it is in memory as it is to be
// sent. That takes so little that the goroutine which received the request does
// it: to hand it to another would take longer.
func (w *Worker) ready(j *job) (reply []byte) {
	const maxBytes = 4 << 10 // what takes long to decode holds up nobody
	if j.name != "list" || len(j.data) > maxBytes {
		return nil
	}
	defer func() {
		if recover() != nil {
			reply, j.query = nil, nil // it happens again where it is reported
		}
	}()
	q, err := w.decoded(j)
	if err != nil || len(q.after) > 0 || !q.plain() {
		return nil
	}
	reply = q.cache.ready(q, j.maxBytes)
	if reply != nil {
		w.metrics.hits.Inc()
	}
	return reply
}

// decoded decodes a request, once.
func (w *Worker) decoded(j *job) (*query, error) {
	if j.query == nil {
		app, _, _ := strings.Cut(strings.TrimPrefix(j.subject, subjectPrefix), ".")
		q, err := decode(app, j.data, j.decode)
		if err != nil {
			return nil, err
		}
		q.begin, q.now, q.cache = j.arrived, events.MicrosOf(w.clock()), w.cache()
		j.query = q
	}
	return j.query, nil
}

// serve answers requests from memory, one after the other. Those that have to
// wait for anything do so by themselves and come back, or are answered otherwise.
func (w *Worker) serve(base context.Context) {
	tick := time.NewTicker(beat.Every)
	defer tick.Stop()
	w.beat.Mark()
	var buffer bytes.Buffer
	for {
		select {
		case j, open := <-w.queue:
			if !open {
				return
			}
			w.answer(base, j, &buffer)
		case <-tick.C:
			w.beat.Mark()
		}
	}
}

// answer answers one request from memory, or has it wait.
func (w *Worker) answer(base context.Context, j *job, buffer *bytes.Buffer) {
	w.running.Add(1)
	reply, lacks, err := w.try(base, j, buffer)
	switch {
	case lacks == nil:
		w.finish(j, reply, err) //nolint:contextcheck // the span of a request is in the job
	case !w.aside(j):
		w.finish(j, nil, errOverloaded) //nolint:contextcheck // the span of a request is in the job
	default:
		go w.wait(base, j, lacks)
	}
	w.running.Add(-1)
	if buffer.Cap() > keptReplyBytes {
		*buffer = bytes.Buffer{}
	}
	buffer.Reset() // the connection has copied it
}

// keptReplyBytes is the greatest buffer that is kept for another reply.
const keptReplyBytes = 256 << 10

// try answers a request that is in hand, unless something is to be waited for.
func (w *Worker) try(base context.Context, j *job, buffer *bytes.Buffer) (reply []byte, lacks *missing, err error) {
	defer func() {
		if p := recover(); p != nil {
			lacks, err = nil, panicked(p)
		}
	}()
	if base.Err() != nil {
		return nil, nil, context.Cause(base)
	}
	q, err := w.decoded(j)
	if err != nil {
		return nil, nil, err
	}
	if time.Since(j.arrived) >= q.timeout {
		return nil, nil, late(q)
	}
	if len(q.after) > 0 {
		return nil, &missing{alone: func(ctx context.Context) error { return w.await(ctx, q) }}, nil
	}
	reply, lacks, err = j.answer(q, j.maxBytes, buffer)
	if lacks == nil && q.inbox != nil {
		w.metrics.hits.Inc()
	}
	return reply, lacks, err
}

func late(q *query) *replyError {
	return refusal(codeTimeout, "timeoutMs %d: expected an answer by then, and there is none yet", q.timeout.Milliseconds())
}

// aside has a request wait where it is in nobody's way: one that can be answered
// from memory waits for none that cannot.
func (w *Worker) aside(j *job) bool {
	if j.in == &w.waiting {
		return true
	}
	if !w.waiting.enter(len(j.data)) {
		return false
	}
	j.in.leave(len(j.data))
	j.in = &w.waiting
	return true
}

// wait goes on with a request that lacks something.
func (w *Worker) wait(base context.Context, j *job, lacks *missing) {
	buffer := replies.Get().(*bytes.Buffer)
	reply, err := w.supply(base, j, lacks, buffer)
	if reply == nil && err == nil {
		w.queue <- j // there is room
	} else {
		w.finish(j, reply, err) //nolint:contextcheck // the span of a request is in the job
	}
	if buffer.Cap() <= keptReplyBytes {
		buffer.Reset()
		replies.Put(buffer)
	}
}

// replies are buffers for the replies of requests that have waited.
var replies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// supply waits until a request has what it lacks, or gives up in time. It gives
// nothing when the request is to be tried again.
func (w *Worker) supply(base context.Context, j *job, lacks *missing, buffer *bytes.Buffer) (reply []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	q := j.query
	if j.span != nil {
		base = trace.ContextWithSpan(base, j.span)
	}
	ctx, cancel := context.WithDeadlineCause(base, j.arrived.Add(q.timeout), late(q))
	defer cancel()
	if lacks.alone != nil {
		return nil, lacks.alone(ctx)
	}
	w.metrics.misses.Inc()
	return q.cache.join(ctx, &attempt{answer: j.answer, query: q, maxBytes: j.maxBytes, buffer: buffer, done: make(chan struct{})})
}

// await waits until the projector has applied everything up to the offsets of a
// query, which is then asked as if it came only now.
func (w *Worker) await(ctx context.Context, q *query) error {
	if w.feed == nil {
		return refusal(codeUnavailable, "after: this worker does not hear of offsets")
	}
	// What is wrong in one place is not to wait for another. Of every partition that there
	// is, everything before its first offset is applied.
	for _, of := range []func(offset) int64{func(offset) int64 { return -1 }, func(o offset) int64 { return o.at }} {
		for i, o := range q.after {
			err := w.feed.Await(ctx, o.Partition, of(o))
			if errors.Is(err, feed.ErrUnknownPartition) {
				return badRequest("after[%d] topic %s, partition %d: expected a partition of a topic that is projected", i, quote(o.Topic), o.ID)
			}
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return refusal(codeTimeout, "after[%d] topic %s, partition %d, offset %d: expected to be applied within timeoutMs %d, and is not yet",
					i, quote(o.Topic), o.ID, o.at, q.timeout.Milliseconds())
			}
			if err != nil {
				return err //nolint:wrapcheck // the cause of the context
			}
		}
	}
	q.after, q.begin, q.now, q.cache = nil, time.Now(), events.MicrosOf(w.clock()), w.cache()
	return nil
}

// respond counts the reply, data or an error, and sends it.
func (w *Worker) respond(j *job, data []byte, err error) {
	reply := &nats.Msg{Subject: j.reply, Data: data}
	took := time.Since(j.arrived)
	var said *replyError
	if err == nil {
		j.seconds.Observe(took.Seconds())
	} else {
		said = replyFor(err)
		reply.Data = said.body()
		reply.Header = nats.Header{
			micro.ErrorCodeHeader: {said.code()},
			micro.ErrorHeader:     {said.Message},
		}
		w.metrics.seconds.WithLabelValues(j.name, said.code()).Observe(took.Seconds())
		if logged := (*loadError)(nil); said.Code == codeInternal && !errors.As(err, &logged) {
			w.log.Error("a request failed", "subject", j.subject, "error", err)
		}
	}
	j.stats.count(took, said)
	if j.span != nil {
		endSpan(j.span, reply, said)
	}
	if err := w.nc.PublishMsg(reply); err != nil {
		w.metrics.repliesFailed.Inc()
		w.log.Error("a reply was lost", "subject", j.subject, "bytes", len(reply.Data), "error", err)
	}
}
