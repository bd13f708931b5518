package query

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
)

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
				return err
			}
		}
	}
	q.after, q.begin, q.now, q.cache = nil, time.Now(), events.MicrosOf(w.clock()), w.cache()
	return nil
}
