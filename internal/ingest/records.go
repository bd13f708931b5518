package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

// maxUnpackedBytes bounds what a record batch unpacks to. Producers keep a batch within
// their max.request.size before they compress it, which is 1 MiB unless they are told
// otherwise; but a broker's max.message.bytes is about what it comes to then, so 1 MiB of
// a batch may hold gigabytes.
const maxUnpackedBytes = 64 << 20

// maxHeaders bounds the headers of a record: two bytes of a batch make one, which takes
// twenty times as many in memory.
const maxHeaders = 1 << 16

// recordBatch is a sound batch, as long as its response is in memory.
type recordBatch struct {
	batchHeader
	encoded []byte
}

// each gives the records of a batch to handle, in order, each in memory of its own.
func (b recordBatch) each(handle func(kafka.Message) error) error {
	c := cursor{b: b.encoded, at: batchHeaderSize}
	if b.compression != compress.None {
		buffer := unpacked.Get().(*bytes.Buffer)
		defer unpacked.Put(buffer)
		buffer.Reset()
		if err := unpack(buffer, b.compression, b.encoded[batchHeaderSize:]); err != nil {
			return fmt.Errorf("%v: %w", b, err)
		}
		c = cursor{b: buffer.Bytes()}
	}
	for n := range b.records {
		m, err := c.record(b.batchHeader)
		if err != nil {
			return fmt.Errorf("%v: record %d of %d is malformed: %w", b, n+1, b.records, err)
		}
		if err := handle(m); err != nil {
			return err
		}
	}
	if left := len(c.b) - c.at; left > 0 {
		return fmt.Errorf("%v: %d bytes are left after its %d records", b, left, b.records)
	}
	return nil
}

// unpacked are the buffers of batches. A partition that waits holds none.
var unpacked = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxWindow is the greatest window of zstd that room is made for, in bytes: what level 19 has.
const maxWindow = 8 << 20

// unzstd unpacks zstd into the room that it is given, and needs no window.
var unzstd, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true)) // which are right

// unpack unpacks the records of a batch.
func unpack(buffer *bytes.Buffer, c compress.Compression, packed []byte) (err error) {
	codec := c.Codec()
	var frame zstd.Header
	switch {
	case codec == nil:
		return fmt.Errorf("its compression is %d, expected at most %d", c, compress.Zstd)
	case c == compress.Zstd && frame.Decode(packed) == nil && frame.WindowSize > maxWindow:
		// Whoever reads it piece by piece makes room for the window that it names, 128 MiB at
		// level 22, whatever is in it.
		buffer.Grow(maxUnpackedBytes + 1)
		var b []byte
		b, err = unzstd.DecodeAll(packed, buffer.AvailableBuffer())
		_, _ = buffer.Write(b) // which never fails
	default:
		r := codec.NewReader(bytes.NewReader(packed))
		_, err = buffer.ReadFrom(io.LimitReader(r, maxUnpackedBytes+1))
		_ = r.Close() // of what was in memory
	}
	if buffer.Len() > maxUnpackedBytes || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("it unpacks to more than %d bytes", maxUnpackedBytes)
	}
	if err != nil {
		return fmt.Errorf("unpack it by %s: %w", codec.Name(), err)
	}
	return nil
}

// record reads a record of message format 2. Its key and value, in one piece of memory,
// and its headers have nothing in common with what they are read from.
func (c *cursor) record(b batchHeader) (m kafka.Message, err error) {
	r := cursor{b: c.bytes(c.varint())}
	r.take(1) // attributes, of which there are none
	at := b.base + r.varint()
	m.Offset = b.first + r.varint()
	key, value := r.bytes(r.varint()), r.bytes(r.varint())
	headers := r.varint()
	if headers > maxHeaders {
		return m, fmt.Errorf("it has %d headers, expected at most %d", headers, maxHeaders)
	}
	for n := headers; n > 0 && !r.short; n-- {
		name := string(r.bytes(r.varint()))
		m.Headers = append(m.Headers, kafka.Header{Key: name, Value: bytes.Clone(r.bytes(r.varint()))})
	}
	switch {
	case c.short || r.short:
		return m, io.ErrUnexpectedEOF
	case r.at < len(r.b):
		return m, fmt.Errorf("%d bytes are left after its headers", len(r.b)-r.at)
	case m.Offset < b.first || m.Offset > b.last:
		return m, fmt.Errorf("its offset is %d", m.Offset)
	}
	both := make([]byte, len(key)+len(value))
	if key != nil {
		m.Key = both[:copy(both, key):len(key)]
	}
	if value != nil {
		m.Value = both[len(key):]
		copy(m.Value, value)
	}
	if m.Time = b.appended; m.Time.IsZero() && at > 0 {
		m.Time = time.UnixMilli(at).UTC()
	}
	return m, nil
}
