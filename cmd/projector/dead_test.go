package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// deadTopics are topics of a test, and commands on them.
type deadTopics struct {
	*testing.T
	messages, state, dead string
	env                   map[string]string
}

func newDeadTopics(t *testing.T) *deadTopics {
	t.Helper()
	d := &deadTopics{T: t, messages: sandboxtest.Topic(t, 2), state: sandboxtest.Topic(t, 2), dead: sandboxtest.Topic(t, 1, "message.timestamp.type", "CreateTime")}
	d.env = map[string]string{
		"CONVOVIEW_KAFKA_BROKERS": sandboxtest.Start(t).KafkaAddr(), "CONVOVIEW_KAFKA_DEAD_TOPIC": d.dead,
		"CONVOVIEW_KAFKA_TOPICS": d.messages + "," + d.state,
	}
	return d
}

// add writes a dead letter, as projectors do.
func (d *deadTopics) add(written time.Time, from string, code events.Code, reason, key, value string, own ...kafka.Header) {
	d.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(d.env["CONVOVIEW_KAFKA_BROKERS"]), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	m := kafka.Message{Topic: d.dead, Time: written, Key: []byte(key), Value: []byte(value), Headers: own}
	if topic, rest, ok := strings.Cut(from, "/"); ok {
		partition, offset, _ := strings.Cut(rest, "/")
		for _, h := range [][2]string{{"topic", topic}, {"partition", partition}, {"offset", offset}, {"code", string(code)}, {"reason", reason}} {
			m.Headers = append(m.Headers, kafka.Header{Key: "convoview-" + h[0], Value: []byte(h[1])})
		}
	}
	if err := w.WriteMessages(d.Context(), m); err != nil {
		d.Fatal(err)
	}
}

// run runs a command. It gives what it has written, with the topics by their usual names.
func (d *deadTopics) run(args ...string) (string, error) {
	d.Helper()
	var out strings.Builder
	err := run(d.Context(), append([]string{"dead"}, args...), func(name string) string { return d.env[name] }, &out)
	names := strings.NewReplacer(d.messages, "chat.messages", d.state, "chat.state", d.dead, "chat.dead")
	if err != nil {
		err = errors.New(names.Replace(err.Error()))
	}
	return names.Replace(out.String()), err
}

// check holds what a command writes, and that its error has a part; "": there is none.
func (d *deadTopics) check(want, failure string, args ...string) {
	d.Helper()
	got, err := d.run(args...)
	if (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
		d.Errorf("%s: got %v, want %q", strings.Join(args, " "), err, failure)
	}
	// Columns are as wide as the test's own names.
	columns := func(text string) string {
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		return strings.Join(lines, "\n")
	}
	if diff := cmp.Diff(columns(want), columns(got)); diff != "" {
		d.Errorf("%s (-want +got):\n%s", strings.Join(args, " "), diff)
	}
}

var deadNoon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

const (
	draft    = `{"id":"e-1","app":"demo","time":"2026-11-23T11:00:00Z","conversationDraftSet":{"userID":"ann","conversationID":"C2Cbob","draftText":"hello again"}}`
	draftKey = `["demo","conversationDraftSet","ann","C2Cbob"]`
)

// someLetters are five of all kinds.
func someLetters(t *testing.T) *deadTopics {
	d := newDeadTopics(t)
	json := kafka.Header{Key: "content-type", Value: []byte("application/json")}
	d.add(deadNoon, d.state+"/1/7", events.CodeTooLarge, "conversationDraftSet.draftText is 11 bytes, expected at most 10", draftKey, draft, json)
	d.add(deadNoon.Add(time.Minute), d.messages+"/0/3", events.CodeMalformed, "no valid JSON", "k\x01", "{\n\x1b[2J")
	d.add(deadNoon.Add(time.Hour), d.messages+"/0/4", events.CodeMissingField, "id is missing,\nwant \x1b[2J", "", "{}", kafka.Header{Key: "trace", Value: []byte{0, 255}})
	d.add(deadNoon.Add(2*time.Hour), "", "", "", "", "somebody else's")
	d.add(deadNoon.Add(3*time.Hour), d.state+"/1/9", events.CodeTooLarge, "conversationDraftSet.draftText is 11 bytes, expected at most 10", draftKey, draft, json,
		kafka.Header{Key: "convoview-redriven", Value: []byte(d.dead + "/0/0")})
	return d
}

func TestDead_List(t *testing.T) {
	d := someLetters(t)
	d.check(`chat.dead/0/0 2026-11-23T12:00:00.000Z chat.state/1/7 too_large 147 B conversationDraftSet.draftText is 11 bytes, expected at most 10
chat.dead/0/1 2026-11-23T12:01:00.000Z chat.messages/0/3 malformed 6 B no valid JSON
chat.dead/0/2 2026-11-23T13:00:00.000Z chat.messages/0/4 missing_field 2 B id is missing,�want �[2J
chat.dead/0/3 2026-11-23T14:00:00.000Z ? ? 15 B
chat.dead/0/4 2026-11-23T15:00:00.000Z chat.state/1/9 too_large 147 B conversationDraftSet.draftText is 11 bytes, expected at most 10 (chat.dead/0/0, sent again)
5 of 5 dead letters: 2 too_large, 1 ?, 1 malformed, 1 missing_field
`, "", "list")
	d.check(`chat.dead/0/1 2026-11-23T12:01:00.000Z chat.messages/0/3 malformed 6 B no valid JSON
1 of 5 dead letters: 1 malformed
`, "", "list", "--code", "malformed,too_large", "--topic", d.messages)
	d.check(`{"id":"chat.dead/0/4","written":"2026-11-23T15:00:00Z","topic":"chat.state","partition":1,"offset":9,"code":"too_large","reason":"conversationDraftSet.draftText is 11 bytes, expected at most 10","bytes":147,"redriven":"chat.dead/0/0"}
{"letters":2,"matching":1,"codes":{"too_large":1},"lost":0}
`, "", "list", "--json", "--since", "2026-11-23T14:00:00Z", "--topic", d.state)
	d.check("no dead letter matches: 5 were read from chat.dead\n", "", "list", "--until", "2026-11-23T12:00:00Z")
	d.check(`{"letters":0,"matching":0,"codes":{},"lost":0}`+"\n", "", "list", "--since", "2126-11-23T12:00:00Z", "--json")
	d.check("", "find topic nowhere", "list", "--kafka-dead-topic", "nowhere")
}

func TestDead_Show(t *testing.T) {
	d := someLetters(t)
	d.check(`chat.dead/0/0, written 2026-11-23T12:00:00.000Z
headers:
  content-type: application/json
  convoview-topic: chat.state
  convoview-partition: 1
  convoview-offset: 7
  convoview-code: too_large
  convoview-reason: conversationDraftSet.draftText is 11 bytes, expected at most 10
now: accepted, a conversationDraftSet of app demo with the ID "e-1"
key, 46 bytes:
`+draftKey+`
value, 147 bytes:
`+draft+"\n", "", "show", "0/0")
	d.check(`chat.dead/0/1, written 2026-11-23T12:01:00.000Z
headers:
  convoview-topic: chat.messages
  convoview-partition: 0
  convoview-offset: 3
  convoview-code: malformed
  convoview-reason: no valid JSON
now: not accepted, malformed: no valid JSON at byte 2: invalid character '\x1b' at start of value
key, 2 bytes:
00000000  6b 01                                             |k.|
value, 6 bytes:
00000000  7b 0a 1b 5b 32 4a                                 |{..[2J|
`, "", "show", d.dead+"/0/1")
	d.check(`chat.dead/0/2, written 2026-11-23T13:00:00.000Z
headers:
  trace: "\x00\xff"
  convoview-topic: chat.messages
  convoview-partition: 0
  convoview-offset: 4
  convoview-code: missing_field
  convoview-reason: "id is missing,\nwant \x1b[2J"
now: not accepted, missing_field: id is missing, expected 1 to 128 bytes
key, 0 bytes:
value, 2 bytes:
{}
`, "", "show", "0/2")
	if got, err := d.run("show", "0/0", "--limit-draft-text-bytes", "10"); err != nil || !strings.Contains(got, "now: not accepted, too_large: conversationDraftSet.draftText is 11 bytes, expected at most 10\n") {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := d.run("show", "0/1", "--raw"); got != "{\n\x1b[2J" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	d.check("", "dead letter chat.dead/0/5: the partition has the offsets 0 to 4", "show", "0/5")
}

func TestDead_Redrive(t *testing.T) {
	d := someLetters(t)
	want := func(verb, end string) string {
		return `chat.dead/0/0 ` + verb + ` to chat.state/1 under the key ["demo","conversationDraftSet","ann","C2Cbob","e-1"]
chat.dead/0/1 is not sent: malformed: no valid JSON at byte 2: invalid character '\x1b' at start of value
chat.dead/0/2 is not sent: missing_field: id is missing, expected 1 to 128 bytes
chat.dead/0/3 is not sent: it has no headers convoview-topic, convoview-partition and convoview-offset that say where it came from
chat.dead/0/4 is not sent: it is chat.dead/0/0 once more
1 of 5 dead letters ` + end + `; repeated: 1; cannot be sent: 3
`
	}
	const failure = "3 dead letters cannot be sent"
	d.check(want("would be sent", "would be sent"), failure, "redrive", "--dry-run")
	if n := d.records(d.state, 1); n != 0 {
		t.Errorf("%d records are there after --dry-run", n)
	}
	d.check(want("is sent", "were sent"), failure, "redrive")
	if n := d.records(d.state, 1); n != 1 {
		t.Errorf("%d records are there, want 1", n)
	}
	d.check(`{"id":"chat.dead/0/0","sent":true,"event":"e-1","app":"demo","to":"chat.state/1","key":"[\"demo\",\"conversationDraftSet\",\"ann\",\"C2Cbob\",\"e-1\"]"}
{"id":"chat.dead/0/4","sent":false,"event":"e-1","app":"demo","why":"it is chat.dead/0/0 once more"}
{"letters":5,"matching":2,"sent":1,"same":1,"kept":0,"lost":0,"dryRun":false}
`, "", "redrive", "--json", "--code", "too_large")
	d.check(`chat.dead/0/0 is not sent: too_large: conversationDraftSet.draftText is 11 bytes, expected at most 10
chat.dead/0/4 is not sent: too_large: conversationDraftSet.draftText is 11 bytes, expected at most 10
0 of 2 dead letters were sent; cannot be sent: 2
`, "2 dead letters cannot be sent", "redrive", "--code", "too_large", "--limit-draft-text-bytes", "10")
	d.check("no dead letter matches: 5 were read from chat.dead\n", "", "redrive", "--code", "body_count")
}

// records gives how many records a partition has.
func (d *deadTopics) records(topic string, partition int) int64 {
	d.Helper()
	conn, err := kafka.DialLeader(d.Context(), "tcp", d.env["CONVOVIEW_KAFKA_BROKERS"], topic, partition)
	if err != nil {
		d.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	first, last, err := conn.ReadOffsets()
	if err != nil {
		d.Fatal(err)
	}
	return last - first
}

func TestMoment(t *testing.T) {
	var m moment
	if err := m.Set("2026-11-23T13:00:00+01:00"); err != nil || m.String() != "2026-11-23T12:00:00Z" {
		t.Errorf("got %v, %v", &m, err)
	}
	before := time.Now()
	if err := m.Set("36h"); err != nil || m.Before(before.Add(-36*time.Hour)) || m.After(time.Now().Add(-36*time.Hour)) {
		t.Errorf("got %v, %v", &m, err)
	}
	if err := m.Set(""); err != nil || m.String() != "" {
		t.Errorf("got %v, %v", &m, err)
	}
	for _, text := range []string{"yesterday", "-1h", "2026-11-23", "0001-01-01T00:00:00Z"} {
		if err := m.Set(text); err == nil || !strings.Contains(err.Error(), "expected a time such as") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// TestDead_RedriveKilledAnywhere has projectors refuse events, which are sent again when
// the limit was raised, by a command that is killed. Then the read model is as if they
// had never been refused.
func TestDead_RedriveKilledAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	o := newOperator(t)
	writeLarge(t, o)
	o.mustRun("migrate")
	lower := []string{"--limit-payload-bytes", "10000", "--limit-draft-text-bytes", "1000"}
	stop := o.project(lower...)
	verify := []string{"verify", "1", "--sample", "1000000"}
	o.mustRun(append(verify, lower...)...) // which waits for the projector
	stop()

	o.project()
	if _, _, err := o.run(0, verify...); err == nil {
		t.Fatal("nothing was refused")
	}
	redrive := []string{"dead", "redrive", "--progress-interval", "1ns", "--fetch-max-bytes", "1"}
	whole := o.mustRun(append(redrive, "--dry-run")...)
	kills := 0
	for range 8 {
		_, killed, err := o.run(1+rng.IntN(whole), redrive...)
		if err != nil {
			t.Fatal(err)
		}
		if killed {
			kills++
		}
	}
	t.Logf("%d were killed, of which each has %d lines", kills, whole)
	o.mustRun(redrive...)
	o.mustRun(verify...)
}

// writeLarge writes messages with large payloads and drafts that are long, each in turn.
func writeLarge(t *testing.T, o *operatorOf) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(sandboxtest.Start(t).KafkaAddr()), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	var records []kafka.Message
	add := func(topic string, body events.Body) {
		e := events.Event{ID: fmt.Sprintf("large%d", len(records)), App: "demo", Time: events.MicrosOf(time.Now()), Body: body}
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, kafka.Message{Topic: topic, Key: []byte(events.Key(e)), Value: value})
	}
	for i := range 60 {
		ann, bob := fmt.Sprintf("ann%d", i%5), fmt.Sprintf("carl%d", i%3)
		c := events.C2C(ann, bob)
		add(o.messages, &events.MessageSent{
			Conversation: c, From: bob, MessageID: fmt.Sprint("l", i), Sequence: uint64(i + 1), Type: events.TypeText,
			Payload: []byte(`{"text":"` + strings.Repeat("la ", 6000) + `"}`),
		})
		add(o.state, &events.ConversationDraftSet{
			ConversationOf: events.ConversationOf{UserID: ann, ConversationID: c.IDFor(ann)}, DraftText: strings.Repeat("la ", 400+i),
		})
	}
	if err := w.WriteMessages(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}
