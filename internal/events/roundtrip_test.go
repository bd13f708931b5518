package events

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// TestRoundTrip holds that Decode(encode(e)) is e, in both encodings, bare and
// framed, and that other readers can read what was written.
func TestRoundTrip(t *testing.T) {
	decoder := NewDecoder(DefaultLimits())
	rapid.Check(t, func(t *rapid.T) {
		e := anyEvent().Draw(t, "event")
		j, err := AppendJSON(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		if !jsontext.Value(j).IsValid(jsontext.AllowDuplicateNames(true)) {
			t.Fatalf("invalid JSON %s", j)
		}
		p, err := AppendProtobuf([]byte("prefix"), e)
		if err != nil {
			t.Fatal(err)
		}
		p = p[len("prefix"):]
		m := new(eventspb.Event)
		if err := proto.Unmarshal(p, m); err != nil {
			t.Fatal(err)
		}
		again, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for name, record := range map[string]Record{
			"JSON":                         jsonRecord(string(j)),
			"Protobuf":                     protobufRecord(p),
			"Protobuf, generated code":     protobufRecord(again),
			"JSON in a frame":              jsonRecord("\x00\x00\x00\x00\x07" + string(j)),
			"Protobuf in a frame":          jsonRecord("\x00\x00\x00\x00\x07\x00" + string(p)),
			"JSON with whitespace between": jsonRecord(indented(t, j)),
		} {
			shared, err := decoder.Sharing().Decode(record)
			if err != nil {
				t.Fatalf("%s, shared: %v", name, err)
			}
			if diff := cmp.Diff(e, shared); diff != "" {
				t.Errorf("%s, shared (-want +got):\n%s", name, diff)
			}
			record.Value = bytes.Clone(record.Value)
			got, err := decoder.Decode(record)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			clear(record.Value) // nothing of it is in the event
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

func indented(t *rapid.T, j []byte) string {
	v := jsontext.Value(j).Clone()
	if err := v.Indent(jsontext.AllowDuplicateNames(true)); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

// TestEncode_Refuses holds that nothing is written that would not decode.
func TestEncode_Refuses(t *testing.T) {
	at := func(body Body) Event { return Event{ID: "e1", App: "demo", Time: eventTime, Body: body} }
	message := func(change func(*MessageSent)) Event {
		m := &MessageSent{Conversation: C2C("a", "b"), From: "a", MessageID: "m", Sequence: 1, Type: "t"}
		change(m)
		return at(m)
	}
	for _, test := range []struct {
		want  string
		event Event
	}{
		{"no body", at(nil)},
		{"unknown body", at(strangeBody{})},
		{"userErased is", at((*UserErased)(nil))},
		{"userErased is", at(pretender{})},
		{"id is missing", Event{App: "demo", Time: eventTime, Body: &UserErased{"u"}}},
		{"id is not valid UTF-8", Event{ID: "\xff", App: "demo", Time: eventTime, Body: &UserErased{"u"}}},
		{"app is", Event{ID: "e", App: "a b", Time: eventTime, Body: &UserErased{"u"}}},
		{"time is missing", Event{ID: "e", App: "a", Body: &UserErased{"u"}}},
		{"time_out_of_range", Event{ID: "e", App: "a", Time: 1, Body: &UserErased{"u"}}},
		{"messageSent.from is", message(func(m *MessageSent) { m.From = "" })},
		{"messageSent.from is", message(func(m *MessageSent) { m.From = "c" })},
		{"messageSent.from is missing", message(func(m *MessageSent) { m.From, m.Conversation = "", Group("g") })},
		{"names no conversation", message(func(m *MessageSent) { m.Conversation = Conversation{} })},
		{"messageSent.to is missing", message(func(m *MessageSent) { m.Conversation = System("") })},
		{"messageSent.sequence", message(func(m *MessageSent) { m.Sequence = 0 })},
		{"messageSent.sequence", message(func(m *MessageSent) { m.Sequence = 1 << 63 })},
		{"messageSent.payload", message(func(m *MessageSent) { m.Payload = []byte(`{"a":}`) })},
		{"messageSent.payload", message(func(m *MessageSent) { m.Payload = []byte(`[]`) })},
		{"messageSent.nick is not valid UTF-8", message(func(m *MessageSent) { m.Nick = "\xff" })},
		{"list", message(func(m *MessageSent) { m.AtUsers = []string{"\xff"} })},
		{"atUserList[0]", message(func(m *MessageSent) { m.AtUsers = []string{"\n"} })},
		{"list", at(&GroupProfileChanged{GroupID: "g", GroupCustomField: []KeyValue{{Value: "\xff"}}})},
		{"createTime", at(&GroupProfileChanged{GroupID: "g", CreateTime: 1 << 60})},
		{"messageRemindType is missing", at(&ConversationRemindTypeSet{ConversationOf{"u", "C2Cv"}, ""})},
		{"conversationID", at(&ConversationRead{ConversationOf{"u", "v"}, 1})},
	} {
		for _, encode := range []func([]byte, Event) ([]byte, error){AppendJSON, AppendProtobuf} {
			got, err := encode([]byte("x"), test.event)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("encode %+v: %v, want an error that says %q", test.event, err, test.want)
			}
			if string(got) != "x" {
				t.Errorf("encode %+v left %q, want what was there", test.event, got)
			}
		}
	}
}

// strangeBody is no body of the contract, pretender another's.
type (
	strangeBody struct{}
	pretender   struct{}
)

func (strangeBody) Kind() string { return "strange" }
func (pretender) Kind() string   { return "userErased" }
