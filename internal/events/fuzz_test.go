package events

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// codes are all codes of dead letters.
var codes = []Code{
	CodeMalformed, CodeUnknownEncoding, CodeMissingField, CodeInvalidField, CodeInvalidAddress, CodeBodyCount, CodeTooLarge, CodeTimeOutOfRange,
}

// checkAny holds what Decode promises for any bytes: an event that survives
// both encodings, or one of its errors, on one readable line; and the value as
// it was.
func checkAny(t *testing.T, record Record) (Event, error) {
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
		if dead == nil {
			return e, err
		}
		line := dead.Error()
		if !slices.Contains(codes, dead.Code) || len(line) > 1000 || !utf8.ValidString(line) ||
			strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("not one readable line of a known code: %q", line)
		}
		return e, err
	}
	plain := e
	plain.UnknownFields = 0
	for encoding, again := range bothEncodings(t, plain) {
		got, err := NewDecoder(DefaultLimits()).Decode(again)
		if codeOf(err) == CodeTooLarge && len(again.Value) > DefaultLimits().EventBytes {
			continue // a preview that had been cut, or a default, is written out
		}
		if err != nil {
			t.Fatalf("again, from %s %q: %v", encoding, again.Value, err)
		}
		if diff := cmp.Diff(plain, got); diff != "" {
			t.Fatalf("again, from %s (-want +got):\n%s", encoding, diff)
		}
	}
	return e, nil
}

// checkSame holds that other bytes of the same meaning give the same.
func checkSame(t *testing.T, want Event, wantErr error, record Record) {
	t.Helper()
	got, err := NewDecoder(DefaultLimits()).Decode(record)
	if codeOf(err) == CodeTooLarge && len(record.Value) > DefaultLimits().EventBytes {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" || codeOf(err) != codeOf(wantErr) {
		t.Fatalf("%q gives %v, want %v (-want +got):\n%s", record.Value, err, wantErr, diff)
	}
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

// FuzzDecodeJSON also holds that what jsontext refuses is malformed, and that
// whitespace and unknown fields change nothing.
func FuzzDecodeJSON(f *testing.F) {
	addSamples(f, ".json")
	asJSON := func(value []byte) Record {
		return Record{Value: value, Headers: []Header{{HeaderContentType, []byte(ContentTypeJSON)}}, Timestamp: recordTime}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := checkAny(t, asJSON(value))
		if !jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true)) {
			if code := codeOf(err); code != CodeMalformed && code != CodeTooLarge && len(value) > 0 {
				t.Fatalf("invalid JSON gave %v", err)
			}
			return
		}
		spaced := jsontext.Value(bytes.Clone(value))
		if err := spaced.Indent(jsontext.AllowDuplicateNames(true)); err != nil {
			t.Fatal(err)
		}
		checkSame(t, e, err, asJSON(spaced))
		if trimmed := bytes.TrimLeft(value, " \t\r\n"); trimmed[0] == '{' && err == nil {
			e.UnknownFields++
			checkSame(t, e, nil, asJSON(append([]byte(`{"a field of tomorrow":[{}],`), trimmed[1:]...)))
		}
	})
}

// FuzzDecodeProtobuf also holds that what the generated code refuses is
// malformed, and that what it writes of what it read means the same.
func FuzzDecodeProtobuf(f *testing.F) {
	addSamples(f, ".binpb")
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := checkAny(t, protobufRecord(value))
		message := new(eventspb.Event)
		refused := proto.Unmarshal(value, message)
		if code := codeOf(err); refused != nil && code != CodeMalformed && code != CodeTooLarge {
			t.Fatalf("%v gave %v", refused, err)
		}
		if err != nil {
			return
		}
		again, err := proto.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, e, nil, protobufRecord(again))
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
		_, err := checkAny(t, jsonRecord(string(value)))
		if len(value) > 0 && value[0] != '{' && value[0] != 0 && codeOf(err) != CodeUnknownEncoding {
			t.Fatalf("bytes of no encoding gave %v", err)
		}
	})
}
