package events

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

// TestDecode_ContentType holds how the encoding is found.
func TestDecode_ContentType(t *testing.T) {
	e := Event{ID: "e1", App: "demo", Time: eventTime, Body: &UserErased{"u"}}
	j, p := string(bothEncodings(t, e)["json"].Value), string(bothEncodings(t, e)["protobuf"].Value)
	header := func(values ...string) []Header {
		headers := []Header{{"traceparent", []byte("00-x")}}
		for _, value := range values {
			headers = append(headers, Header{HeaderContentType, []byte(value)})
		}
		return headers
	}
	const frame = "\x00\x00\x00\x01\x02"
	for _, test := range []struct {
		name    string
		value   string
		headers []Header
		code    Code // empty: decodes
	}{
		{"no header, JSON", j, header(), ""},
		{"no header, Protobuf", p, header(), CodeUnknownEncoding},
		{"no header, space", " " + j, header(), CodeUnknownEncoding},
		{"no header, a list", "[]", header(), CodeUnknownEncoding},
		{"no header, byte order mark", "\ufeff" + j, header(), CodeUnknownEncoding},
		{"JSON", j, header("application/json"), ""},
		{"JSON after a space", "\n " + j, header("application/json"), ""},
		{"JSON in other case and with parameters", j, header(" Application/JSON ; charset=utf-8"), ""},
		{"key in other case", p, []Header{{"Content-Type", []byte("application/x-protobuf")}}, ""},
		{"Protobuf", p, header("application/x-protobuf"), ""},
		{"Protobuf with parameters", p, header("application/X-Protobuf;messageType=chat.v1.Event"), ""},
		{"the last header counts", p, header("application/json", "application/x-protobuf"), ""},
		{"JSON said, Protobuf sent", p, header("application/json"), CodeMalformed},
		{"Protobuf said, JSON sent", j, header("application/x-protobuf"), CodeMalformed},
		{"JSON said, frame sent", frame + j, header("application/json"), CodeMalformed},
		{"Protobuf said, frame sent", frame + "\x00" + p, header("application/x-protobuf"), CodeMalformed},
		{"another type", j, header("application/avro"), CodeUnknownEncoding},
		{"a longer type", j, header("application/json5"), CodeUnknownEncoding},
		{"text", j, header("text/json"), CodeUnknownEncoding},
		{"empty type", j, header(""), CodeUnknownEncoding},

		{"frame, JSON", frame + j, header(), ""},
		{"frame, Protobuf, short index", frame + "\x00" + p, header(), ""},
		{"frame, Protobuf, index [0]", frame + "\x02\x00" + p, header(), ""},
		{"frame, Protobuf, index [0] of old serializers", frame + "\x01\x00" + p, header(), ""},
		{"frame, index [1]", frame + "\x02\x02" + p, header(), CodeUnknownEncoding},
		{"frame, index [0, 0]", frame + "\x04\x00\x00" + p, header(), CodeUnknownEncoding},
		{"frame, index of a negative length", frame + "\x03\x00" + p, header(), CodeUnknownEncoding},
		{"frame, index of a huge length", frame + "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00" + p, header(), CodeUnknownEncoding},
		{"frame, then neither", frame + " " + j, header(), CodeUnknownEncoding},
		{"frame's magic alone", frame[:1], header(), CodeMalformed},
		{"frame cut in its ID", frame[:4], header(), CodeMalformed},
		{"frame without a value", frame, header(), CodeMalformed},
		{"frame cut in its index", frame + "\x02", header(), CodeMalformed},
		{"frame cut in the varint of its index", frame + "\x80", header(), CodeMalformed},
		{"frame cut in the varint of its index's entry", frame + "\x02\x80", header(), CodeMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			record := Record{Value: []byte(test.value), Headers: test.headers, Timestamp: recordTime}
			if test.code == "" {
				mustDecode(t, record)
			} else {
				wantError(t, record, test.code, "")
			}
		})
	}
	// An event without a byte is an event without an ID.
	wantError(t, Record{Value: []byte(frame + "\x00"), Timestamp: recordTime}, CodeMissingField, "id")
}

// TestDecode_MalformedJSON holds what is no JSON.
func TestDecode_MalformedJSON(t *testing.T) {
	good := eventJSON(`"messageSent":{"from":"a","groupID":"g","messageID":"m","sequence":1,"type":"t","payload":{"a":1,"a":2}}`)
	mustDecode(t, jsonRecord(good))
	mustDecode(t, jsonRecord(good[:len(good)-1]+`,"x":`+strings.Repeat("[", 9_999)+strings.Repeat("]", 9_999)+`}`))
	for _, value := range []string{
		`{`, `{}}`, `{} {}`, `{"id"}`, `{"id":}`, `{"id":"e",}`, `{id:"e"}`, `{'id':'e'}`, `{"id":"e" "app":"a"}`,
		`{"id":nul}`, `{"id":NaN}`, `{"id":01}`, `{"id":"e"} // comment`,
		"{\"id\":\"a\nb\"}", `{"id":"\x"}`, `{"id":"\u12"}`,
		good[:len(good)-1], good + "x", good + "\x00",
		// Not UTF-8: raw, as a lone surrogate, in a name, in a payload, in an unknown field.
		"{\"id\":\"\xff\"}", `{"id":"\ud800"}`, "{\"\xc0\xaf\":1}", eventJSON("\"x\":{\"a\":[\"\xed\xa0\x80\"]}"),
		eventJSON("\"messageSent\":{\"payload\":{\"text\":\"\xfe\"}}"), eventJSON(`"messageSent":{"payload":{"text":"\udc00"}}`),
		// Deeper than anybody looks, in an unknown field.
		eventJSON(`"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)),
		// Twice, at each level, written differently.
		`{"id":"e","id":"e"}`, `{"id":null,"\u0069d":"e"}`, eventJSON(`"userErased":{},"userErased":{"userID":"u"}`),
		eventJSON(`"userErased":{"userID":"u","userID":"u"}`),
		eventJSON(`"userProfileChanged":{"userID":"u","profileCustomField":[{"key":"a","key":"b"}]}`),
		// Behind something that is wrong as well: form comes first.
		`{"id":7,"messageSent":{"sequence":"x"},"userErased":{"userID":}}`,
	} {
		wantError(t, jsonRecord(value), CodeMalformed, "")
	}
	for _, value := range []string{`[]`, `"{}"`, `null`, `7`, ` `} {
		record := jsonRecord(value)
		record.Headers = []Header{{HeaderContentType, []byte(ContentTypeJSON)}}
		wantError(t, record, CodeMalformed, "")
	}
}

// wire composes Protobuf by hand, for what no generated code writes.
type wire []byte

func (w wire) bytes(num protowire.Number, value string) wire {
	return protowire.AppendString(protowire.AppendTag(w, num, protowire.BytesType), value)
}

func (w wire) varint(num protowire.Number, value uint64) wire {
	return protowire.AppendVarint(protowire.AppendTag(w, num, protowire.VarintType), value)
}

func (w wire) fixed64(num protowire.Number, value uint64) wire {
	return protowire.AppendFixed64(protowire.AppendTag(w, num, protowire.Fixed64Type), value)
}

func (w wire) group(num protowire.Number, value wire) wire {
	return protowire.AppendGroup(protowire.AppendTag(w, num, protowire.StartGroupType), num, value)
}

// wireHeader is an event without a body.
func wireHeader() wire {
	time := wire{}.varint(1, uint64(eventTime.Seconds())).varint(2, 123_000_000)
	return wire{}.bytes(1, "e1").bytes(2, "demo").bytes(3, string(time))
}

// TestDecode_NamesWhatIsNoText holds that an error says which text is not in UTF-8.
func TestDecode_NamesWhatIsNoText(t *testing.T) {
	for _, test := range []struct {
		value wire
		want  string
	}{
		{wire{}.bytes(1, "\xff"), `id is "\xff"`},
		{wireHeader().bytes(31, "").bytes(2, "\xff"), `app is "\xff"`},
		{wireHeader().bytes(31, string(wire{}.bytes(2, "M\xfcller"))), `userProfileChanged.nick is "M\xfcller"`},
		{wireHeader().bytes(10, string(wire{}.bytes(8, "\xff"))), `messageSent.payload is "\xff"`},
		{wireHeader().bytes(24, string(wire{}.bytes(3, "a").bytes(3, "\xff"))), `conversationGroupsSet.conversationGroupList[1] is "\xff"`},
		{wireHeader().bytes(31, string(wire{}.bytes(14, "").bytes(14, string(wire{}.bytes(2, "\xff"))))), `userProfileChanged.profileCustomField[1] is "\xff"`},
	} {
		want := "malformed: no valid Protobuf: " + test.want + ", expected valid UTF-8"
		if _, err := NewDecoder(DefaultLimits()).Decode(protobufRecord(test.value)); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// TestDecode_SaysWhereAPayloadIsWrong holds it for payloads of which what is shown is fine.
func TestDecode_SaysWhereAPayloadIsWrong(t *testing.T) {
	text := strings.Repeat("x", 100)
	for _, test := range []struct{ payload, want string }{
		{`[]`, `"[]"`},
		{`{"text":"\ud800"}`, `"{\"text\":\"\\ud800\"}" (no valid JSON at byte 9: invalid surrogate pair `},
		{`{"text":"` + text + `",}`, `"{\"text\":\"` + text[:55] + `"… (no valid JSON at byte 111: `},
		{strings.Repeat(`{"":`, 20_000), `… (no valid JSON at byte 40000: exceeded max depth), expected a JSON object`},
	} {
		value := wireHeader().bytes(10, string(wire{}.bytes(1, "a").bytes(3, "g").bytes(5, "m").varint(6, 1).bytes(7, "t").bytes(8, test.payload)))
		want := "invalid_field: messageSent.payload is "
		_, err := NewDecoder(DefaultLimits()).Decode(protobufRecord(value))
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), test.want) || !strings.HasSuffix(err.Error(), "expected a JSON object") {
			t.Errorf("%v, want %s%s", err, want, test.want)
		}
	}
}

// TestDecode_Wire holds what only Protobuf can say.
func TestDecode_Wire(t *testing.T) {
	erased := string(wire{}.bytes(1, "u"))
	read := func(rest wire) wire {
		return wireHeader().bytes(20, string(append(wire{}.bytes(1, "u").bytes(2, "C2Cv"), rest...)))
	}
	for _, test := range []struct {
		name  string
		value wire
		code  Code
		field string
	}{
		{"no body", wireHeader(), CodeBodyCount, ""},
		{"two bodies", wireHeader().bytes(34, erased).bytes(33, ""), CodeBodyCount, ""},
		{"one body twice", wireHeader().bytes(34, erased).bytes(34, erased), CodeBodyCount, ""},
		{"body as a number", wireHeader().varint(34, 1), CodeBodyCount, ""},
		{"unknown number, no body", wireHeader().varint(99, 1).fixed64(100, 1).group(101, nil), CodeBodyCount, ""},
		{"two bodies without an ID", wire{}.bytes(34, erased).bytes(33, ""), CodeMissingField, "id"},
		{"empty ID", wire{}.bytes(1, "").bytes(34, erased), CodeMissingField, "id"},
		{"ID as a number", wire{}.varint(1, 7).bytes(34, erased), CodeMissingField, "id"},
		{"no time", wire{}.bytes(1, "e").bytes(2, "a").bytes(34, erased), CodeMissingField, "time"},
		{"time 1970", wire{}.bytes(1, "e").bytes(2, "a").bytes(3, "").bytes(34, erased), CodeTimeOutOfRange, "time"},
		{"time of other nanoseconds", wire{}.bytes(1, "e").bytes(2, "a").bytes(3, string(wire{}.varint(1, 1_700_000_000).varint(2, 1_000_000_000))), CodeInvalidField, "time"},
		{"time of negative nanoseconds", wire{}.bytes(1, "e").bytes(2, "a").bytes(3, string(wire{}.varint(1, 1_700_000_000).varint(2, ^uint64(0)))), CodeInvalidField, "time"},
		{"time of great seconds", wire{}.bytes(1, "e").bytes(2, "a").bytes(3, string(wire{}.varint(1, 1<<62))), CodeTimeOutOfRange, "time"},
		{"time of small seconds", wire{}.bytes(1, "e").bytes(2, "a").bytes(3, string(wire{}.varint(1, 1<<63))), CodeTimeOutOfRange, "time"},
		{
			"creation of great seconds",
			wireHeader().bytes(30, string(wire{}.bytes(1, "g").bytes(8, string(wire{}.varint(1, 1<<62))))), CodeInvalidField, "groupProfileChanged.createTime",
		},
		{
			"creation of negative nanoseconds",
			wireHeader().bytes(30, string(wire{}.bytes(1, "g").bytes(8, string(wire{}.varint(2, 1<<31))))), CodeInvalidField, "groupProfileChanged.createTime",
		},
		{"no sequence", read(nil), CodeMissingField, "conversationRead.sequence"},
		{"negative sequence", read(wire{}.varint(3, ^uint64(0))), CodeInvalidField, "conversationRead.sequence"},
		{"great sequence", read(wire{}.varint(3, 1<<53)), CodeInvalidField, "conversationRead.sequence"},
		{"sequence as fixed64", read(wire{}.fixed64(3, 7)), CodeMissingField, "conversationRead.sequence"},
		{
			"uint32 over its range",
			wireHeader().bytes(31, string(wire{}.bytes(1, "u").varint(12, 1<<32))), CodeInvalidField, "userProfileChanged.level",
		},
		{
			"payload that is no object",
			wireHeader().bytes(10, string(wire{}.bytes(8, `[]`).bytes(1, "a").bytes(3, "g").bytes(5, "m").varint(6, 1).bytes(7, "t"))), CodeInvalidField, "messageSent.payload",
		},
		{
			"payload with something behind it",
			wireHeader().bytes(10, string(wire{}.bytes(8, `{}{}`).bytes(1, "a").bytes(3, "g").bytes(5, "m").varint(6, 1).bytes(7, "t"))), CodeInvalidField, "messageSent.payload",
		},
		{
			"mark 0",
			wireHeader().bytes(23, string(wire{}.bytes(1, "u").bytes(2, "C2Cv").bytes(3, "\x01\x00"))), CodeInvalidField, "conversationMarked.markList[1]",
		},

		{"cut tag", append(wireHeader(), 0x80), CodeMalformed, ""},
		{"cut value", wireHeader().bytes(34, erased)[:len(wireHeader().bytes(34, erased))-1], CodeMalformed, ""},
		{"field number 0", append(wireHeader(), 0x02, 0x00), CodeMalformed, ""},
		{"field number 2^29", append(wireHeader(), 0x80, 0x80, 0x80, 0x80, 0x10, 0x00), CodeMalformed, ""},
		{"reserved wire type", append(wireHeader(), 0x0f), CodeMalformed, ""},
		{"end of no group", append(wireHeader(), 0x0c), CodeMalformed, ""},
		{"group without an end", append(wireHeader(), 0x0b), CodeMalformed, ""},
		{"varint of 11 bytes", append(wireHeader().varint(99, 0)[:len(wireHeader())+2], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"...), CodeMalformed, ""},
		{"body of another form", wireHeader().bytes(34, "\xff"), CodeMalformed, ""},
		{"time of another form", wireHeader().bytes(3, "\xff").bytes(34, erased), CodeMalformed, ""},
		{"marks of another form", wireHeader().bytes(23, string(wire{}.bytes(3, "\x80"))), CodeMalformed, ""},
		{"custom field of another form", wireHeader().bytes(31, string(wire{}.bytes(14, "\x80"))), CodeMalformed, ""},
		{"ID not in UTF-8", wire{}.bytes(1, "\xff"), CodeMalformed, ""},
		{"text not in UTF-8", wireHeader().bytes(31, string(wire{}.bytes(2, "\xc3"))), CodeMalformed, ""},
		{"payload not in UTF-8", wireHeader().bytes(10, string(wire{}.bytes(8, "{\"a\":\"\xff\"}"))), CodeMalformed, ""},
		{"entry not in UTF-8", wireHeader().bytes(24, string(wire{}.bytes(3, "\xff"))), CodeMalformed, ""},
		{"custom field not in UTF-8", wireHeader().bytes(31, string(wire{}.bytes(14, string(wire{}.bytes(2, "\xff"))))), CodeMalformed, ""},
		{"malformed after two bodies", append(wireHeader().bytes(34, erased).bytes(33, ""), 0x80), CodeMalformed, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, protobufRecord(test.value), test.code, test.field)
		})
	}
	t.Run("unknown body", func(t *testing.T) {
		_, err := NewDecoder(DefaultLimits()).Decode(protobufRecord(wireHeader().bytes(99, "")))
		if err != ErrUnknownBody { //nolint:errorlint // the sentinel itself is the promise
			t.Errorf("Decode = %v, want %v", err, ErrUnknownBody)
		}
	})
}

// TestDecode_WireIsProtobuf holds what the Protobuf specification lets a
// producer write: repeated numbers packed or not, a scalar or a message again,
// fields in any order, unknown ones of every type.
func TestDecode_WireIsProtobuf(t *testing.T) {
	time := wireHeader()[len(wire{}.bytes(1, "e1").bytes(2, "demo")):]
	value := wire{}.
		bytes(23, string(wire{}.varint(3, 9).bytes(3, "\x01\xac\x02").varint(9, 1).bytes(1, "v").varint(3, 2).bytes(2, "C2Cv").bytes(1, "u").fixed64(3, 1))).
		group(50, wire{}.varint(1, 1)).varint(51, 1).fixed64(52, 1).bytes(53, "").
		bytes(3, string(wire{}.varint(1, 5).varint(2, 1000).varint(7, 7))).bytes(2, "x").bytes(1, "y").bytes(1, "e1").bytes(2, "demo")
	value = append(value, time...)
	want := Event{
		ID: "e1", App: "demo", Time: eventTime,
		Body:          &ConversationMarked{ConversationOf{"u", "C2Cv"}, []uint64{1, 2, 9, 300}},
		UnknownFields: 7,
	}
	if diff := cmp.Diff(want, mustDecode(t, protobufRecord(value))); diff != "" {
		t.Errorf("Decode (-want +got):\n%s", diff)
	}
	// A second Timestamp adds to the first.
	value = append(value, wire{}.bytes(3, string(wire{}.varint(2, 456_000_000)))...)
	want.Time += 333_000
	if diff := cmp.Diff(want, mustDecode(t, protobufRecord(value))); diff != "" {
		t.Errorf("Decode with two times (-want +got):\n%s", diff)
	}
}
