package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

// fetcher reads one partition from its leader over a connection of its own.
// This file is all that knows how records come off the wire.
type fetcher struct {
	cluster *cluster
	topic   string
	id      int
	conn    *kafka.Conn
}

// fetched is the outcome of one fetch. It is valid, as far as it goes, after an error, too.
type fetched struct {
	// next is the offset to go on at: beyond what was handled, and beyond what
	// compaction has left out.
	next int64
	// highWater is the end of the partition, or 0 when the leader did not say.
	highWater int64
}

// fetch asks for the records from offset on and gives each to handle, in
// order; it waits FetchMaxWait for the first. An error of handle ends it. The
// connection is made at need, and does not outlive an error.
func (f *fetcher) fetch(ctx context.Context, offset int64, handle func(kafka.Message) error) (fetched, error) {
	result := fetched{next: offset}
	stop, err := f.connect(ctx)
	if err != nil {
		return result, err
	}
	defer stop()
	err = f.read(&result, handle)
	if err != nil {
		f.close()
		if ctx.Err() != nil {
			return result, context.Cause(ctx)
		}
		return result, fmt.Errorf("fetch %s/%d from offset %d: %w", f.topic, f.id, offset, err)
	}
	return result, nil
}

func (f *fetcher) read(result *fetched, handle func(kafka.Message) error) error {
	if _, err := f.conn.Seek(result.next, kafka.SeekAbsolute|kafka.SeekDontCheck); err != nil {
		return err
	}
	f.extend()
	batch := f.conn.ReadBatchWith(kafka.ReadBatchConfig{
		MinBytes: 1,
		MaxBytes: f.cluster.config.FetchMaxBytes,
		MaxWait:  f.cluster.config.FetchMaxWait,
	})
	result.highWater = batch.HighWaterMark()
	for {
		message, err := batch.ReadMessage()
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			// Compacted records leave gaps, which only the batch knows to end.
			result.next = max(result.next, batch.Offset())
			return batch.Close()
		case errors.Is(err, kafka.RequestTimedOut):
			// There was nothing to read, or we read past the deadline: no error
			// in either case, and the connection is sound.
			_ = batch.Close()
			return nil
		default:
			f.close() // first, or Close would read on to the batch's end
			_ = batch.Close()
			return err
		}
		if err := handle(message); err != nil {
			f.close()
			_ = batch.Close()
			return err
		}
		result.next = message.Offset + 1
	}
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
		return 0, 0, fmt.Errorf("read the first and last offset of %s/%d: %w", f.topic, f.id, err)
	}
	return first, last, nil
}

// connect makes sure of a connection that ctx, until stop is called, can interrupt.
func (f *fetcher) connect(ctx context.Context) (stop func(), err error) {
	if f.conn == nil {
		if f.conn, err = f.cluster.dialLeader(ctx, f.topic, f.id); err != nil {
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

// extend moves the deadline of the request that is under way. Who handles
// records for long must call it.
func (f *fetcher) extend() {
	if f.conn != nil {
		_ = f.conn.SetDeadline(time.Now().Add(f.cluster.config.FetchMaxWait + f.cluster.config.RequestTimeout))
	}
}

func (f *fetcher) close() {
	if f.conn != nil {
		_ = f.conn.Close()
		f.conn = nil
	}
}
