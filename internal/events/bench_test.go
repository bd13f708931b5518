package events

import "testing"

// benchmarkEvent is a text message in a group, of the usual size.
var benchmarkEvent = Event{
	ID: "01JDB9YHZ3W5V0X6Q7R8S9T0AB", App: "demo", Time: eventTime,
	Body: &MessageSent{
		Conversation: Group("@TGS#2J4SZEAEL"), From: "alice", MessageID: "144115233406643804-1727580296-4026038328", Sequence: 4711,
		Type: TypeText, Payload: []byte(`{"text":"Does anybody know whether the train to Oslo is late today?"}`),
		MessageForShow: "Does anybody know whether the train to Oslo is late today?",
		Nick:           "Alice", Avatar: "https://example.org/avatars/alice.png",
	},
}

func benchmarkDecode(b *testing.B, decoder *Decoder, value []byte, contentType string) {
	record := Record{Value: value, Headers: []Header{{HeaderContentType, []byte(contentType)}}, Timestamp: recordTime}
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decoder.Decode(record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	value, err := AppendJSON(nil, benchmarkEvent)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkDecode(b, NewDecoder(DefaultLimits()), value, ContentTypeJSON)
}

func BenchmarkDecodeProtobuf(b *testing.B) {
	value, err := AppendProtobuf(nil, benchmarkEvent)
	if err != nil {
		b.Fatal(err)
	}
	decoder := NewDecoder(DefaultLimits())
	b.Run("copied", func(b *testing.B) { benchmarkDecode(b, decoder, value, ContentTypeProtobuf) })
	b.Run("shared", func(b *testing.B) { benchmarkDecode(b, decoder.Sharing(), value, ContentTypeProtobuf) })
}

func benchmarkEncode(b *testing.B, encode func([]byte, Event) ([]byte, error)) {
	var value []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if value, err = encode(value[:0], benchmarkEvent); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(value)))
}

func BenchmarkAppendJSON(b *testing.B)     { benchmarkEncode(b, AppendJSON) }
func BenchmarkAppendProtobuf(b *testing.B) { benchmarkEncode(b, AppendProtobuf) }

func BenchmarkKey(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if Key(benchmarkEvent) == "" {
			b.Fatal("empty key")
		}
	}
}
