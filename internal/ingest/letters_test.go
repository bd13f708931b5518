package ingest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
)

// deadAt is a dead letter that was written at some time.
func deadAt(at time.Time, topic string, code events.Code) kafka.Record {
	r := bad("k", "v",
		kafka.Header{Key: headerTopic, Value: []byte(topic)}, kafka.Header{Key: headerPartition, Value: []byte("3")},
		kafka.Header{Key: headerOffset, Value: []byte("9")}, kafka.Header{Key: headerCode, Value: []byte(code)},
	)
	r.Time = at
	return r
}

// scan gives the places of what matches, and how far the reading came.
func (h *harness) scan(config Config, f Filter) ([]string, Scanned) {
	h.Helper()
	places := []string{}
	told := Scanned{}
	at, err := h.letters(config).Scan(h.ctx, f, func(letters []Letter) error {
		for _, l := range letters {
			places = append(places, l.String())
		}
		return nil
	}, func(at Scanned) {
		if at.Done <= told.Done || at.Total != told.Total && told.Total > 0 {
			h.Errorf("progress from %+v to %+v", told, at)
		}
		told = at
	})
	if err != nil {
		h.Fatal(err)
	}
	if at != told {
		h.Errorf("%+v in the end, %+v was told last", at, told)
	}
	return places, at
}

func TestLetters_Filters(t *testing.T) {
	h := newEmbedded(t, 1)
	noon := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	minutes := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Minute) }
	h.produce(deadTopic, 0, deadAt(noon, messagesTopic, events.CodeTooLarge))
	h.produce(deadTopic, 0, deadAt(minutes(10), stateTopic, events.CodeTooLarge))
	h.produce(deadTopic, 0, deadAt(minutes(5), stateTopic, events.CodeMalformed)) // its projector's clock is behind
	h.produce(deadTopic, 1, deadAt(minutes(7), messagesTopic, events.CodeMissingField))
	h.produce(deadTopic, 1, bad("k", "somebody else's"))
	for _, c := range []struct {
		name string
		Filter
		want []string
	}{
		{"all", Filter{}, []string{"0/0", "0/1", "0/2", "1/0", "1/1"}},
		{"code", Filter{Codes: []events.Code{events.CodeTooLarge}}, []string{"0/0", "0/1"}},
		{"codes", Filter{Codes: []events.Code{events.CodeMissingField, events.CodeMalformed}}, []string{"0/2", "1/0"}},
		{"topic", Filter{Topics: []string{stateTopic}}, []string{"0/1", "0/2"}},
		{"code and topic", Filter{Topics: []string{stateTopic}, Codes: []events.Code{events.CodeTooLarge}}, []string{"0/1"}},
		{"since", Filter{Since: minutes(7)}, []string{"0/1", "1/0", "1/1"}},
		{"until", Filter{Until: minutes(7)}, []string{"0/0", "0/2"}},
		{"since and until", Filter{Since: minutes(5), Until: minutes(8)}, []string{"0/2", "1/0"}},
		{"none", Filter{Since: time.Now().Add(time.Hour)}, []string{}},
	} {
		got, at := h.scan(h.config(), c.Filter)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], deadTopic+"/")
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if at.Matching != len(c.want) || at.Done != at.Total || at.Lost > 0 {
			t.Errorf("%s: %+v", c.name, at)
		}
	}
	if _, at := h.scan(h.config(), Filter{Since: minutes(7)}); at.Letters != 4 { // what is older is not even read
		t.Errorf("%+v", at)
	}
}

func TestLetters_Get(t *testing.T) {
	h := newEmbedded(t, 1)
	own := kafka.Header{Key: "content-type", Value: []byte("application/json")}
	forged := kafka.Header{Key: headerCode, Value: []byte("mine")} // a producer may write what it likes
	h.produce(messagesTopic, 0, h.message(), bad("key", "{", own, forged))
	h.runWith(h.config(), h.sink, strict()).stopAfter(h.awaitAll)
	l, err := h.letters(h.config()).Get(h.ctx, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%v %v %v %v %s %s %q", l.Place, l.From, l.Code, l.Reason, l.Key, l.Value, l.Own())
	if want := `chat.dead/0/0 chat.messages/0/1 malformed no valid JSON at byte 1: unexpected EOF key { [{"content-type" "application/json"}]`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if l.Written.IsZero() || len(l.Headers) != 7 {
		t.Errorf("got %+v", l)
	}
	h.produce(deadTopic, 0, bad("k", "v"), bad("k", "v"))
	if err := h.cluster.DeleteRecords(deadTopic, 0, 2); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[[2]int64]string{
		{0, 1}: "dead letter chat.dead/0/1: the partition has the offsets 2 to 2",
		{0, 3}: "dead letter chat.dead/0/3: the partition has the offsets 2 to 2",
		{1, 0}: "dead letter chat.dead/1/0: the partition is empty",
		{2, 0}: "dead letter chat.dead/2/0: the topic has the partitions 0 to 1",
	} {
		if _, err := h.letters(h.config()).Get(h.ctx, int(place[0]), place[1]); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", place, err, want)
		}
	}
}

// TestLetters_Gaps has offsets without a record: of aborted transactions, and their markers.
func TestLetters_Gaps(t *testing.T) {
	h := newEmbedded(t, 1)
	client := h.franz(kgo.TransactionalID("one"))
	write := func(value string, how kgo.TransactionEndTry) {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		h.produceWith(client, deadTopic, bad("k", value))
		if err := client.EndTransaction(h.ctx, how); err != nil {
			t.Fatal(err)
		}
	}
	write("aborted", kgo.TryAbort)
	write("committed", kgo.TryCommit)
	got, at := h.scan(h.config(), Filter{})
	if want := []string{"chat.dead/0/2"}; !slices.Equal(got, want) || at != (Scanned{Done: 4, Total: 4, Letters: 1, Matching: 1}) {
		t.Errorf("got %q, %+v", got, at)
	}
	if _, err := h.letters(h.config()).Get(h.ctx, 0, 0); err == nil || err.Error() != "dead letter chat.dead/0/0: there is no record at this offset" {
		t.Errorf("got %v", err)
	}
	// One that is open is given up.
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	h.produceWith(client, deadTopic, bad("k", "open"))
	config := h.config()
	config.StallTimeout = 20 * time.Millisecond
	_, err := h.letters(config).Scan(h.ctx, Filter{}, func([]Letter) error { return nil }, func(Scanned) {})
	if err == nil || !strings.Contains(err.Error(), "chat.dead/0 has no record at offset 4 although it ends at 5: a transaction may be open") {
		t.Errorf("got %v", err)
	}
}

// TestLetters_Corrupted names what it cannot read, and reads on.
func TestLetters_Corrupted(t *testing.T) {
	dir := t.TempDir()
	h := newEmbedded(t, 1, kfake.DataDir(dir))
	for range 5 {
		h.produce(deadTopic, 0, deadAt(time.Now(), stateTopic, events.CodeMalformed), deadAt(time.Now(), stateTopic, events.CodeMalformed))
	}
	flip(t, dir, deadTopic, func(log []byte) { nth(log, 2)[batchRecords+8] ^= 1 })
	got, at := h.scan(h.config(), Filter{})
	if want := (Scanned{Done: 10, Total: 10, Letters: 8, Matching: 8, Lost: 2}); at != want || slices.Contains(got, "chat.dead/0/4") {
		t.Errorf("got %q, %+v, want %+v", got, at, want)
	}
	if line := h.logs.await(h, "corrupted batch: its dead letters cannot be read; going on after it", 1); line["lost_from"] != "4" || line["lost_to"] != "6" {
		t.Errorf("log line %v", line)
	}
}

// TestLetters_DeletedMeanwhile goes on at what is left, and counts what is not.
func TestLetters_DeletedMeanwhile(t *testing.T) {
	h := newEmbedded(t, 1)
	for range 10 {
		h.produce(deadTopic, 0, deadAt(time.Now(), stateTopic, events.CodeMalformed))
	}
	config := h.config()
	config.FetchMaxBytes = 1 // one batch at a time
	places := 0
	at, err := h.letters(config).Scan(h.ctx, Filter{}, func(letters []Letter) error {
		places += len(letters)
		return h.cluster.DeleteRecords(deadTopic, 0, 7)
	}, func(Scanned) {})
	if err != nil {
		t.Fatal(err)
	}
	if want := (Scanned{Done: 10, Total: 10, Letters: 4, Matching: 4, Lost: 6}); at != want || places != 4 {
		t.Errorf("got %+v, and %d letters, want %+v", at, places, want)
	}
}

// TestLetters_TriesAgain while the broker is away, but not for ever.
func TestLetters_TriesAgain(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(deadTopic, 0, deadAt(time.Now(), stateTopic, events.CodeMalformed))
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: deadTopic, Err: kerr.NotLeaderForPartition, Count: 3})
	if got, _ := h.scan(h.config(), Filter{}); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: deadTopic, Err: kerr.NotLeaderForPartition, Count: -1})
	config := h.config()
	config.StallTimeout = 20 * time.Millisecond
	_, err := h.letters(config).Scan(h.ctx, Filter{}, func([]Letter) error { return nil }, func(Scanned) {})
	if !errors.Is(err, kafka.NotLeaderForPartition) || !strings.Contains(err.Error(), "given up after") {
		t.Errorf("got %v", err)
	}
}

func TestPlace_Text(t *testing.T) {
	for text, want := range map[string]Place{
		"chat.dead/0/17":    {events.Partition{Topic: "chat.dead"}, 17},
		"a/2147483647/9999": {events.Partition{Topic: "a", ID: 2147483647}, 9999},
	} {
		var p Place
		if err := p.UnmarshalText([]byte(text)); err != nil || p != want || p.String() != text {
			t.Errorf("%s: got %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "chat.dead", "chat.dead/0", "chat.dead/0/", "chat.dead/0/-1", "/0/1", "chat.dead/x/1", "chat.dead/0/1x", "0/1"} {
		p := Place{Offset: 5}
		if err := p.UnmarshalText([]byte(text)); err == nil || p.Offset != 5 || !strings.Contains(err.Error(), "expected a topic and two numbers") {
			t.Errorf("%q: got %v, %v", text, p, err)
		}
	}
}

// TestNewLetters_Validates what it is given.
func TestNewLetters_Validates(t *testing.T) {
	config := DefaultConfig()
	config.DeadTopic = ""
	if _, err := NewLetters(config, nil); err == nil || !strings.Contains(err.Error(), "dead-letter topic is empty") {
		t.Errorf("got %v", err)
	}
	config.DeadTopic, config.Brokers = events.TopicDead, nil
	if _, err := NewLetters(config, nil); err == nil || !strings.Contains(err.Error(), "brokers") {
		t.Errorf("got %v", err)
	}
}
