package ingest

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/compress"
)

// response is what a fetch response says. filter takes all batches out of it, of which
// kafka-go is to know nothing, and keeps those whose records are to be handled.
type response struct {
	// offset is wanted. asked was asked for: the same, or the one before, to see what
	// lies in front of it.
	offset, asked int64
	// sure says that there is no more to be seen of the first batch.
	sure bool
	// before is the batch that lay in front of offset when it was read; nil: not known.
	before *batchHeader
	// seen says that filter has looked at the response.
	seen bool
	// throttled is for how long a broker wants to be left alone that has given nothing else.
	throttled time.Duration
	// highWater is the end of the partition, stable that of what no open
	// transaction holds back.
	highWater, stable int64
	// first is where the first sound batch begins, or -1.
	first int64
	// next is the offset after the last sound batch, whatever compaction has left of it.
	next int64
	// last is the last sound batch.
	last batchHeader
	// batches are those kept, ascending, in the memory of the response.
	batches []recordBatch
	// control and aborted count the records that are not.
	control, aborted int
	// corrupt is the batch that ended the look, if any did.
	corrupt *corruption
	// doubt is why nothing is kept: errElsewhere or errAnother.
	doubt error
	// holes says that there were offsets without a batch.
	holes bool

	// parsed is the batch that was looked at last.
	parsed struct {
		at    int // in the response; 0: none was
		batch batchHeader
		size  int
		err   error
	}
	transactions []transaction  // aborted ones that begin later
	aborting     map[int64]bool // producers whose aborted transaction has begun
}

// transaction is one that was aborted.
type transaction struct{ producer, first int64 }

// reset makes ready for the response to a fetch.
func (r *response) reset(offset, asked int64, sure bool) {
	clear(r.aborting)
	*r = response{offset: offset, asked: asked, sure: sure, first: -1, next: offset, batches: r.batches[:0], transactions: r.transactions[:0], aborting: r.aborting}
}

// batchHeader is what a record batch says of itself.
type batchHeader struct {
	first, last            int64
	records                int
	producer               int64
	control, transactional bool
	// horizon says that the log cleaner has noted in it when its tombstones or markers go.
	horizon     bool
	compression compress.Compression
	// appended is the broker's time with LogAppendTime, and zero without. Times of records
	// are counted from base, in milliseconds.
	appended time.Time
	base     int64
	crc      uint32
}

func (b batchHeader) String() string {
	return fmt.Sprintf("record batch of offsets %d to %d", b.first, b.last)
}

// is reports whether a batch is what another one was, or what compaction has made of it.
func (b batchHeader) is(was batchHeader) bool {
	return b.first == was.first && b.last == was.last && (b.crc == was.crc || b.records < was.records || b.horizon && !was.horizon)
}

// corruption is a batch that cannot be trusted.
type corruption struct {
	from   int64 // the first offset not handled
	base   int64 // where the batch says it begins
	next   int64 // where the partition goes on after it; -1: nothing credible says so
	reason error
}

func (c *corruption) Error() string {
	if c.next < 0 {
		return fmt.Sprintf("record batch at offset %d came corrupted, and nothing tells where it ends before a sound one follows: %v", c.from, c.reason)
	}
	return fmt.Sprintf("record batch of offsets %d to %d came corrupted: %v", c.from, c.next-1, c.reason)
}

func (c *corruption) Unwrap() error { return c.reason }

var (
	// errElsewhere: the first batch has to be seen with the one before it.
	errElsewhere = errors.New("it begins elsewhere")
	// errAnother: it is not the log that was read before.
	errAnother   = errors.New("another batch is where the last one was read")
	errThrottled = errors.New("our quota of the broker is used up")
	errCutOff    = errors.New("it is longer than the response")
	errOldFormat = errors.New("records of message format 0 or 1, which ended with Kafka 0.11, are not supported: copy the topic into a new one")
)

// The record batch of message format 2: the positions of its fields, and what
// its length does not count.
const (
	batchLength          = 8
	batchMagic           = 16
	batchCRC             = 17
	batchAttributes      = 21
	batchLastOffsetDelta = 23
	batchBaseTimestamp   = 27
	batchMaxTimestamp    = 35
	batchProducerID      = 43
	batchRecords         = 57
	batchHeaderSize      = 61
	batchOutsideLength   = 12

	attributesCompression  = 1<<3 - 1
	attributeLogAppendTime = 1 << 3
	attributeTransactional = 1 << 4
	attributeControl       = 1 << 5
	attributeDeleteHorizon = 1 << 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parseBatch reads the batch at the beginning of b. After an error its fields
// and size are claims.
func parseBatch(b []byte) (batch batchHeader, size int, err error) {
	if len(b) < batchMagic+1 {
		return batch, 0, errCutOff
	}
	size = batchOutsideLength + int(int32(binary.BigEndian.Uint32(b[batchLength:])))
	if b[batchMagic] < 2 && size > batchMagic && size <= len(b) &&
		crc32.ChecksumIEEE(b[batchMagic:size]) == binary.BigEndian.Uint32(b[batchOutsideLength:]) {
		return batch, size, errOldFormat
	}
	if len(b) < batchHeaderSize {
		return batch, size, errCutOff
	}
	attributes := binary.BigEndian.Uint16(b[batchAttributes:])
	batch.first = int64(binary.BigEndian.Uint64(b))
	batch.last = batch.first + int64(int32(binary.BigEndian.Uint32(b[batchLastOffsetDelta:])))
	batch.records = int(int32(binary.BigEndian.Uint32(b[batchRecords:])))
	batch.crc = binary.BigEndian.Uint32(b[batchCRC:])
	batch.producer = int64(binary.BigEndian.Uint64(b[batchProducerID:]))
	batch.compression = compress.Compression(attributes & attributesCompression)
	batch.base = int64(binary.BigEndian.Uint64(b[batchBaseTimestamp:]))
	batch.control = attributes&attributeControl != 0
	batch.transactional = attributes&attributeTransactional != 0
	batch.horizon = attributes&attributeDeleteHorizon != 0
	if attributes&attributeLogAppendTime != 0 {
		batch.appended = time.UnixMilli(int64(binary.BigEndian.Uint64(b[batchMaxTimestamp:]))).UTC()
	}
	switch {
	case b[batchMagic] != 2:
		err = fmt.Errorf("its message format is %d, expected 2", b[batchMagic])
	case size < batchHeaderSize:
		err = fmt.Errorf("its length is %d, expected at least %d", size-batchOutsideLength, batchHeaderSize-batchOutsideLength)
	case size > len(b):
		err = errCutOff
	default:
		want, got := batch.crc, crc32.Checksum(b[batchAttributes:size], castagnoli)
		if want != got {
			err = fmt.Errorf("its CRC is %08x, its bytes give %08x", want, got)
		} else if batch.first < 0 || batch.last+1 <= batch.first || batch.records < 0 || int64(batch.records) > batch.last-batch.first+1 {
			err = fmt.Errorf("it has %d records at offsets %d to %d", batch.records, batch.first, batch.last)
		}
	}
	return batch, size, err
}

// filter looks at a fetch response (all of it, its size first) and keeps what is to be
// handled: no control records, aborted transactions and batches without records, and
// nothing from the first batch on that is corrupted or cut off by the limit of the fetch.
// It gives what kafka-go is to see: a response that found nothing. It trusts no length.
func (r *response) filter(frame []byte, version int16) ([]byte, error) {
	if version < 5 || version > 10 {
		return nil, fmt.Errorf("fetch response of version %d, expected 5 to 10: brokers before Kafka 1.0 are not supported", version)
	}
	c := cursor{b: frame, at: 8}
	throttle := time.Duration(c.int32()) * time.Millisecond
	code := int16(0)
	if version >= 7 {
		code = c.int16()
		c.take(4) // session
	}
	topics := c.int32()
	if code == 0 && topics == 0 && throttle > 0 && !c.short {
		r.seen, r.throttled = true, throttle
		return r.nothing(frame[:c.at-4]), nil
	}
	if code != 0 || topics == 0 {
		r.seen = true
		return frame, nil // kafka-go tells
	}
	c.take(int(c.int16()))
	partitions := c.int32()
	c.take(4)
	code = c.int16()
	highWaterAt := c.at
	r.highWater, r.stable = c.int64(), c.int64()
	if start := c.int64(); r.offset <= max(start, 0) {
		r.sure = true // there is nothing before
	}
	for n := c.int32(); n > 0 && !c.short; n-- {
		r.transactions = append(r.transactions, transaction{c.int64(), c.int64()})
	}
	sizeAt := c.at
	size := max(c.int32(), 0) // -1: none
	begin := c.at
	if c.short || topics != 1 || partitions != 1 || int(size) != len(frame)-begin {
		return nil, fmt.Errorf("malformed fetch response of %d bytes", len(frame))
	}
	r.seen = true
	if code != 0 {
		return frame, nil
	}
	slices.SortFunc(r.transactions, func(a, b transaction) int { return cmp.Compare(a.first, b.first) })

	if err := r.walk(frame, begin); err != nil {
		return nil, err
	}
	// To kafka-go a response without records is an error, unless the high water mark is
	// what it asked for.
	binary.BigEndian.PutUint64(frame[highWaterAt:], uint64(r.asked))
	binary.BigEndian.PutUint32(frame[sizeAt:], 0)
	binary.BigEndian.PutUint32(frame, uint32(begin-4))
	return frame[:begin], nil
}

// nothing makes a response that found nothing of the beginning of one that does not even have
// the topic, as brokers give to who has had more than their quota allows.
func (r *response) nothing(frame []byte) []byte {
	b := binary.BigEndian
	frame = b.AppendUint32(frame, 1)               // topic
	frame = b.AppendUint16(frame, 0)               // its name, which kafka-go does not read
	frame = b.AppendUint32(frame, 1)               // partition
	frame = b.AppendUint32(frame, 0)               // its ID, which kafka-go does not read
	frame = b.AppendUint16(frame, 0)               // no error
	frame = b.AppendUint64(frame, uint64(r.asked)) // the high-water mark
	frame = b.AppendUint64(frame, uint64(r.asked)) // the last stable offset
	frame = b.AppendUint64(frame, 0)               // the first offset
	frame = b.AppendUint32(frame, 0)               // aborted transactions
	frame = b.AppendUint32(frame, 0)               // bytes of batches
	b.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// parse reads the batch at a place of the response, once: its checksum is what reading costs most.
func (r *response) parse(frame []byte, at int) (batch batchHeader, size int, err error) {
	if p := &r.parsed; p.at != at {
		p.at = at
		p.batch, p.size, p.err = parseBatch(frame[at:])
	}
	return r.parsed.batch, r.parsed.size, r.parsed.err
}

// walk looks at the batches from begin on.
func (r *response) walk(frame []byte, begin int) error {
	last := int64(math.MinInt64)
	for at := begin; at < len(frame); {
		batch, size, err := r.parse(frame, at)
		sound := err == nil
		switch {
		case sound && batch.first <= last:
			err = fmt.Errorf("its first offset is %d, after %d", batch.first, last)
		case sound && batch.first > max(r.highWater, r.next):
			err = fmt.Errorf("its first offset is %d, beyond the end of the partition at %d", batch.first, r.highWater)
		case at > begin && (errors.Is(err, errCutOff) || errors.Is(err, errOldFormat)):
			return nil // the next fetch begins with it
		case errors.Is(err, errOldFormat):
			return err
		case sound && (at == begin || batch.first > r.next):
			var wait bool
			if wait, err = r.weigh(batch, frame, at+size, at == begin); wait {
				return nil
			}
		}
		if err != nil {
			next := r.after(frame[at:], batch, size)
			if next >= 0 && next <= r.next {
				if sound {
					batch.last = r.next - 1
					r.follow(batch)
				}
				at += size // it lies before what is wanted: a broker finds it by what it claims
				continue
			}
			r.corrupt = &corruption{from: r.next, base: batch.first, next: next, reason: err}
			return nil
		}
		last, r.last = batch.last, batch
		if r.first < 0 && batch.last >= r.offset {
			r.first = batch.first
		}
		if r.handles(batch) {
			r.batches = append(r.batches, recordBatch{batch, frame[at : at+size]})
		}
		r.next = max(r.next, batch.last+1)
		r.highWater = max(r.highWater, r.next) // brokers read it first, and the records later
		at += size
	}
	return nil
}

// weigh looks whether a batch may be where it says: its first offset, alone of what it says,
// is in no checksum. The first of a response is there because of what it says, and one with
// a hole before it may be as far off as the hole is wide: to believe it would be to jump
// over what is there. Compaction leaves holes, too. So it is the batch behind it that tells.
// Until there is one, the batch has to wait for the next fetch, which begins with it.
func (r *response) weigh(batch batchHeader, frame []byte, behind int, first bool) (wait bool, err error) {
	following, size, err := r.parse(frame, behind)
	follows := err == nil
	hole := batch.first > r.next
	r.holes = r.holes || hole
	switch {
	case first && !r.sure && batch.first != r.offset && batch.last >= r.offset:
		r.doubt = errElsewhere
		return true, nil
	case first && r.before != nil && r.asked < r.offset && batch.first <= r.asked && !batch.is(*r.before):
		r.doubt = errAnother
		return true, nil
	case follows && following.first <= batch.last: // one of them lies
		bound := r.highWater
		third, _, err := parseBatch(frame[behind+size:])
		if err == nil {
			bound = third.first
		}
		switch room := bound - batch.last - 1; {
		case room <= following.last-following.first:
			return false, fmt.Errorf("its offsets are %d to %d, and the batch after it has %d to %d", batch.first, batch.last, following.first, following.last)
		case err != nil && r.next > r.offset:
			return true, nil
		}
	case hole && !follows && r.next > r.offset:
		return true, nil
	case hole && !follows && batch.last >= r.highWater:
		return false, fmt.Errorf("its offsets are %d to %d after %d, and the partition ends at %d", batch.first, batch.last, r.next-1, r.highWater)
	}
	return false, nil
}

// handles decides whether a sound batch has records to handle.
func (r *response) handles(batch batchHeader) bool {
	r.follow(batch)
	switch {
	case batch.last < r.offset:
		return false
	case batch.control:
		r.control += batch.records
		return false
	case batch.transactional && r.aborting[batch.producer]:
		r.aborted += batch.records
		return false
	case batch.records == 0:
		return false
	}
	return true
}

// follow keeps account of which aborted transactions are open at the end of a batch.
func (r *response) follow(batch batchHeader) {
	for len(r.transactions) > 0 && r.transactions[0].first <= batch.last {
		if r.aborting == nil {
			r.aborting = map[int64]bool{}
		}
		r.aborting[r.transactions[0].producer] = true
		r.transactions = r.transactions[1:]
	}
	if batch.control {
		// After an aborted transaction has begun, its producer's next marker is its end.
		delete(r.aborting, batch.producer)
	}
}

// after finds where the partition goes on after a corrupted batch at the
// beginning of b. A sound batch that follows says it best; next best is the
// batch's own word, if it is not beyond the end of the partition.
func (r *response) after(b []byte, batch batchHeader, size int) int64 {
	if size >= batchHeaderSize && size < len(b) {
		if following, _, err := parseBatch(b[size:]); err == nil && following.first <= max(r.highWater, r.next) {
			return following.first
		}
	}
	if batch.first >= 0 && batch.last >= max(batch.first, r.next) && batch.last < r.highWater {
		return batch.last + 1
	}
	return -1
}

// cursor reads fields one after the other. Past the end it gives zeros.
type cursor struct {
	b     []byte
	at    int
	short bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b)-c.at {
		c.at, c.short = len(c.b), true
		return make([]byte, 8)
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

// bytes gives n bytes; nil: n is -1.
func (c *cursor) bytes(n int64) []byte {
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(c.b)-c.at) {
		n = -1
	}
	return c.take(int(n))
}

// varint reads what a record has instead of integers.
func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.b[c.at:])
	if n <= 0 {
		c.take(-1)
		return 0
	}
	c.at += n
	return v
}

func (c *cursor) int16() int16 { return int16(binary.BigEndian.Uint16(c.take(2))) }
func (c *cursor) int32() int32 { return int32(binary.BigEndian.Uint32(c.take(4))) }
func (c *cursor) int64() int64 { return int64(binary.BigEndian.Uint64(c.take(8))) }
