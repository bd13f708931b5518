package ingest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
)

const corruptLine = "corrupted batch: its records are not projected; going on after it"

// flip changes a byte of a partition's log on the broker's disk.
func flip(t *testing.T, dir, topic string, change func(log []byte)) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "*", topic+"-0", "*.dat"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v: %v", segments, err)
	}
	log, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	change(log)
	file, err := os.OpenFile(segments[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(log, 0)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// nth gives the nth batch of a log.
func nth(log []byte, n int) []byte {
	for ; n > 0; n-- {
		log = log[batchOutsideLength+binary.BigEndian.Uint32(log[batchLength:]):]
	}
	return log[:batchOutsideLength+binary.BigEndian.Uint32(log[batchLength:])]
}

func TestFetch_CorruptedBatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(batch []byte)
	}{
		{"record", func(b []byte) { b[len(b)-3] ^= 0x10 }},
		{"codec", func(b []byte) { b[batchAttributes+1] ^= 5 }},
		{"CRC", func(b []byte) { b[batchCRC] ^= 1 }},
		{"last offset", func(b []byte) { b[batchLastOffsetDelta+2] ^= 1 }},
		{"count", func(b []byte) { b[batchRecords] ^= 0x80 }},
		{"format", func(b []byte) { b[batchMagic] ^= 2 }},
		{"first offset", func(b []byte) { b[2] ^= 1 }},
		{"first offset, a little lower", func(b []byte) { b[7] ^= 1 }},
		{"first offset, a little higher", func(b []byte) { b[7] ^= 4 }},
		{"length", func(b []byte) { b[batchLength+2] ^= 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			h := newEmbedded(t, 1, kfake.DataDir(dir))
			client := h.franz()
			h.produceWith(client, messagesTopic, h.messages(3)...)
			h.produceWith(client, messagesTopic, h.unexpected(4)...)
			h.produceWith(client, messagesTopic, h.messages(5)...)
			flip(t, dir, messagesTopic, func(log []byte) { c.change(nth(log, 1)) })
			r := h.run(h.config(), h.sink)
			line := h.logs.await(h, corruptLine, 1)
			got := fmt.Sprint(line["level"], line["topic"], line["partition"], line["lost_from"], line["lost_to"], line["lost_offsets"])
			if want := fmt.Sprint("ERROR", messagesTopic, "0", "3", "7", "4"); got != want {
				t.Errorf("log line %q, want %q (%s)", got, want, line["error"])
			}
			h.awaitAll()
			h.checkModel()
			if n := testutil.ToFloat64(r.metrics.corruptedBatches.WithLabelValues(messagesTopic)); n != 1 {
				t.Errorf("%v counted, want 1", n)
			}
			if got := h.read(deadTopic, 2); len(got) > 0 {
				t.Errorf("%d dead letters, want none", len(got))
			}
			r.mustStop()

			// It is said once.
			h.run(h.config(), h.sink).stopAfter(func() { h.awaitMembers(1, 2) })
			if n := h.logs.count(corruptLine); n != 1 {
				t.Errorf("said %d times", n)
			}
		})
	}
}

// A batch whose end is not to be believed holds its partition until a sound one follows.
func TestFetch_CorruptedBatchWithoutAnEnd(t *testing.T) {
	dir := t.TempDir()
	h := newEmbedded(t, 1, kfake.DataDir(dir))
	client := h.franz()
	h.produceWith(client, messagesTopic, h.messages(3)...)
	h.produceWith(client, messagesTopic, h.unexpected(4)...)
	flip(t, dir, messagesTopic, func(log []byte) { nth(log, 1)[batchLastOffsetDelta] ^= 1 })
	config := h.config()
	config.StallTimeout = 20 * time.Millisecond
	r := h.run(config, h.sink)
	if line := h.logs.await(h, stallLine, 2); line["offset"] != "3" {
		t.Errorf("log line %v", line)
	}
	if line := h.logs.await(h, againLine, 2); !strings.Contains(line["error"], "nothing tells where it ends") {
		t.Errorf("log line %v", line)
	}
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3})
	h.produceWith(client, messagesTopic, h.messages(5)...)
	if line := h.logs.await(h, corruptLine, 1); line["lost_from"] != "3" || line["lost_to"] != "7" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// What aborted a transaction is lost, and what its producer has sent since is not: that a
// transaction is open at the end of a fetch says nothing of the next one.
func TestFetch_CorruptedMarker(t *testing.T) {
	dir := t.TempDir()
	h := newEmbedded(t, 1, kfake.DataDir(dir))
	client := h.franz(kgo.TransactionalID("one"))
	transact := func(how kgo.TransactionEndTry, records ...kafka.Record) {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		h.produceWith(client, messagesTopic, records...)
		if err := client.EndTransaction(h.ctx, how); err != nil {
			t.Fatal(err)
		}
		h.next[key(messagesTopic, 0)]++ // the marker
	}
	transact(kgo.TryAbort, h.unexpected(2)...)
	transact(kgo.TryCommit, h.messages(3)...)
	flip(t, dir, messagesTopic, func(log []byte) { nth(log, 1)[batchCRC] ^= 1 })
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, corruptLine, 1); line["lost_from"] != "2" || line["lost_to"] != "3" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// A broker that no longer finds the batch does not hide the loss.
func TestFetch_CorruptedBatchOutOfSight(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.unexpected(3)...)
	value := bytesOf(h, h.message().Value)
	bad := changed(batchOf(0, 1, 1, nil), func(b []byte) { b[batchLastOffsetDelta] ^= 1 }) // so it does not tell where it ends
	met := false
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		switch {
		case req.Topics[0].Topic != messagesTopic || req.Topics[0].Partitions[0].FetchOffset > 2:
			return nil, nil, false
		case !met:
			met = true
			return fetchResponse(req, 3, bad), nil, true
		default:
			return fetchResponse(req, 3, batchOf(2, 2, 1, holding(value))), nil, true
		}
	})
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, corruptLine, 1); line["lost_from"] != "0" || line["lost_to"] != "2" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// What a broker fails to read itself is given up when it was seen corrupted before.
func TestFetch_CorruptedBatchThatTheLeaderCannotRead(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.unexpected(2)...)
	h.produce(messagesTopic, 0, h.message())
	bad := changed(batchOf(0, 1, 1, nil), func(b []byte) { b[batchMagic] = 0 })
	fetches := 0
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.Topics[0].Topic != messagesTopic || req.Topics[0].Partitions[0].FetchOffset > 1 {
			return nil, nil, false
		}
		if fetches++; fetches == 2 {
			return fetchResponse(req, 3, bad), nil, true
		}
		res := fetchResponse(req, -1, nil) // the first time as well as later
		res.Topics[0].Partitions[0].ErrorCode = kerr.UnknownServerError.Code
		return res, nil, true
	})
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, corruptLine, 1); line["lost_from"] != "0" || line["lost_to"] != "2" {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	if fetches != 3 {
		t.Errorf("%d fetches, want 3", fetches)
	}
	r.mustStop()
}

// A batch that came corrupted is not given up when it is not seen once more: a leader that
// has changed may have a sound one.
func TestFetch_CorruptedBatchNotSeenAgain(t *testing.T) {
	h := newEmbedded(t, 1)
	sound := batchOf(0, 1, 2, nil)
	bad := changed(sound, func(b []byte) { b[batchCRC] ^= 1 })
	var answers []func(*kmsg.FetchRequest) *kmsg.FetchResponse
	gives := func(end int64, batch []byte) func(*kmsg.FetchRequest) *kmsg.FetchResponse {
		return func(req *kmsg.FetchRequest) *kmsg.FetchResponse { return fetchResponse(req, end, batch) }
	}
	refuses := func(req *kmsg.FetchRequest) *kmsg.FetchResponse {
		res := fetchResponse(req, -1, nil)
		res.Topics[0].Partitions[0].ErrorCode = kerr.NotLeaderForPartition.Code
		return res
	}
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		answer := answers[0]
		answers = answers[1:]
		return answer(r.(*kmsg.FetchRequest)), nil, true
	})
	c := newCluster(h.config())
	defer c.close()
	for _, test := range []struct {
		name   string
		second func(*kmsg.FetchRequest) *kmsg.FetchResponse
		fails  bool
		third  []byte
		read   int
		lost   bool
	}{
		{"refused, and then sound", refuses, true, sound, 2, false},
		{"refused, and then corrupted again", refuses, true, bad, 0, true},
		{"nothing, and then sound", gives(0, nil), false, sound, 2, false},
		{"nothing, and then corrupted again", gives(0, nil), false, bad, 0, true},
	} {
		answers = append(answers, gives(2, bad), test.second, gives(2, test.third))
		f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}}
		read := 0
		fetch := func() (fetched, error) {
			return f.fetch(h.ctx, 0, func(kafka.Message) error { read++; return nil })
		}
		if result, err := fetch(); err == nil || result != (fetched{}) {
			t.Errorf("%s: first %+v, %v", test.name, result, err)
		}
		if result, err := fetch(); (err != nil) != test.fails || result != (fetched{}) {
			t.Errorf("%s: then %+v, %v", test.name, result, err)
		}
		if result, err := fetch(); err != nil || result.next != 2 || read != test.read || (result.lost != nil) != test.lost {
			t.Errorf("%s: at last %+v, %v, %d records", test.name, result, err, read)
		}
		f.close()
	}
}

// What was seen corrupted at another offset, before reading was moved, says nothing of
// what a broker fails to read here.
func TestFetch_CorruptedBatchElsewhere(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.messages(3)...)
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		res := fetchResponse(r.(*kmsg.FetchRequest), -1, nil)
		res.Topics[0].Partitions[0].ErrorCode = kerr.UnknownServerError.Code
		return res, nil, true
	})
	c := newCluster(h.config())
	defer c.close()
	f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}, suspect: &corruption{from: 100, next: 110}}
	defer f.close()
	nothing := func(kafka.Message) error { return nil }
	if result, err := f.fetch(h.ctx, 0, nothing); !errors.Is(err, kafka.Unknown) || result != (fetched{}) {
		t.Errorf("%+v, %v", result, err)
	}
	if result, err := f.fetch(h.ctx, 0, nothing); err != nil || result != (fetched{next: 3}) {
		t.Errorf("%+v, %v", result, err)
	}
}

// shelf is a log as a leader has it. It knows where some of the batches are, finds the others
// by what they claim, and gives some at a time.
type shelf struct {
	mu         sync.Mutex
	log        [][]byte
	index      map[int64]int // by first offset
	start, end int64
	most       int // batches at a time
}

func (s *shelf) fetch(req *kmsg.FetchRequest) kmsg.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := req.Topics[0].Partitions[0].FetchOffset
	found := s.log
	for first, i := range s.index {
		if first <= asked && len(s.log)-i < len(found) {
			found = s.log[i:]
		}
	}
	for len(found) > 0 {
		if batch, _, _ := parseBatch(found[0]); batch.last >= asked {
			break
		}
		found = found[1:]
	}
	res := fetchResponse(req, s.end, slices.Concat(found[:min(s.most, len(found))]...))
	p := &res.Topics[0].Partitions[0]
	if p.LogStartOffset = s.start; asked < s.start || asked > s.end {
		p.ErrorCode, p.RecordBatches = kerr.OffsetOutOfRange.Code, nil
	}
	return res
}

func (s *shelf) put(start, end int64, log ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start, s.end, s.log = start, end, log
}

// change changes a batch, and gives the first offset that it claims to have.
func (s *shelf) change(i int, change func([]byte)) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.log[i])
	return int64(binary.BigEndian.Uint64(s.log[i]))
}

// Whatever bit flips of a batch's first offset, which no CRC covers: the batches around it
// are all read, wherever a response or reading begins, and it is named. What nothing tells
// from a hole that compaction has left is not: the first batch of a partition (or a segment)
// that claims to lie earlier, one that claims to lie in a hole that is there, and one that
// claims to lie later and is alone in its response, at the end of a segment, say.
func TestFetch_EveryFlippedBitOfAFirstOffset(t *testing.T) {
	h := newEmbedded(t, 1)
	const start = 1000
	var sound []batchHeader
	s := &shelf{start: start, end: start, index: map[int64]int{}, most: 6}
	for i := range 26 {
		if i%4 == 0 {
			s.index[s.end] = i
		}
		last := s.end + int64(i/2%4)
		s.log = append(s.log, batchOf(s.end, last, 1, holding(fmt.Append(nil, i))))
		batch, _, _ := parseBatch(s.log[i])
		sound, s.end = append(sound, batch), last+1
	}
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		return s.fetch(r.(*kmsg.FetchRequest)), nil, true
	})
	c := newCluster(h.config())
	defer c.close()
	for i := range 12 * 64 { // first, last and in the middle of a response
		bad, bit := i/64, i%64
		claims := s.change(bad, func(b []byte) { b[7-bit/8] ^= 1 << (bit % 8) })
		for _, begin := range []int64{start, sound[bad].first, sound[bad+1].first} {
			read, lost := map[string]bool{}, int64(-1)
			f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}}
			for next, tries := begin, 0; next < s.end; tries++ {
				result, err := f.fetch(h.ctx, next, func(m kafka.Message) error {
					read[string(m.Value)] = true
					return nil
				})
				if next = result.next; result.lost != nil {
					lost = result.lost.from
				}
				if tries > 100 {
					t.Fatalf("batch %d, bit %d, from %d: stands still at %d: %v", bad, bit, begin, next, err)
				}
			}
			f.close()
			for i, batch := range sound {
				if i != bad && batch.first >= begin && !read[fmt.Sprint(i)] {
					t.Errorf("batch %d, bit %d, from %d: batch %d is not read", bad, bit, begin, i)
				}
			}
			known := begin <= sound[bad].first && (bad > 0 || claims >= start)
			if named := lost == sound[bad].first; named != known {
				t.Errorf("batch %d, bit %d (%d instead of %d), from %d: lost from %d", bad, bit, claims, sound[bad].first, begin, lost)
			}
		}
		s.change(bad, func(b []byte) { b[7-bit/8] ^= 1 << (bit % 8) })
	}
}

// A connection that is new may lead to a log that has lost its end and has another one. Its
// leader shows nothing of it before the mark that it knew as a follower has moved on.
func TestFetch_AnotherLog(t *testing.T) {
	h := newEmbedded(t, 1)
	s := &shelf{most: 10}
	var hidden atomic.Int32 // fetches that show nothing
	h.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if hidden.Add(-1) >= 0 {
			return fetchResponse(req, 12, nil), nil, true
		}
		return s.fetch(req), nil, true
	})
	c := newCluster(h.config())
	defer c.close()
	last := batchOf(13, 15, 3, nil)
	for _, test := range []struct {
		name  string
		start int64
		log   [][]byte
		want  error
	}{
		{"the same", 10, [][]byte{batchOf(10, 12, 3, nil), last}, nil},
		{"compacted", 10, [][]byte{batchOf(10, 12, 3, nil), batchOf(13, 15, 1, nil)}, nil},
		{"nothing taken, a time of deletion set", 10, [][]byte{batchOf(10, 12, 3, nil), batchOf(13, 15, 3, keptUntil(9000))}, nil},
		{"compacted away", 10, [][]byte{batchOf(10, 12, 3, nil)}, nil},
		{"retained from there on", 16, nil, nil},
		{"other records", 10, [][]byte{batchOf(10, 12, 3, nil), batchOf(13, 15, 3, producedBy(7, 0))}, errAnother},
		{"other batches", 10, [][]byte{batchOf(10, 13, 3, nil), batchOf(14, 15, 2, nil)}, errAnother},
	} {
		for nothing := range int32(4) {
			f := &fetcher{cluster: c, Partition: events.Partition{Topic: messagesTopic}}
			read := func(from int64) (n int, err error) {
				_, err = f.fetch(h.ctx, from, func(kafka.Message) error { n++; return nil })
				return n, err
			}
			hidden.Store(0)
			s.put(10, 16, last)
			if n, err := read(13); n != 3 || err != nil {
				t.Fatalf("%s: %d records, %v", test.name, n, err)
			}
			f.close()
			s.put(test.start, 18, append(test.log, batchOf(16, 17, 2, nil))...)
			hidden.Store(nothing)
			n, err := 0, error(nil)
			for tries := int32(0); n == 0 && err == nil && tries <= nothing; tries++ {
				n, err = read(16)
			}
			want := 2
			if test.want != nil {
				want = 0
			}
			if n != want || !errors.Is(err, test.want) {
				t.Errorf("%s, after nothing %d times: %d records, %v; want %d, %v", test.name, nothing, n, err, want, test.want)
			}
			f.close()
		}
	}
}

// A batch that is damaged on its way is fetched again, over another connection.
func TestFetch_DamagedOnTheWay(t *testing.T) {
	const secret = "damage me"
	var damaged atomic.Int32
	h := newEmbedded(t, 1, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		return &meddler{l, func(p []byte) {
			if i := strings.Index(string(p), secret); i >= 0 && damaged.Add(1) == 1 {
				p[i] ^= 1
			}
		}}, err
	}))
	h.produce(messagesTopic, 0, h.messages(3)...)
	h.produce(messagesTopic, 0, h.message(), h.event(&events.FriendRemarkSet{UserID: "u", FriendID: "f", Remark: secret}))
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, againLine, 1); !strings.Contains(line["error"], "record batch of offsets 3 to 4 came corrupted") {
		t.Errorf("log line %v", line)
	}
	h.awaitAll()
	h.checkModel()
	if n := h.logs.count(corruptLine); n > 0 || damaged.Load() < 2 {
		t.Errorf("%d batches given up, %d times sent", n, damaged.Load())
	}
	r.mustStop()
}

// meddler changes what a broker sends.
type meddler struct {
	net.Listener
	change func([]byte)
}

type meddled struct {
	net.Conn
	change func([]byte)
}

func (m *meddler) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	return &meddled{conn, m.change}, err
}

func (m *meddled) Write(p []byte) (int, error) {
	q := slices.Clone(p)
	m.change(q)
	return m.Conn.Write(q)
}
