package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
)

// fetcher reads one partition from its leader over a connection of its own.
// This file, with tap.go, batches.go and records.go, is all that knows how records come
// off the wire.
type fetcher struct {
	events.Partition
	cluster *cluster
	conn    *kafka.Conn
	tap     *tap // under conn
	// ends is told of each fetch, before its records are handled, the end of the partition
	// and that of what no open transaction holds back; nil: nobody wants to know.
	ends func(highWater, stable int64)
	// suspect is the corrupted batch that the last fetch met, to be seen again
	// on another connection before it is believed.
	suspect *corruption
	// holes says that the last fetch met offsets without a batch, so the next one is likely
	// to begin behind some, too.
	holes bool
	// before is the batch read last, which ended at the offset end. A connection that is new
	// may lead to another log, until looked says that what lies there was seen.
	before *batchHeader
	end    int64
	looked bool
}

// fetched is the outcome of one fetch. It is valid, as far as it goes, after an error, too.
type fetched struct {
	// next is the offset to go on at: beyond what was handled, what was not to
	// be handled and what compaction has left out.
	next int64
	// control and aborted count records that are not to be handled: those of
	// the protocol itself and those of aborted transactions.
	control, aborted int
	// lost is a batch that is corrupted beyond doubt, and left behind.
	lost *corruption
}

// fetch asks for the records from offset on and gives each to handle, in
// order; it waits FetchMaxWait for the first. An error of handle ends it. The
// connection is made at need, and does not outlive an error.
func (f *fetcher) fetch(ctx context.Context, offset int64, handle func(kafka.Message) error) (fetched, error) {
	result := fetched{next: offset}
	err := errElsewhere
	if known := f.before != nil && f.end == offset; !f.holes && (f.conn != nil && f.looked || !known) {
		err = f.ask(ctx, &result, offset, false, handle)
	}
	if errors.Is(err, errElsewhere) && offset > 0 {
		if err = f.ask(ctx, &result, offset-1, true, handle); judge(err) == outOfRange {
			err = errElsewhere
		}
	}
	if errors.Is(err, errElsewhere) { // there is nothing before it, or only that
		err = f.ask(ctx, &result, offset, true, handle)
	}
	switch {
	case err == nil:
		return result, nil
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	}
	return result, fmt.Errorf("fetch %v from offset %d: %w", f.Partition, offset, err)
}

// ask makes one fetch of what is wanted from result.next on, asking for an offset; see response.
// It makes it again when the broker has not answered, by its quota.
func (f *fetcher) ask(ctx context.Context, result *fetched, offset int64, sure bool, handle func(kafka.Message) error) error {
	for {
		stop, err := f.connect(ctx)
		if err != nil {
			return err
		}
		err = f.read(result, offset, sure, handle)
		throttled := errors.Is(err, errThrottled)
		if err != nil && !throttled && !errors.Is(err, errElsewhere) {
			f.close()
		}
		stop()
		if !throttled {
			return err
		}
		if err := pause.For(ctx, f.tap.response.throttled); err != nil {
			return err
		}
	}
}

func (f *fetcher) read(result *fetched, offset int64, sure bool, handle func(kafka.Message) error) error {
	if _, err := f.conn.Seek(offset, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		return err
	}
	f.extend()
	r := &f.tap.response
	r.reset(result.next, offset, sure)
	if f.end == result.next {
		r.before = f.before
	}
	batch := f.conn.ReadBatchWith(kafka.ReadBatchConfig{
		MinBytes:       1,
		MaxBytes:       f.cluster.config.FetchMaxBytes,
		MaxWait:        f.cluster.config.FetchMaxWait,
		IsolationLevel: kafka.ReadCommitted, // or brokers do not say what was aborted
	})
	err := batch.Err()
	if err != nil {
		f.close() // first, or Close would read on
	}
	_ = batch.Close() // which says the same
	switch s := f.suspect; {
	case err == nil && !r.seen:
		return errors.New("kafka-go read a response that was not looked at")
	case err == nil && r.throttled > 0:
		return errThrottled
	case err == nil:
	case s != nil && s.from == r.offset && s.next >= 0 && (errors.Is(err, kafka.Unknown) || errors.Is(err, kafka.InvalidMessage)):
		f.suspect, result.lost, result.next = nil, s, s.next // the leader itself cannot read it
		return nil
	default:
		return err
	}
	if f.ends != nil && r.highWater > 0 {
		f.ends(r.highWater, r.stable)
	}
	for _, b := range r.batches {
		if err := b.each(func(m kafka.Message) error {
			if m.Offset < r.offset {
				return nil
			}
			m.Topic, m.Partition = f.Topic, f.ID
			err := handle(m)
			if err == nil {
				result.next = m.Offset + 1
			}
			return err
		}); err != nil {
			return err
		}
	}
	err = f.finish(result)
	f.tap.release()
	return err
}

// finish ends a fetch whose records are all handled.
func (f *fetcher) finish(result *fetched) error {
	r := &f.tap.response
	// A leader that is new may have no more than it knows to be on other replicas, and then
	// gives nothing where there will be something, which says nothing.
	f.looked = f.looked || r.parsed.at > 0 || r.asked == r.offset && r.sure
	switch {
	case r.doubt != nil:
		return r.doubt
	case r.asked < r.offset && r.next == r.offset && r.corrupt == nil && f.looked:
		f.holes = false
		return errElsewhere
	case r.next == r.offset && r.corrupt == nil && min(r.stable, r.highWater) > r.offset:
		return fmt.Errorf("the leader has records up to offset %d but sends none: its log may be damaged there", min(r.stable, r.highWater)-1)
	}
	if f.holes = r.holes; r.next > r.offset {
		before := r.last
		f.before, f.end = &before, r.next
	}
	result.next = max(result.next, r.next)
	result.control, result.aborted = r.control, r.aborted

	before, now := f.suspect, r.corrupt
	if before != nil && before.from == r.offset {
		switch {
		case now != nil && now.from == before.from:
			if now.next >= 0 {
				f.suspect, result.lost, result.next = nil, now, now.next
				return nil
			}
		case r.first > max(before.base, before.from):
			result.lost = before // the broker itself has lost it from sight
			result.lost.next = r.first
		case r.next == r.offset:
			return nil // nothing came, which says nothing
		}
	}
	f.suspect = now
	if now != nil {
		return now
	}
	return nil
}

// offsets are the first offset in the partition and the one after its last.
func (f *fetcher) offsets(ctx context.Context) (first, last int64, err error) {
	stop, err := f.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer stop()
	f.extend()
	if first, last, err = f.conn.ReadOffsets(); err != nil {
		f.close()
		return 0, 0, fmt.Errorf("read the first and last offset of %v: %w", f.Partition, err)
	}
	return first, last, nil
}

// connect makes sure of a connection that ctx, until stop is called, can interrupt.
func (f *fetcher) connect(ctx context.Context) (stop func(), err error) {
	if f.conn == nil {
		f.looked = false
		if f.conn, f.tap, err = f.cluster.dialLeader(ctx, f.Partition); err != nil {
			f.conn = nil
			return nil, err
		}
	}
	conn := f.conn
	cancel := context.AfterFunc(ctx, func() { _ = conn.Close() })
	return func() {
		if !cancel() {
			f.conn = nil // closed, or about to be
		}
	}, nil
}

// extend gives the request that is next its time.
func (f *fetcher) extend() {
	_ = f.conn.SetDeadline(time.Now().Add(f.cluster.config.FetchMaxWait + f.cluster.config.RequestTimeout))
}

func (f *fetcher) close() {
	if f.conn != nil {
		_ = f.conn.Close()
		f.conn = nil
	}
}
