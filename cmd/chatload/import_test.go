package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// readEvent is the JSON of an event that is valid.
func readEvent(user string, sequence int) string {
	return fmt.Sprintf(`{"id":"e-%s-%d","app":"demo","time":"2026-11-20T09:00:00Z","conversationRead":{"userID":%q,"conversationID":"C2Cbob","sequence":%d}}`, user, sequence, user, sequence)
}

func lineOf(topic, key, event string) string {
	return fmt.Sprintf("{\"topic\":%q,\"key\":%q,\"event\":%s}\n", topic, key, event)
}

func TestImport_KeepsBytes(t *testing.T) {
	topic := sandboxtest.Topic(t, 3)
	want := map[string]string{
		"a":          `{ "id" : "1",  "unknown":[1, 2.50, "\u00e9é"] }`,
		`["x","é🎸"]`: `"no object"`,
	}
	input := "\n"
	for key, event := range want {
		input += lineOf(topic, key, event) + "  \n"
	}
	input += fmt.Sprintf("{\"event\":{\"id\":\"3\"},\"topic\":%q}", topic) // no key, no line feed
	r := mustRun(t, input, "import", "-")
	if !strings.Contains(r.stdout, "imported 3 events") {
		t.Error(r.stdout)
	}
	got := map[string]string{}
	for _, m := range readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic) {
		if m.Key == nil {
			if string(m.Value) != `{"id":"3"}` {
				t.Errorf("no key: %s", m.Value)
			}
			continue
		}
		got[string(m.Key)] = string(m.Value)
		if contentType(m) != events.ContentTypeJSON {
			t.Errorf("headers %v", m.Headers)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// Rounds, requests and partitions are several; each key keeps its order.
func TestImport_KeepsOrderPerKey(t *testing.T) {
	topic := sandboxtest.Topic(t, 4)
	const n, keys = 4000, 37
	file := filepath.Join(t.TempDir(), "lines.gz")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	for i := range n {
		event := fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", i%1500))
		if _, err := io.WriteString(z, lineOf(topic, strconv.Itoa(i%keys), event)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "", "import", file)
	checkOrder(t, readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic), n)
}

// checkOrder wants n records {"n":…} whose numbers ascend under each key.
func checkOrder(t *testing.T, records []kafka.Message, n int) {
	t.Helper()
	if len(records) != n {
		t.Errorf("%d records, want %d", len(records), n)
	}
	last := map[string]int{}
	for _, m := range records {
		var number int
		if _, err := fmt.Sscanf(string(m.Value), `{"n":%d`, &number); err != nil {
			t.Fatal(err)
		}
		if before, ok := last[string(m.Key)]; ok && before >= number {
			t.Fatalf("key %s: %d comes after %d", m.Key, number, before)
		}
		last[string(m.Key)] = number
	}
}

func TestImport_StopsAtMalformedLine(t *testing.T) {
	for _, malformed := range []string{
		`not json`, `{"topic":"x","key":"y"}`, `{"topic":"x","event":{},"protobuf":"CgE="}`, `{"topic":"x","protobuf":"?"}`, `{"topic":"x","protobuf":{}}`, `{"key":"y","event":{}}`, `{"topic":1,"event":{}}`, `{"topic":"x","event":{}} {}`, `[]`, `{"topic":"x","key":7,"event":{}}`,
	} {
		topic := sandboxtest.Topic(t, 1)
		input := lineOf(topic, "k", `{"n":1}`) + "\n" + lineOf(topic, "k", `{"n":2}`) + malformed + "\n" + lineOf(topic, "k", `{"n":3}`)
		r := chatload(t, input, "import", "-")
		if r.err == nil || !strings.Contains(r.err.Error(), "line 4:") {
			t.Errorf("%s: error %v, want one that names line 4", malformed, r.err)
		}
		if !strings.Contains(r.stdout, "imported 2 events") {
			t.Errorf("%s: %s", malformed, r.stdout)
		}
		checkOrder(t, readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic), 2)

		r = chatload(t, input, "import", "-", "--shuffle", "1")
		if r.err == nil || !strings.Contains(r.err.Error(), "line 4:") || !strings.Contains(r.err.Error(), "nothing was written") {
			t.Errorf("%s, shuffled: error %v", malformed, r.err)
		}
	}
}

func TestImport_Encodings(t *testing.T) {
	const n = 200
	var want []string
	input := func(topic string) (s string) {
		for i := range n {
			s += lineOf(topic, "k", readEvent("ann", i+1))
		}
		return s + lineOf(topic, "k", `{"id":"newer","app":"demo","time":"2026-11-20T09:00:00Z","newBody":{}}`) + lineOf(topic, "k", `"bad"`)
	}
	for i := range n {
		want = append(want, fmt.Sprintf("e-ann-%d", i+1))
	}
	for encoding, protobufs := range map[string][2]int{encodingJSON: {0, 0}, encodingProtobuf: {n, n}, encodingMixed: {n / 4, n * 3 / 4}} {
		t.Run(encoding, func(t *testing.T) {
			topic := sandboxtest.Topic(t, 1)
			r := mustRun(t, input(topic), "import", "-", "--encoding", encoding)
			records := readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic)
			if len(records) != n+2 {
				t.Fatalf("%d records", len(records))
			}
			var got []string
			count := 0
			for _, m := range records[:n] {
				got = append(got, decode(t, m).ID)
				if contentType(m) == events.ContentTypeProtobuf {
					count++
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if count < protobufs[0] || count > protobufs[1] {
				t.Errorf("%d of %d are Protobuf, want %v", count, n, protobufs)
			}
			if string(records[n+1].Value) != `"bad"` || contentType(records[n]) != events.ContentTypeJSON {
				t.Error("lines that are no events were changed")
			}
			if encoding == encodingProtobuf && !strings.Contains(r.stderr, "2 lines are no valid events") {
				t.Error(r.stderr)
			}
		})
	}
}

func TestImport_ShufflesAndRepeats(t *testing.T) {
	topic := sandboxtest.Topic(t, 1)
	input := ""
	for i := range 1000 {
		input += lineOf(topic, "k", readEvent("ann", i+1))
	}
	r := mustRun(t, input, "import", "-", "--shuffle", "7", "--duplicate", "0.2", "--limit", "500", "--rate", "100000")
	records := readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic)
	if want := fmt.Sprintf("imported %d events", len(records)); !strings.Contains(r.stdout, want) {
		t.Errorf("%s: want %s", r.stdout, want)
	}
	seen := map[string]int{}
	for _, m := range records {
		seen[string(m.Value)]++
	}
	if twice := len(records) - len(seen); len(seen) != 500 || twice < 60 || twice > 140 {
		t.Errorf("%d events, %d of them twice", len(seen), twice)
	}
}

func TestArrange(t *testing.T) {
	input := ""
	for i := range 300 {
		input += lineOf("t", "k", strconv.Itoa(i))
	}
	order := func(seed string, duplicate fraction) (list []int) {
		config := importConfig{shuffle: optionalNumber(0), duplicate: duplicate}
		if seed != "" {
			if err := config.shuffle.Set(seed); err != nil {
				t.Fatal(err)
			}
		}
		records, _, err := arrange(readLines(strings.NewReader(input), 0), config)
		if err != nil {
			t.Fatal(err)
		}
		for r, err := range records {
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.Atoi(string(r.value))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, n)
		}
		return list
	}
	plain, repeated := order("", 0), order("", 0.3)
	if len(plain) != 300 || !slices.IsSorted(plain) {
		t.Error("lines are not in order")
	}
	if !slices.IsSorted(repeated) || !slices.Equal(slices.Compact(slices.Clone(repeated)), plain) || len(repeated) < 360 || len(repeated) > 420 {
		t.Errorf("%d lines with 30%% repeated", len(repeated))
	}
	if !slices.Equal(order("", 1), slices.Sorted(slices.Values(append(slices.Clone(plain), plain...)))) {
		t.Error("a share of 1 repeats not everything")
	}
	a, b := order("3", 0.3), order("4", 0.3)
	if slices.IsSorted(a) || slices.Equal(a, b) || !slices.Equal(a, order("3", 0.3)) {
		t.Error("the order is not that of the seed")
	}
	if adjacent := len(a) - len(slices.Compact(slices.Clone(a))); adjacent > 5 {
		t.Errorf("%d repeated lines follow at once", adjacent)
	}
}

// What is in Protobuf stays as it is, whatever is asked for.
func TestImport_Protobuf(t *testing.T) {
	value, err := events.AppendProtobuf(nil, events.Event{ID: "e1", App: "demo", Time: 1e15, Body: &events.UserErased{UserID: "ann"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{encodingJSON, encodingProtobuf, encodingMixed} {
		topic := sandboxtest.Topic(t, 1)
		input := ""
		for _, value := range [][]byte{value, []byte("no event")} {
			input += fmt.Sprintf("{\"topic\":%q,\"protobuf\":%q}\n", topic, base64.StdEncoding.EncodeToString(value))
		}
		r := mustRun(t, input, "import", "-", "--encoding", encoding)
		var got []string
		for _, m := range readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic) {
			got = append(got, contentType(m), string(m.Value))
		}
		want := []string{events.ContentTypeProtobuf, string(value), events.ContentTypeProtobuf, "no event"}
		if diff := cmp.Diff(want, got); diff != "" || r.stderr != "" {
			t.Errorf("%s: %s (-want +got):\n%s", encoding, r.stderr, diff)
		}
	}
	if got := uniqueKey(record{key: []byte(`["demo"]`), value: value, protobuf: true}); string(got) != `["demo","e1"]` {
		t.Errorf("unique key %s", got)
	}
	if got := uniqueKey(record{key: []byte(`["demo"]`), value: []byte("no event"), protobuf: true}); string(got) != `["demo"]` {
		t.Errorf("unique key of no event %s", got)
	}
}

func TestImport_GivesUpOnATopicThatDoesNotExist(t *testing.T) {
	broker := sandboxtest.Start(t).KafkaAddr()
	for _, wait := range []string{"0s", "1ms"} {
		r := chatload(t, lineOf("nowhere", "k", `{}`), "import", "-", "--topic-wait", wait)
		want := "kafka at " + broker + ": ask for the partitions of nowhere: no such topic, after " + wait + " (--topic-wait)"
		if r.err == nil || r.err.Error() != want {
			t.Errorf("got %v, want %s", r.err, want)
		}
	}
}

func TestUniqueKey(t *testing.T) {
	for _, c := range []struct{ key, event, want string }{
		{`["demo","x"]`, `{"id":"é\""}`, `["demo","x","é\""]`},
		{"demo/x", `{"id":"1"}`, "demo/x\x001"},
		{"demo/x", `{"id":1}`, "demo/x"},
		{"[]", `{"id":"1"}`, `["1"]`},
	} {
		if got := uniqueKey(record{key: []byte(c.key), value: []byte(c.event)}); string(got) != c.want {
			t.Errorf("%s of %s: %s, want %s", c.key, c.event, got, c.want)
		}
	}
	if got := uniqueKey(record{value: []byte(`{"id":"1"}`)}); got != nil {
		t.Errorf("no key becomes %s", got)
	}
}

// A broker whose topic takes small requests only gets smaller ones.
func TestImport_HalvesWhatIsTooLarge(t *testing.T) {
	topic := sandboxtest.Topic(t, 2, "max.message.bytes", "20000")
	input := ""
	for i := range 300 {
		input += lineOf(topic, strconv.Itoa(i%5), fmt.Sprintf(`{"n":%d,"pad":%q}`, i, strings.Repeat("x", 1000)))
	}
	mustRun(t, input, "import", "-")
	checkOrder(t, readTopic(t, sandboxtest.Start(t).KafkaAddr(), topic), 300)

	r := chatload(t, lineOf(topic, "k", fmt.Sprintf("%q", strings.Repeat("x", 30000))), "import", "-")
	if r.err == nil || !strings.Contains(r.err.Error(), "Message Size Too Large") {
		t.Errorf("a record over the topic's limit: %v", r.err)
	}
}

// signal is a writer that closes told when it is written to.
type signal struct {
	once sync.Once
	told chan struct{}
	bytes.Buffer
}

func (s *signal) Write(b []byte) (int, error) {
	n, err := s.Buffer.Write(b)
	if strings.Contains(s.String(), "trying again") {
		s.once.Do(func() { close(s.told) })
	}
	return n, err
}

func TestImport_WaitsForTheBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	broker := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	input := ""
	for i := range 100 {
		input += lineOf("late", strconv.Itoa(i%3), fmt.Sprintf(`{"n":%d}`, i))
	}
	stderr := &signal{told: make(chan struct{})}
	imported := make(chan error, 1)
	go func() {
		imported <- run(t.Context(), []string{"import", "-", "--brokers", broker}, noEnv, strings.NewReader(input), io.Discard, stderr)
	}()
	select {
	case <-stderr.told:
	case err := <-imported:
		t.Fatalf("the import ended without a broker: %v", err)
	}
	s := sandbox.New(sandbox.Config{Parts: sandbox.Kafka, KafkaPort: port, Topics: []sandbox.Topic{{Name: "late", Partitions: 2}}})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := <-imported; err != nil {
		t.Fatal(err)
	}
	checkOrder(t, readTopic(t, broker, "late"), 100)
}
