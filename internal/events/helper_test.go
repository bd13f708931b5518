package events

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recordTime is the Kafka timestamp of the tests' records.
var recordTime = time.Date(2026, time.November, 23, 3, 0, 5, 0, time.UTC)

// eventTime is the time of eventJSON's events.
var eventTime = MicrosOf(time.Date(2026, time.November, 23, 3, 0, 0, 123_000_000, time.UTC))

// eventJSON is an event with this body member, such as `"userErased":{"userID":"u"}`.
func eventJSON(body string) string {
	return `{"id":"e1","app":"demo","time":"2026-11-23T03:00:00.123Z",` + body + `}`
}

func jsonRecord(value string) Record {
	return Record{Value: []byte(value), Timestamp: recordTime}
}

func protobufRecord(value []byte) Record {
	return Record{
		Value:     value,
		Headers:   []Header{{HeaderContentType, []byte(ContentTypeProtobuf)}},
		Timestamp: recordTime,
	}
}

// mustDecode decodes with the default limits.
func mustDecode(t *testing.T, record Record) Event {
	t.Helper()
	e, err := NewDecoder(DefaultLimits()).Decode(record)
	if err != nil {
		t.Fatalf("Decode(%s) = %v", shown(record.Value), err)
	}
	return e
}

// wantError decodes with the default limits and compares the error's code and field.
func wantError(t *testing.T, record Record, code Code, field string) {
	t.Helper()
	e, err := NewDecoder(DefaultLimits()).Decode(record)
	var got *Error
	if !errors.As(err, &got) {
		t.Fatalf("Decode(%s) = %+v, %v, want code %s", shown(record.Value), e, err, code)
	}
	if got.Code != code || got.Field != field {
		t.Errorf("Decode(%s) = %v (code %s, field %q), want code %s, field %q",
			shown(record.Value), err, got.Code, got.Field, code, field)
	}
	if diff := cmp.Diff(Event{}, e); diff != "" {
		t.Errorf("an event beside the error (-want +got):\n%s", diff)
	}
}

// bothEncodings gives the event as a record of each encoding.
func bothEncodings(t *testing.T, e Event) map[string]Record {
	t.Helper()
	j, err := AppendJSON(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	p, err := AppendProtobuf(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Record{"json": jsonRecord(string(j)), "protobuf": protobufRecord(p)}
}

// codeOf is the code of a dead letter, or "".
func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
