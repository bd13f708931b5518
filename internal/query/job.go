package query

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/events"
)

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
	if w.cache().generation == 0 { // nobody knows yet what to ask ClickHouse for
		return errStoreAway
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
	j.in.leave(len(j.data)) // first: whoever has the reply may ask the next thing
	w.respond(j, reply, err)
	if j.query != nil {
		j.query.cache.done(j.query)
	}
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

// respond counts the reply, data or an error, and sends it.
func (w *Worker) respond(j *job, data []byte, err error) {
	if err == nil && int64(len(data)) > w.nc.MaxPayload() { // it was made for another server
		err = errTakesLess
	}
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
