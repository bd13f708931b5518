package ingest

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batchOf encodes a batch of records at these offsets, compressed or not.
func batchOf(first, last int64, records int, change func(*kmsg.RecordBatch)) []byte {
	b := kmsg.RecordBatch{
		FirstOffset: first, Magic: 2, LastOffsetDelta: int32(last - first), NumRecords: int32(records),
		FirstTimestamp: 1000, MaxTimestamp: 2000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	for i := range records {
		record := kmsg.Record{OffsetDelta: int32(i), Key: []byte("k"), Value: []byte("v")}
		body := record.AppendTo(nil)[1:] // without its length, one byte while it is 0
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	if change != nil {
		change(&b)
	}
	b.Length = int32(len(b.AppendTo(nil)) - batchOutsideLength)
	return seal(b.AppendTo(nil))
}

// seal makes the CRC right.
func seal(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

func producedBy(id int64, attributes int16) func(*kmsg.RecordBatch) {
	return func(b *kmsg.RecordBatch) { b.ProducerID, b.Attributes = id, attributes }
}

// keptUntil is what the log cleaner makes of a batch with tombstones or markers that it has
// seen: times are counted from the one at which it takes them away.
func keptUntil(ms int64) func(*kmsg.RecordBatch) {
	return func(b *kmsg.RecordBatch) { b.FirstTimestamp, b.Attributes = ms, b.Attributes|attributeDeleteHorizon }
}

// frameOf is a fetch response on the wire.
func frameOf(version int16, end int64, aborted []transaction, batches ...[]byte) []byte {
	p := kmsg.NewFetchResponseTopicPartition()
	p.HighWatermark, p.LastStableOffset, p.RecordBatches = end, end, slices.Concat(batches...)
	for _, t := range aborted {
		a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		a.ProducerID, a.FirstOffset = t.producer, t.first
		p.AbortedTransactions = append(p.AbortedTransactions, a)
	}
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic, topic.Partitions = messagesTopic, []kmsg.FetchResponseTopicPartition{p}
	res := kmsg.NewPtrFetchResponse()
	res.SetVersion(version)
	res.Topics = append(res.Topics, topic)
	body := res.AppendTo(make([]byte, 8))
	binary.BigEndian.PutUint32(body, uint32(len(body)-4))
	return body
}

// checkEmpty looks whether a response is one that found nothing at an offset.
func checkEmpty(t testing.TB, frame []byte, version int16, offset int64) {
	t.Helper()
	if got := int(binary.BigEndian.Uint32(frame)); got != len(frame)-4 {
		t.Fatalf("the response says it has %d bytes, and has %d", got, len(frame)-4)
	}
	res := kmsg.NewPtrFetchResponse()
	res.SetVersion(version)
	if err := res.ReadFrom(frame[8:]); err != nil {
		t.Fatal(err)
	}
	if p := res.Topics[0].Partitions[0]; len(p.RecordBatches) > 0 || p.HighWatermark != offset {
		t.Errorf("%d bytes with the mark %d, want none at offset %d", len(p.RecordBatches), p.HighWatermark, offset)
	}
}

const transactional, marker = attributeTransactional, attributeTransactional | attributeControl

func TestResponse_Filter(t *testing.T) {
	a, b := batchOf(10, 12, 3, nil), batchOf(13, 13, 1, nil)
	flipped := slices.Clone(b)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		name                     string
		offset, end              int64
		back                     int64 // how far before the offset was asked
		aborted                  []transaction
		in, keep                 [][]byte
		next                     int64
		records                  int
		dropControl, dropAborted int
		corrupt                  bool
		after                    int64 // the corrupted batch
	}{
		{name: "nothing", offset: 10, end: 10, next: 10},
		{name: "all", offset: 10, end: 14, in: [][]byte{a, b}, keep: [][]byte{a, b}, next: 14, records: 4},
		{name: "from the middle", offset: 11, end: 14, in: [][]byte{a, b}, keep: [][]byte{a, b}, next: 14, records: 1},
		{name: "a batch before", offset: 13, end: 14, in: [][]byte{a, b}, keep: [][]byte{b}, next: 14, records: 1},
		{name: "behind the mark", offset: 10, end: 10, in: [][]byte{a, b}, keep: [][]byte{a, b}, next: 14, records: 4},
		{name: "cut off in the header", offset: 10, end: 14, in: [][]byte{a, b[:11]}, keep: [][]byte{a}, next: 13, records: 3},
		{name: "cut off in the records", offset: 10, end: 14, in: [][]byte{a, b[:len(b)-1]}, keep: [][]byte{a}, next: 13, records: 3},
		{
			name: "compacted", offset: 10, end: 30,
			in:   [][]byte{batchOf(10, 14, 0, nil), batchOf(20, 24, 2, nil), batchOf(25, 29, 0, nil)},
			keep: [][]byte{batchOf(20, 24, 2, nil)}, next: 30, records: 2,
		},
		{name: "emptied", offset: 10, end: 15, in: [][]byte{batchOf(10, 14, 0, nil)}, next: 15},
		{
			name: "transactions", offset: 10, end: 20,
			aborted: []transaction{{7, 15}, {7, 10}, {8, 12}}, // in no order
			in: [][]byte{
				batchOf(10, 10, 1, producedBy(7, transactional)),
				batchOf(11, 11, 1, producedBy(8, transactional)), // an earlier transaction, committed
				batchOf(12, 12, 1, producedBy(8, marker)),
				batchOf(13, 13, 1, producedBy(7, marker)),
				batchOf(14, 14, 1, producedBy(7, 0)), // of no transaction
				batchOf(15, 16, 2, producedBy(7, transactional)),
				batchOf(17, 17, 1, producedBy(7, marker)),
				batchOf(18, 18, 1, producedBy(7, transactional)),
				batchOf(19, 19, 1, producedBy(9, transactional)),
			},
			keep: [][]byte{
				batchOf(11, 11, 1, producedBy(8, transactional)),
				batchOf(14, 14, 1, producedBy(7, 0)),
				batchOf(18, 18, 1, producedBy(7, transactional)),
				batchOf(19, 19, 1, producedBy(9, transactional)),
			},
			next: 20, records: 4, dropControl: 3, dropAborted: 3,
		},
		{
			name: "the middle of an aborted transaction", offset: 10, end: 11, aborted: []transaction{{7, 3}},
			in: [][]byte{batchOf(10, 10, 1, producedBy(7, transactional))}, next: 11, dropAborted: 1,
		},

		{
			name: "a transaction that ended before", offset: 12, end: 13, back: 1, aborted: []transaction{{7, 10}},
			in:   [][]byte{batchOf(11, 11, 1, producedBy(7, marker)), batchOf(12, 12, 1, producedBy(7, transactional))},
			keep: [][]byte{batchOf(12, 12, 1, producedBy(7, transactional))}, next: 13, records: 1,
		},
		{
			name: "the same, and its end claims to lie elsewhere", offset: 12, end: 13, back: 1, aborted: []transaction{{7, 10}},
			in:   [][]byte{batchOf(12, 12, 1, producedBy(7, marker)), batchOf(12, 12, 1, producedBy(7, transactional))},
			keep: [][]byte{batchOf(12, 12, 1, producedBy(7, transactional))}, next: 13, records: 1,
		},

		{name: "corrupted at the end", offset: 10, end: 14, in: [][]byte{a, flipped}, keep: [][]byte{a}, next: 13, records: 3, corrupt: true, after: 14},
		{name: "corrupted, and another follows", offset: 13, end: 30, in: [][]byte{flipped, batchOf(20, 20, 1, nil)}, next: 13, corrupt: true, after: 20},
		{
			name: "corrupted, and what follows is beyond the end", offset: 13, end: 15, next: 13, corrupt: true, after: 14,
			in: [][]byte{flipped, batchOf(1<<40, 1<<40, 1, nil)},
		},
		{
			name: "an end not to be believed", offset: 13, end: 14, next: 13, corrupt: true, after: -1,
			in: [][]byte{changed(b, func(b []byte) { binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], 1<<20) })},
		},
		{
			name: "the same, and another follows", offset: 13, end: 15, next: 13, corrupt: true, after: 14,
			in: [][]byte{changed(b, func(b []byte) { binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], 1<<20) }), batchOf(14, 14, 1, nil)},
		},
		{
			name: "a length beyond the response", offset: 13, end: 14, next: 13, corrupt: true, after: 14,
			in: [][]byte{changed(b, func(b []byte) { b[batchLength] ^= 0x40 })},
		},
		{
			name: "a negative length", offset: 13, end: 14, next: 13, corrupt: true, after: 14,
			in: [][]byte{changed(b, func(b []byte) { b[batchLength] ^= 0x80 })},
		},
		{
			name: "a length too small", offset: 13, end: 14, next: 13, corrupt: true, after: 14,
			in: [][]byte{changed(b, func(b []byte) { b[batchLength+3] = 1 })},
		},
		{
			name: "no format", offset: 13, end: 14, next: 13, corrupt: true, after: 14,
			in: [][]byte{changed(b, func(b []byte) { b[batchMagic] = 0 })},
		},
		{name: "before what came", offset: 10, end: 14, in: [][]byte{a, batchOf(9, 9, 1, nil)}, keep: [][]byte{a}, next: 13, records: 3, corrupt: true, after: -1},
		{name: "beyond the end", offset: 10, end: 14, in: [][]byte{a, batchOf(1<<40, 1<<40, 1, nil)}, keep: [][]byte{a}, next: 13, records: 3, corrupt: true, after: -1},
		{
			name: "found by what it claims", offset: 13, end: 14, keep: [][]byte{b}, next: 14, records: 1,
			in: [][]byte{changed(a, func(b []byte) { b[2] ^= 1 }), b},
		},
		{
			name: "the same, and all is known", offset: 14, end: 14, next: 14,
			in: [][]byte{changed(a, func(b []byte) { binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], 1<<20) }), b},
		},
		{
			name: "a hole, and an end to come", offset: 10, end: 40,
			in: [][]byte{a, batchOf(20, 20, 1, nil)}, keep: [][]byte{a}, next: 13, records: 3,
		},
		{
			name: "the same at the beginning", offset: 13, end: 40,
			in: [][]byte{batchOf(20, 20, 1, nil)}, keep: [][]byte{batchOf(20, 20, 1, nil)}, next: 21, records: 1,
		},
		{
			name: "a hole that is none", offset: 10, end: 40, next: 13, records: 3, corrupt: true, after: 14,
			in: [][]byte{a, batchOf(29, 29, 1, nil), batchOf(14, 19, 1, nil), batchOf(20, 39, 1, nil)}, keep: [][]byte{a},
		},
		{
			name: "a hole, and one that is not in it", offset: 10, end: 40, next: 30, records: 4, corrupt: true, after: 32,
			in:   [][]byte{a, batchOf(29, 29, 1, nil), batchOf(14, 15, 1, nil), batchOf(32, 39, 1, nil)},
			keep: [][]byte{a, batchOf(29, 29, 1, nil)},
		},
		{
			name: "the same, and which one is not known", offset: 10, end: 40, next: 13, records: 3,
			in: [][]byte{a, batchOf(29, 29, 1, nil), batchOf(14, 15, 1, nil)}, keep: [][]byte{a},
		},
		{name: "beyond the end by its last offset", offset: 13, end: 22, next: 13, corrupt: true, after: -1, in: [][]byte{batchOf(20, 22, 1, nil)}},
		{name: "more records than offsets", offset: 10, end: 14, in: [][]byte{batchOf(10, 12, 4, nil), b}, next: 10, corrupt: true, after: 13},
		{name: "less than a header", offset: 10, end: 14, in: [][]byte{a[:30]}, next: 10, corrupt: true, after: -1},
	} {
		for version := int16(5); version <= 10; version++ {
			var r response
			r.reset(c.offset, c.offset-c.back, true)
			frame, err := r.filter(frameOf(version, c.end, c.aborted, c.in...), version)
			if err != nil {
				t.Errorf("%s, version %d: %v", c.name, version, err)
				continue
			}
			checkEmpty(t, frame, version, c.offset-c.back)
			var kept [][]byte
			records := 0 // of those that begin where they are wanted
			for _, b := range r.batches {
				kept = append(kept, b.encoded)
				if b.first >= c.offset {
					records += b.records
				}
			}
			if diff := cmp.Diff(c.keep, kept); diff != "" {
				t.Errorf("%s, version %d: kept (-want +got):\n%s", c.name, version, diff)
			}
			got := []int64{r.next, int64(records), int64(r.control), int64(r.aborted), r.highWater}
			want := []int64{c.next, int64(c.records), int64(c.dropControl), int64(c.dropAborted), max(c.end, c.next)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, version %d: next, records, control, aborted, mark (-want +got):\n%s", c.name, version, diff)
			}
			if c.corrupt != (r.corrupt != nil) {
				t.Errorf("%s, version %d: corruption %v", c.name, version, r.corrupt)
			} else if c.corrupt && (r.corrupt.next != c.after || r.corrupt.from != c.next) {
				t.Errorf("%s, version %d: from %d to %d, want %d to %d: %v", c.name, version, r.corrupt.from, r.corrupt.next, c.next, c.after, r.corrupt)
			}
		}
	}
}

// TestBatchHeader_Is tells a batch that the cleaner has changed from another one.
func TestBatchHeader_Is(t *testing.T) {
	was := batchHeader{first: 13, last: 15, records: 2, crc: 7}
	marked := batchHeader{first: 13, last: 15, records: 2, crc: 8, horizon: true}
	for _, c := range []struct {
		name     string
		was, now batchHeader
		want     bool
	}{
		{"the same", was, was, true},
		{"marked", was, marked, true},
		{"marked, and then fewer", marked, batchHeader{first: 13, last: 15, records: 1, crc: 9, horizon: true}, true},
		{"emptied", was, batchHeader{first: 13, last: 15, crc: 9}, true},
		{"others", was, batchHeader{first: 13, last: 15, records: 2, crc: 9}, false},
		{"more", was, batchHeader{first: 13, last: 15, records: 3, crc: 9}, false},
		{"others than what was marked", marked, batchHeader{first: 13, last: 15, records: 2, crc: 9, horizon: true}, false},
		{"not marked any more", marked, was, false},
		{"another end", was, batchHeader{first: 13, last: 16, records: 1, crc: 7}, false},
		{"another beginning", was, batchHeader{first: 12, last: 15, records: 1, crc: 7}, false},
	} {
		if got := c.now.is(c.was); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestResponse_Throttled has a broker with a quota answer without the topic that was asked for.
func TestResponse_Throttled(t *testing.T) {
	for version := int16(5); version <= 10; version++ {
		res := kmsg.NewPtrFetchResponse()
		res.SetVersion(version)
		res.ThrottleMillis = 1500
		body := res.AppendTo(make([]byte, 8))
		binary.BigEndian.PutUint32(body, uint32(len(body)-4))
		var r response
		r.reset(13, 12, true)
		frame, err := r.filter(body, version)
		if err != nil || r.throttled != 1500*time.Millisecond {
			t.Fatalf("version %d: %v, %+v", version, err, r)
		}
		checkEmpty(t, frame, version, 12)
	}
}

func changed(b []byte, change func([]byte)) []byte {
	b = slices.Clone(b)
	change(b)
	return b
}

// Whatever bit flips under the CRC: the batch is kept out, and reading goes on
// before or at the batch that follows.
func TestResponse_EveryFlippedBit(t *testing.T) {
	sound, follows := batchOf(13, 15, 3, nil), batchOf(16, 16, 1, nil)
	for bit := batchCRC * 8; bit < len(sound)*8; bit++ {
		bad := changed(sound, func(b []byte) { b[bit/8] ^= 1 << (bit % 8) })
		var r response
		r.reset(13, 13, true)
		if _, err := r.filter(frameOf(10, 17, nil, bad, follows), 10); err != nil {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if r.corrupt == nil || len(r.batches) != 0 || r.corrupt.next != 16 {
			t.Errorf("bit %d: corruption %v, %d batches kept", bit, r.corrupt, len(r.batches))
		}
	}
}

func TestResponse_BrokersTime(t *testing.T) {
	var r response
	r.reset(0, 0, true)
	producers, brokers := batchOf(0, 0, 1, nil), batchOf(1, 1, 1, producedBy(-1, attributeLogAppendTime))
	if _, err := r.filter(frameOf(10, 2, nil, producers, brokers), 10); err != nil {
		t.Fatal(err)
	}
	if got, want := []time.Time{r.batches[0].appended, r.batches[1].appended}, []time.Time{{}, time.UnixMilli(2000).UTC()}; !slices.Equal(got, want) {
		t.Errorf("times %v, want %v", got, want)
	}
}

func TestResponse_Refuses(t *testing.T) {
	// An old message: offset, size, CRC, format, attributes, key, value.
	old := kmsg.MessageV0{Magic: 0, Key: []byte("k"), Value: []byte("v")}
	old.MessageSize = int32(len(old.AppendTo(nil)) - batchOutsideLength)
	message := old.AppendTo(nil)
	binary.BigEndian.PutUint32(message[batchOutsideLength:], crc32.ChecksumIEEE(message[batchMagic:]))

	var r response
	r.reset(0, 0, true)
	if _, err := r.filter(frameOf(10, 1, nil, message), 10); !errors.Is(err, errOldFormat) {
		t.Errorf("old format: %v", err)
	}
	r.reset(0, 0, true)
	if _, err := r.filter(frameOf(10, 2, nil, batchOf(0, 0, 1, nil), message), 10); err != nil || len(r.batches) != 1 || r.corrupt != nil {
		t.Errorf("old format after new: %v, %d batches, %v", err, len(r.batches), r.corrupt)
	}
	for _, version := range []int16{4, 11} {
		r.reset(0, 0, true)
		if _, err := r.filter(frameOf(version, 1, nil), version); err == nil || r.seen {
			t.Errorf("version %d is let pass", version)
		}
	}
	whole := frameOf(10, 1, []transaction{{1, 0}}, batchOf(0, 0, 1, nil))
	for n := 8; n < len(whole); n++ {
		r.reset(0, 0, true)
		if _, err := r.filter(slices.Clone(whole[:n]), 10); err == nil && !r.seen {
			t.Errorf("%d bytes of %d: no error", n, len(whole))
		}
	}
}
