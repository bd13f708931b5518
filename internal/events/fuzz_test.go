package events

import (
	"errors"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// checkAny holds what Decode promises for any bytes: an event that survives
// both encodings, or one of its errors; and the value as it was.
func checkAny(t *testing.T, record Record) error {
	t.Helper()
	before := string(record.Value)
	e, err := NewDecoder(DefaultLimits()).Decode(record)
	if string(record.Value) != before {
		t.Fatalf("the value became %q", record.Value)
	}
	if err != nil {
		var dead *Error
		if !errors.Is(err, ErrEmptyValue) && !errors.Is(err, ErrUnknownBody) && !errors.As(err, &dead) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if dead != nil && len(dead.Error()) > 1000 {
			t.Fatalf("an error of %d bytes: %v", len(dead.Error()), dead)
		}
		return err
	}
	e.UnknownFields = 0
	for encoding, again := range bothEncodings(t, e) {
		got, err := NewDecoder(DefaultLimits()).Decode(again)
		if codeOf(err) == CodeTooLarge && len(again.Value) > DefaultLimits().EventBytes {
			continue // a preview that had been cut, or a default, is written out
		}
		if err != nil {
			t.Fatalf("again, from %s %q: %v", encoding, again.Value, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Fatalf("again, from %s (-want +got):\n%s", encoding, diff)
		}
	}
	return nil
}

func addSamples(f *testing.F, suffix string) {
	f.Helper()
	for _, bad := range []bool{false, true} {
		for _, name := range sampleFiles(f, suffix, bad) {
			if value := readSample(f, name); len(value) < 10_000 {
				f.Add(value)
			}
		}
	}
}

// FuzzDecodeJSON also holds that what jsontext refuses is malformed.
func FuzzDecodeJSON(f *testing.F) {
	addSamples(f, ".json")
	f.Fuzz(func(t *testing.T, value []byte) {
		record := jsonRecord(string(value))
		record.Headers = []Header{{HeaderContentType, []byte(ContentTypeJSON)}}
		err := checkAny(t, record)
		valid := jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true))
		if code := codeOf(err); !valid && code != CodeMalformed && code != CodeTooLarge && len(value) > 0 {
			t.Fatalf("invalid JSON gave %v", err)
		}
	})
}

// FuzzDecodeProtobuf also holds that what the generated code refuses is malformed.
func FuzzDecodeProtobuf(f *testing.F) {
	addSamples(f, ".binpb")
	f.Fuzz(func(t *testing.T, value []byte) {
		err := checkAny(t, protobufRecord(value))
		refused := proto.Unmarshal(value, new(eventspb.Event))
		if code := codeOf(err); refused != nil && code != CodeMalformed && code != CodeTooLarge {
			t.Fatalf("%v gave %v", refused, err)
		}
	})
}

// FuzzDecodeFrame reads bytes without a header, as they come.
func FuzzDecodeFrame(f *testing.F) {
	addSamples(f, ".raw")
	for _, name := range sampleFiles(f, ".json", false) {
		f.Add(append([]byte("\x00\x00\x00\x00\x07"), readSample(f, name)...))
	}
	for _, name := range sampleFiles(f, ".binpb", false) {
		f.Add(append([]byte("\x00\x00\x00\x00\x07\x00"), readSample(f, name)...))
		f.Add(append([]byte("\x00\x00\x00\x00\x07\x02\x00"), readSample(f, name)...))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		err := checkAny(t, jsonRecord(string(value)))
		if len(value) > 0 && value[0] != '{' && value[0] != 0 && codeOf(err) != CodeUnknownEncoding {
			t.Fatalf("bytes of no encoding gave %v", err)
		}
	})
}
