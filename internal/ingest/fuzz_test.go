package ingest

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/segmentio/kafka-go"
)

// FuzzResponse holds that a response is left with whole sound batches that are
// wanted, ascending, and that reading goes on after them and after nothing else.
func FuzzResponse(f *testing.F) {
	a, b := batchOf(10, 12, 3, nil), batchOf(13, 13, 1, nil)
	f.Add(slices.Concat(a, b), int16(10), int64(10), int64(14), int64(0), int64(0), false, true)
	f.Add(slices.Concat(a, b, a[:40]), int16(7), int64(11), int64(14), int64(0), int64(1), true, true)
	f.Add(slices.Concat(batchOf(10, 10, 1, producedBy(7, transactional)), batchOf(11, 11, 1, producedBy(7, marker)), batchOf(12, 20, 0, nil)),
		int16(5), int64(10), int64(12), int64(7), int64(0), true, false)
	f.Fuzz(func(t *testing.T, batches []byte, version int16, offset, end, producer, back int64, sealed, sure bool) {
		if version < 5 || version > 10 || back < 0 || back > 1 || offset < back {
			return
		}
		batches = slices.Clone(batches)
		for rest := batches; sealed && len(rest) >= batchHeaderSize; {
			size := batchOutsideLength + int(int32(binary.BigEndian.Uint32(rest[batchLength:])))
			if size < batchHeaderSize || size > len(rest) {
				break
			}
			seal(rest[:size])
			rest = rest[size:]
		}
		frame := frameOf(version, end, []transaction{{producer, offset}}, batches)
		var r response
		r.reset(offset, offset-back, sure)
		out, err := r.filter(frame, version)
		if err != nil || r.doubt != nil && r.next == offset && len(r.batches) == 0 {
			return
		}
		// Nothing sound is passed over, up to the first batch that is not. One
		// that claims to begin beyond the end of the partition is none.
		before, after := int64(-1), max(offset, end)
		for rest := batches; ; {
			batch, size, err := parseBatch(rest)
			if err != nil || batch.first <= before || batch.first > after {
				break
			}
			if following, _, err := parseBatch(rest[size:]); err == nil && following.first <= batch.last {
				break // one of them is none
			}
			rest, before, after = rest[size:], batch.last, max(after, batch.last+1)
			wanted := batch.last >= offset && batch.records > 0 && !batch.control && (!batch.transactional || batch.producer != producer)
			if wanted && batch.first < r.next && !slices.ContainsFunc(r.batches, func(b recordBatch) bool { return b.batchHeader == batch }) {
				t.Fatalf("%+v is not in %+v, and reading goes on at %d", batch, r.batches, r.next)
			}
		}
		if r.next < offset || r.corrupt != nil && (r.corrupt.from != r.next || r.corrupt.next >= 0 && r.corrupt.next <= r.next) {
			t.Fatalf("from %d reading goes on at %d, %+v", offset, r.next, r.corrupt)
		}
		checkEmpty(t, out, version, offset-back)
		last := int64(-1)
		for _, b := range r.batches {
			got, size, err := parseBatch(b.encoded)
			if err != nil || size != len(b.encoded) || got != b.batchHeader || got.first <= last || got.last < offset || got.records == 0 || got.control {
				t.Fatalf("kept %+v of %d bytes after %d, want %+v of %d: %v", got, size, last, b.batchHeader, len(b.encoded), err)
			}
			last = got.last
			n := 0
			err = b.each(func(m kafka.Message) error {
				if n++; m.Offset < got.first || m.Offset > got.last {
					t.Fatalf("a record at offset %d of %v", m.Offset, b)
				}
				return nil
			})
			if n > got.records || err == nil && n < got.records {
				t.Fatalf("%d of %d records: %v", n, got.records, err)
			}
		}
		if len(r.batches) > 0 && (r.next <= last || r.next <= offset) {
			t.Fatalf("next %d after %d from %d", r.next, last, offset)
		}
	})
}
