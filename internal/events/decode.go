package events

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Header is one header of a Kafka record.
type Header struct {
	Key   string
	Value []byte
}

// Record is what Decode needs of a Kafka record.
type Record struct {
	// Value is only read, and no event keeps a part of it, unless the decoder shares.
	Value   []byte
	Headers []Header
	// Timestamp is the record's own, which bounds how far ahead an event's time may be.
	Timestamp time.Time
}

// HeaderContentType is the key of the header that names a value's encoding.
const HeaderContentType = "content-type"

// The encodings of a value, as HeaderContentType names them.
const (
	ContentTypeJSON     = "application/json"
	ContentTypeProtobuf = "application/x-protobuf"
)

// minTime is the earliest time of an event.
var minTime = MicrosOf(time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC))

// MaxAhead is how far an event's time may be ahead of its record's timestamp.
const MaxAhead = 10 * time.Minute

// EndOfTime is a timestamp for records whose events are not to be judged by their time, or
// were before: none is ahead of it.
var EndOfTime = time.Unix(maxSeconds, 0).UTC()

// Decoder makes events of records. It is safe for concurrent use and keeps no
// state between records.
type Decoder struct {
	limits Limits
	shares bool
}

// NewDecoder is a Decoder with these limits, which must be valid.
func NewDecoder(limits Limits) *Decoder { return &Decoder{limits: limits} }

// Sharing is a Decoder whose events have their texts in common with the record's value
// where they can: it must never change, and each of them keeps all of it alive. That is
// for who keeps the record for as long as the event.
func (d *Decoder) Sharing() *Decoder { return &Decoder{limits: d.limits, shares: true} }

// Decode reads and checks one record. The error is ErrEmptyValue,
// ErrUnknownBody (both: skip the record), or an *Error (a dead letter).
func (d *Decoder) Decode(record Record) (Event, error) {
	if len(record.Value) == 0 {
		return Event{}, ErrEmptyValue
	}
	r := rawEvents.Get().(*rawEvent)
	defer r.release()
	r.shares = d.shares
	// The order of the checks is part of the package's contract: see doc.go.
	if n := len(record.Value); n > d.limits.EventBytes {
		return Event{}, &Error{
			Code:   CodeTooLarge,
			Reason: fmt.Sprintf("the event is %d bytes, expected at most %d", n, d.limits.EventBytes),
		}
	}
	if err := r.read(record); err != nil {
		return Event{}, err
	}
	if err := r.checkHeader(record.Timestamp); err != nil {
		return Event{}, err
	}
	if r.bodies == 0 && r.unknownBody {
		return Event{}, ErrUnknownBody
	}
	if r.bodies != 1 {
		return Event{}, &Error{
			Code:   CodeBodyCount,
			Reason: fmt.Sprintf("the event has %d bodies, expected exactly one", r.bodies),
		}
	}
	if err := r.checkBody(&d.limits); err != nil {
		return Event{}, err
	}
	body, err := r.spec.build(r)
	if err != nil {
		return Event{}, err
	}
	return Event{
		ID:            r.textOf(keyID),
		App:           r.textOf(keyApp),
		Time:          r.micros(keyTime),
		Body:          body,
		UnknownFields: r.unknown,
	}, nil
}

// read finds the encoding and reads the value.
func (r *rawEvent) read(record Record) *Error {
	value := record.Value
	if contentType, ok := record.ContentType(); ok {
		switch {
		case strings.EqualFold(contentType, ContentTypeJSON):
			return r.fromJSON(value)
		case strings.EqualFold(contentType, ContentTypeProtobuf):
			return r.fromProtobuf(value)
		default:
			return unknownEncoding(fmt.Sprintf("the header %s is %s, expected %s or %s",
				HeaderContentType, shown(contentType), ContentTypeJSON, ContentTypeProtobuf))
		}
	}
	switch value[0] {
	case '{':
		return r.fromJSON(value)
	case confluentMagic:
		return r.fromConfluent(value)
	default:
		return unknownEncoding(fmt.Sprintf("the value begins with byte 0x%02x and has no header %s, expected '{' (JSON) or 0x00 (Confluent)",
			value[0], HeaderContentType))
	}
}

// ContentType is the media type of the last such header, without parameters.
func (r *Record) ContentType() (string, bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if h := &r.Headers[i]; strings.EqualFold(h.Key, HeaderContentType) {
			mediaType, _, _ := bytes.Cut(h.Value, []byte{';'})
			mediaType = bytes.TrimSpace(mediaType)
			for _, known := range [...]string{ContentTypeProtobuf, ContentTypeJSON} {
				if string(mediaType) == known {
					return known, true // and no copy
				}
			}
			return string(mediaType), true
		}
	}
	return "", false
}

func unknownEncoding(reason string) *Error {
	return &Error{Code: CodeUnknownEncoding, Reason: reason}
}

// The Confluent wire format: a zero byte, a 4-byte schema ID, for Protobuf the
// index of the message in its file, and the value.
const (
	confluentMagic  = 0x00
	confluentHeader = 5
)

func (r *rawEvent) fromConfluent(value []byte) *Error {
	if len(value) <= confluentHeader {
		return malformed(fmt.Sprintf("the Confluent frame is %d bytes and ends before its value", len(value)))
	}
	value = value[confluentHeader:]
	if value[0] == '{' {
		return r.fromJSON(value)
	}
	n, err := eventIndex(value)
	if err != nil {
		return err
	}
	return r.fromProtobuf(value[n:])
}

// eventIndex gives the length of the message index, which must be that of
// Event, the first message of the file: 0 for short, or the list [0]. The
// length of a list is a zigzag varint, a plain one with some old serializers.
func eventIndex(b []byte) (int, *Error) {
	length, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return 0, malformed("the Confluent frame's message index is cut off")
	}
	if length == 0 {
		return n, nil
	}
	if length == protowire.EncodeZigZag(1) || length == 1 {
		index, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return 0, malformed("the Confluent frame's message index is cut off")
		}
		if index == 0 {
			return n + m, nil
		}
	}
	return 0, unknownEncoding("the Confluent frame's message index is not that of chat.v1.Event, expected [0]")
}

// The fields of an event beside its body.
var (
	fieldID   = field{key: keyID, num: numID, kind: kindText}
	fieldApp  = field{key: keyApp, num: numApp, kind: kindText}
	fieldTime = field{key: keyTime, num: numTime, kind: kindTime}
)

// checkHeader checks ID, app and time, in this order.
func (r *rawEvent) checkHeader(timestamp time.Time) *Error {
	if err := r.checkName(keyID, "1 to 128 bytes", func(s string) bool { return len(s) <= MaxIDBytes }); err != nil {
		return err
	}
	if err := r.checkName(keyApp, "[A-Za-z0-9_-]{1,64}", ValidApp); err != nil {
		return err
	}
	v := &r.values[keyTime]
	switch {
	case v.state == absent:
		return &Error{Code: CodeMissingField, Field: fieldNames[keyTime], Reason: "is missing, expected " + expectedTime}
	case v.state == wrong:
		return &Error{Code: CodeInvalidField, Field: fieldNames[keyTime], Reason: "is " + v.text + ", expected " + expectedTime}
	case v.nanos < 0 || v.nanos > maxNanos:
		return &Error{Code: CodeInvalidField, Field: fieldNames[keyTime], Reason: nanosReason(v.nanos)}
	}
	latest := timestamp.Add(MaxAhead)
	if latest.Unix() > maxSeconds { // a producer's clock may show anything
		latest = time.Unix(maxSeconds, maxNanos)
	}
	// The seconds are compared first: microseconds of any int64 could overflow.
	if v.num < minTime.Seconds() || v.num > latest.Unix() || r.micros(keyTime) > MicrosOf(latest) {
		return &Error{
			Code:  CodeTimeOutOfRange,
			Field: fieldNames[keyTime],
			Reason: fmt.Sprintf("is %s, expected %s to %s (the record's timestamp and %v)", shownTime(v.num, v.nanos),
				minTime.Time().Format(time.RFC3339), MicrosOf(latest).Time().Format(time.RFC3339Nano), MaxAhead),
		}
	}
	return nil
}

func (r *rawEvent) checkName(key fieldKey, expected string, valid func(string) bool) *Error {
	v := &r.values[key]
	switch {
	case v.state == absent:
		return &Error{Code: CodeMissingField, Field: fieldNames[key], Reason: "is missing, expected " + expected}
	case v.state == wrong:
		return &Error{Code: CodeInvalidField, Field: fieldNames[key], Reason: "is " + v.text + ", expected " + expected}
	case !valid(v.text):
		return &Error{Code: CodeInvalidField, Field: fieldNames[key], Reason: "is " + shown(v.text) + ", expected " + expected}
	default:
		return nil
	}
}

const maxNanos = 999_999_999

func nanosReason(nanos int32) string {
	return fmt.Sprintf("has %d nanoseconds, expected 0 to %d", nanos, maxNanos)
}

// shownTime is a time as an error shows it, whatever its year.
func shownTime(seconds int64, nanos int32) string {
	if seconds < minSeconds || seconds > maxSeconds {
		return fmt.Sprintf("%d seconds from 1970", seconds)
	}
	return time.Unix(seconds, int64(nanos)).UTC().Format(time.RFC3339Nano)
}

// The years 1 to 9999, in seconds since 1970: what RFC 3339 and a Timestamp can both say.
const (
	minSeconds = -62_135_596_800
	maxSeconds = 253_402_300_799
)
