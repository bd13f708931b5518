package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/convoview/convoview/internal/projection"
)

// strict takes little customData and small payloads.
func strict() *events.Decoder {
	limits := events.DefaultLimits()
	limits.CustomDataBytes, limits.PayloadBytes = 10, 20
	return events.NewDecoder(limits)
}

// custom is an event that strict does not take.
func (h *harness) custom(user string) kafka.Record {
	h.Helper()
	return h.event(&events.ConversationCustomDataSet{
		ConversationOf: events.ConversationOf{UserID: user, ConversationID: "C2Cann"}, CustomData: fmt.Sprint("longer than ten ", h.seq),
	})
}

// large is a message that strict does not take.
func (h *harness) large() kafka.Record {
	h.Helper()
	h.seq++
	return h.event(&events.MessageSent{
		Conversation: events.C2C("alice", "bob"), From: "alice", Sequence: h.seq,
		MessageID: fmt.Sprint("m", h.seq), Type: events.TypeText, MessageForShow: "hi there, all of you", Payload: []byte(`{"text":"hi there, all of you"}`),
	})
}

// fail has projectors make dead letters of what strict does not take.
func (h *harness) fail() {
	h.Helper()
	h.runWith(h.config(), h.sink, strict()).stopAfter(h.awaitAll)
}

func (h *harness) letters(config Config) *Letters {
	h.Helper()
	l, err := NewLetters(config, slog.New(h.logs))
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(l.Close)
	return l
}

// redriving makes a Redrive that keeps what it tells in outcomes.
func (h *harness) redriving(config Config, outcomes *[]Outcome) *Redrive {
	h.Helper()
	return &Redrive{
		Letters: h.letters(config), Decoder: events.NewDecoder(events.DefaultLimits()), Progress: func(Scanned) {},
		Told: func(told []Outcome) error {
			for _, o := range told {
				if o.Sent {
					h.next[o.To.String()]++
				}
			}
			*outcomes = append(*outcomes, told...)
			return nil
		},
	}
}

// redrive sends dead letters again.
func (h *harness) redrive(prepare ...func(*Redrive)) []Outcome {
	h.Helper()
	var outcomes []Outcome
	r := h.redriving(h.config(), &outcomes)
	for _, p := range prepare {
		p(r)
	}
	at, err := r.Run(h.ctx)
	if err != nil {
		h.Fatal(err)
	}
	if at.Done != at.Total || at.Matching != len(outcomes) {
		h.Errorf("%+v, and %d outcomes", at, len(outcomes))
	}
	return outcomes
}

// said is what outcomes say, a line each, ascending.
func said(outcomes []Outcome) []string {
	var lines []string
	for _, o := range outcomes {
		switch {
		case o.Sent:
			lines = append(lines, fmt.Sprintf("%v from %v: sent to %v under %s", o.Place, o.From, o.To, o.Key))
		case o.Kept != nil:
			lines = append(lines, fmt.Sprintf("%v from %v: %v", o.Place, o.From, o.Kept))
		default:
			lines = append(lines, fmt.Sprintf("%v from %v: is %v", o.Place, o.From, o.Same))
		}
	}
	slices.Sort(lines)
	return lines
}

// TestRedrive_Compressed has a record that its topic takes because it came compressed: so do
// chat.dead, and the topic again.
func TestRedrive_Compressed(t *testing.T) {
	h := newHarness(t, 1)
	client := h.franz(kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(16<<20))
	h.produceWith(client, messagesTopic, h.event(&events.ConversationCustomDataSet{
		ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: "C2Cann"}, CustomData: strings.Repeat("and so on, ", 200_000),
	}))
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	limits := events.DefaultLimits()
	limits.EventBytes, limits.CustomDataBytes = 4<<20, 4<<20
	raised := events.NewDecoder(limits)
	outcomes := h.redrive(func(r *Redrive) { r.Decoder = raised })
	if len(outcomes) != 1 || !outcomes[0].Sent || outcomes[0].Code != events.CodeTooLarge {
		t.Errorf("got %q", said(outcomes))
	}
	h.runWith(h.config(), h.sink, raised).stopAfter(h.awaitAll)
	h.checkModel()
}

// headersOf are the headers of a record, as lines.
func headersOf(m kafka.Message) []string {
	var lines []string
	for _, h := range m.Headers {
		lines = append(lines, h.Key+"="+string(h.Value))
	}
	return lines
}

// TestRedrive_AfterALimitWasRaised sends what the raised limit accepts, and names the rest.
func TestRedrive_AfterALimitWasRaised(t *testing.T) {
	h := newEmbedded(t, 2)
	large := h.large()
	large.Headers = []kafka.Header{{Key: "content-type", Value: []byte("application/json")}, {Key: "trace", Value: []byte{0, 255}}}
	h.produce(messagesTopic, 1, h.message(), large)
	h.produce(messagesTopic, 0, bad("k", "{"))
	h.produce(stateTopic, 1, h.custom("bob"))
	h.fail()
	before := map[string]int64{}
	for place, next := range h.next {
		before[place] = next
	}

	dry := h.redrive(func(r *Redrive) { r.DryRun = true })
	for place := range before {
		h.next[place] = before[place]
	}
	h.awaitAll()
	outcomes := h.redrive()
	if diff := cmp.Diff(said(dry), said(outcomes)); diff != "" {
		t.Errorf("said without sending, and with (-dry +sent):\n%s", diff)
	}
	// Partition 1 of the dead letters has those of two partitions, in either order.
	want := []string{
		`chat.dead/0/0 from chat.messages/0/0: malformed: no valid JSON at byte 1: unexpected EOF`,
		`from chat.messages/1/1: sent to chat.messages/1 under ["demo","C2C","alice","bob","e2"]`,
		`from chat.state/1/0: sent to chat.state/1 under ["demo","conversationCustomDataSet","bob","C2Cann","e5"]`,
	}
	got := said(outcomes)
	for i, line := range got {
		if i > 0 {
			_, got[i], _ = strings.Cut(line, " ")
		}
	}
	slices.Sort(got[1:])
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
	sent := h.read(messagesTopic, 2)
	if got, want := len(sent), 4; got != want { // one was sent, once
		t.Fatalf("%d messages, want %d", got, want)
	}
	var place Place
	for _, o := range outcomes {
		if o.From.Topic == messagesTopic && o.Sent {
			place = o.Place
		}
	}
	if diff := cmp.Diff([]string{"content-type=application/json", "trace=\x00\xff", "convoview-redriven=" + place.String()}, headersOf(sent[3])); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if string(sent[3].Value) != string(sent[2].Value) || string(sent[3].Key) != string(events.KeyWithID(sent[2].Key, "e2")) {
		t.Errorf("sent %s, want %s", sent[3].Value, sent[2].Value)
	}

	// Again, and to others who have merged nothing yet: nothing differs.
	h.redrive()
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	h.checkModel()
	h.sink = newMemorySink()
	config := h.config()
	config.GroupID = "others"
	r = h.run(config, h.sink)
	all := map[string]int64{}
	for place, next := range h.next {
		if !strings.HasPrefix(place, deadTopic) {
			all[place] = next
		}
	}
	h.group = config.GroupID
	h.awaitCommits(all)
	h.checkModel()
	r.mustStop()
}

// TestRedrive_Compaction has an older event sent again under the key of a newer one, but for its ID.
func TestRedrive_Compaction(t *testing.T) {
	h := newEmbedded(t, 0)
	h.createTopic(messagesTopic, 1, nil)
	h.createTopic(deadTopic, 1, nil)
	h.createTopic(stateTopic, 1, map[string]string{"cleanup.policy": "compact", "segment.bytes": "1", "min.cleanable.dirty.ratio": "0"})
	older := h.custom("bob")
	h.seq++
	newer := events.Event{ID: "newer", App: "demo", Time: events.MicrosOf(time.Now().Add(time.Minute)), Body: &events.ConversationCustomDataSet{
		ConversationOf: events.ConversationOf{UserID: "bob", ConversationID: "C2Cann"}, CustomData: "short",
	}}
	value, err := events.AppendJSON(nil, newer)
	if err != nil {
		t.Fatal(err)
	}
	h.want.Fold(newer)
	h.produce(stateTopic, 0, older)
	h.produce(stateTopic, 0, kafka.Record{Key: kafka.NewBytes([]byte(events.Key(newer))), Value: kafka.NewBytes(value), Time: time.Now()})
	h.fail()
	for range 2 {
		if got := h.redrive(); len(got) != 1 || !got[0].Sent {
			t.Fatalf("redriven %q", said(got))
		}
	}
	h.produce(stateTopic, 0, bad(`["demo","other"]`, `{"id":"x","app":"demo","time":"2026-01-01T00:00:00Z","appPlanChanged":{}}`)) // the last segment is left alone
	h.cluster.Compact()
	var left []string
	model := projection.NewModel()
	for _, m := range h.read(stateTopic, 1) {
		if len(m.Value) == 0 || !strings.Contains(string(m.Key), "bob") {
			continue
		}
		left = append(left, string(m.Key))
		e, err := events.NewDecoder(events.DefaultLimits()).Decode(events.Record{Value: m.Value, Timestamp: m.Time})
		if err != nil {
			t.Fatal(err)
		}
		model.Fold(e)
	}
	key := `["demo","conversationCustomDataSet","bob","C2Cann"`
	if diff := cmp.Diff([]string{key + "]", key + `,"e1"]`}, left); diff != "" {
		t.Errorf("left after compaction (-want +got):\n%s", diff)
	}
	if !sameModel(model, h.want) {
		t.Error("compaction has changed what the topic says")
	}
}

// TestRedrive_FailsAgain has projectors that do not take it yet: each letter is there
// twice then, and is sent once.
func TestRedrive_FailsAgain(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(stateTopic, 0, h.custom("bob"))
	h.fail()
	for range 3 {
		h.redrive()
		h.fail()
	}
	const key = `["demo","conversationCustomDataSet","bob","C2Cann","e1"`
	want := []string{
		"chat.dead/0/0 from chat.state/0/0: sent to chat.state/0 under " + key + "]",
		"chat.dead/0/1 from chat.state/0/1: is chat.dead/0/0",
		"chat.dead/0/2 from chat.state/0/2: is chat.dead/0/0",
		"chat.dead/0/3 from chat.state/0/3: is chat.dead/0/0",
	}
	if diff := cmp.Diff(want, said(h.redrive())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Without the first the next one stands for it.
	if err := h.cluster.DeleteRecords(deadTopic, 0, 1); err != nil {
		t.Fatal(err)
	}
	want = []string{
		"chat.dead/0/1 from chat.state/0/1: sent to chat.state/0 under " + key + `,"e1"]`,
		"chat.dead/0/2 from chat.state/0/2: is chat.dead/0/0",
		"chat.dead/0/3 from chat.state/0/3: is chat.dead/0/0",
	}
	if diff := cmp.Diff(want, said(h.redrive())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, m := range h.read(stateTopic, 1)[1:] {
		if diff := cmp.Diff([]string{"convoview-redriven=chat.dead/0/0"}, headersOf(m)); diff != "" {
			t.Errorf("record %d that was sent (-want +got):\n%s", i+1, diff)
		}
	}
	// What has become of that one is the first once more, too.
	h.fail()
	want = append(want,
		"chat.dead/0/4 from chat.state/0/4: is chat.dead/0/0",
		"chat.dead/0/5 from chat.state/0/5: is chat.dead/0/0",
	)
	if diff := cmp.Diff(want, said(h.redrive())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRedrive_Keeps what cannot be sent.
func TestRedrive_Keeps(t *testing.T) {
	h := newEmbedded(t, 1)
	letter := func(topic, value string) kafka.Record {
		return bad("k", value, kafka.Header{Key: headerTopic, Value: []byte(topic)}, kafka.Header{Key: headerPartition, Value: []byte("7")}, kafka.Header{Key: headerOffset, Value: []byte("5")})
	}
	event := `{"id":"x","app":"demo","time":"2026-01-01T00:00:00Z",`
	h.produce(deadTopic, 0,
		bad("k", event+`"appPlanChanged":{}}`),
		letter("chat.other", event+`"appPlanChanged":{}}`),
		letter(stateTopic, event+`"reactionAdded":{}}`),
		letter(stateTopic, ""),
		letter(stateTopic, event+`"appPlanChanged":{"maxConversations":7}}`),
	)
	h.cluster.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: stateTopic, Err: kerr.MessageTooLarge, Count: -1,
		When: func(r kmsg.Request) bool {
			return slices.ContainsFunc(produced(r.(*kmsg.ProduceRequest)), func(v string) bool { return strings.Contains(v, "poison") })
		},
	})
	h.produce(deadTopic, 1, letter(stateTopic, event+`"friendRemarkSet":{"userID":"u","friendID":"f","remark":"before"}}`),
		letter(stateTopic, event+`"friendRemarkSet":{"userID":"u","friendID":"f","remark":"poison"}}`),
		letter(stateTopic, event+`"friendRemarkSet":{"userID":"u","friendID":"f","remark":"after"}}`))
	got := said(h.redrive())
	const from = " from chat.state/7/5: "
	for i, want := range []string{
		"chat.dead/0/0 from /0/0: it has no headers convoview-topic, convoview-partition and convoview-offset that say where it came from",
		"chat.dead/0/1 from chat.other/7/5: it came from chat.other/7, which is not projected",
		"chat.dead/0/2" + from + "unknown body",
		"chat.dead/0/3" + from + "empty value",
		"chat.dead/0/4" + from + "sent to chat.state/0 under k\x00x",
		"chat.dead/1/0" + from + "sent to chat.state/0 under k\x00x",
		"chat.dead/1/1" + from + "send 1 dead letters to chat.state/0, the first chat.dead/1/1: ",
		"chat.dead/1/2" + from + "sent to chat.state/0 under k\x00x",
	} {
		if i >= len(got) || !strings.HasPrefix(got[i], want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	if n := len(h.read(stateTopic, 1)); n != 3 {
		t.Errorf("%d records, want 3", n)
	}
}

// TestRedrive_NoLongerAhead sends an event again whose time was ahead when its letter was
// written, and is not now.
func TestRedrive_NoLongerAhead(t *testing.T) {
	h := newEmbedded(t, 1)
	letter := deadAt(time.Now().Add(-time.Hour), stateTopic, events.CodeTimeOutOfRange)
	letter.Value = kafka.NewBytes(fmt.Appendf(nil, `{"id":"x","app":"demo","time":%q,"appPlanChanged":{}}`, time.Now().Add(-30*time.Minute).UTC().Format(time.RFC3339)))
	h.produce(deadTopic, 0, letter)
	if got := h.redrive(); len(got) != 1 || !got[0].Sent {
		t.Errorf("got %q", said(got))
	}
}

// TestRedrive_KafkaAway tries again, tells what was sent when it gives up, and ends right
// when it is run again.
func TestRedrive_KafkaAway(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.large())
	h.produce(stateTopic, 0, h.custom("bob"))
	h.fail()
	once := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: messagesTopic, Err: kerr.NotEnoughReplicas, Count: 2})
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: stateTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	var outcomes []Outcome
	config := h.config()
	config.FetchMaxBytes = 1              // one batch at a time
	config.StallTimeout = 2 * time.Second // long enough to send messages again
	_, err := h.redriving(config, &outcomes).Run(h.ctx)
	if err == nil || !errors.Is(err, kafka.NotEnoughReplicas) || !strings.Contains(err.Error(), "given up after") || !strings.Contains(err.Error(), "send 1 dead letters to chat.state/0") {
		t.Errorf("got %v", err)
	}
	if once.Hits() != 0 && once.Hits() != 2 {
		t.Errorf("%d failures of messages", once.Hits())
	}
	for _, o := range outcomes {
		if !o.Sent || o.From.Topic != messagesTopic {
			t.Errorf("told %q", said(outcomes))
		}
	}
	away.Remove()
	h.redrive()
	h.run(h.config(), h.sink).stopAfter(h.awaitAll)
	h.checkModel()
}

// TestRedrive_MaxRate sends no more than a second's and what is handled at once.
func TestRedrive_MaxRate(t *testing.T) {
	h := newEmbedded(t, 1)
	var all []kafka.Record
	for range 2*lettersAtOnce + 1 {
		r := deadAt(time.Now(), stateTopic, events.CodeTooLarge)
		r.Value = kafka.NewBytes([]byte(`{"id":"x","app":"demo","time":"2026-01-01T00:00:00Z","appPlanChanged":{}}`))
		all = append(all, r)
	}
	h.produce(deadTopic, 0, all...)
	var outcomes []Outcome
	config := h.config()
	config.MaxRate = 1 // the rest would take longer than the context lasts, which is known at once
	_, err := h.redriving(config, &outcomes).Run(h.ctx)
	if sent := len(h.read(stateTopic, 1)); err == nil || sent != lettersAtOnce || len(outcomes) != sent {
		t.Errorf("got %v, %d are sent, and %d told", err, sent, len(outcomes))
	}
	config.MaxRate = 0
	outcomes = nil
	if _, err := h.redriving(config, &outcomes).Run(h.ctx); err != nil || len(outcomes) != len(all) {
		t.Errorf("got %v, and %d are sent", err, len(outcomes))
	}
}

// TestRedrive_Stopped ends with the cause.
func TestRedrive_Stopped(t *testing.T) {
	h := newEmbedded(t, 1)
	h.produce(messagesTopic, 0, h.large())
	h.fail()
	cause := errors.New("signal interrupt")
	ctx, cancel := context.WithCancelCause(h.ctx)
	away := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: messagesTopic, Err: kerr.NotEnoughReplicas, Count: -1})
	var outcomes []Outcome
	r, done := h.redriving(h.config(), &outcomes), make(chan error, 1)
	go func() {
		_, err := r.Run(ctx)
		done <- err
	}()
	if err := away.Wait(h.ctx, 2); err != nil {
		t.Fatal(err)
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) || len(outcomes) > 0 {
		t.Errorf("got %v and %q", err, said(outcomes))
	}
}
