package events

import (
	"errors"
	"strconv"
	"unicode/utf8"
)

// Records that hold no event for this version: skip them and count them.
var (
	// ErrEmptyValue is the error of a record without a value (a tombstone).
	ErrEmptyValue = errors.New("empty value")
	// ErrUnknownBody is the error of an event whose only body is unknown: a
	// newer producer's. Its ID, app and time have been checked.
	ErrUnknownBody = errors.New("unknown body")
)

// Code says why an event is a dead letter.
type Code string

// The codes of dead letters.
const (
	// CodeMalformed: the bytes are not what their encoding says.
	CodeMalformed Code = "malformed"
	// CodeUnknownEncoding: neither JSON nor Protobuf of an Event.
	CodeUnknownEncoding Code = "unknown_encoding"
	// CodeMissingField: a required field is absent.
	CodeMissingField Code = "missing_field"
	// CodeInvalidField: a field's value is of the wrong type or out of its range.
	CodeInvalidField Code = "invalid_field"
	// CodeInvalidAddress: the fields do not name one conversation.
	CodeInvalidAddress Code = "invalid_address"
	// CodeBodyCount: no body, or several.
	CodeBodyCount Code = "body_count"
	// CodeTooLarge: over one of the Limits.
	CodeTooLarge Code = "too_large"
	// CodeTimeOutOfRange: before 2000, or too far ahead of the record's timestamp.
	CodeTimeOutOfRange Code = "time_out_of_range"
)

// Codes are all codes.
func Codes() []Code {
	return []Code{
		CodeMalformed, CodeUnknownEncoding, CodeMissingField, CodeInvalidField,
		CodeInvalidAddress, CodeBodyCount, CodeTooLarge, CodeTimeOutOfRange,
	}
}

// Error is why a record is a dead letter. The same record always gives the same Error.
type Error struct {
	Code Code
	// Field is the path of the field, such as "messageSent.sequence"; empty when it is the whole event.
	Field string
	// Reason follows the field's name in a sentence: the value, shortened and
	// quoted, and what was expected.
	Reason string
}

// Error is one readable line.
func (e *Error) Error() string {
	if e.Field == "" {
		return string(e.Code) + ": " + e.Reason
	}
	return string(e.Code) + ": " + e.Field + " " + e.Reason
}

// The bounds of what an error quotes: a reason travels in a record's header.
const (
	maxShownBytes  = 64
	maxReasonBytes = 400
)

// shown is a value as an error shows it: quoted, and shortened at a rune.
func shown[T ~string | ~[]byte](value T) string {
	if len(value) <= maxShownBytes {
		return strconv.Quote(string(value))
	}
	return strconv.Quote(shortened(string(value[:min(len(value), maxShownBytes+utf8.UTFMax)]), maxShownBytes)) + "…"
}

// shortened cuts s before the rune that would pass n bytes.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func malformed(reason string) *Error {
	return &Error{Code: CodeMalformed, Reason: shortened(reason, maxReasonBytes)}
}
