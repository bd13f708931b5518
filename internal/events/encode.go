package events

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protowire"
)

// AppendJSON appends the event in JSON, on one line. It refuses what Decode
// would refuse whatever its limits and the record's timestamp.
func AppendJSON(dst []byte, e Event) ([]byte, error) {
	r := rawEvents.Get().(*rawEvent)
	defer r.release()
	if err := r.fill(e); err != nil {
		return dst, fmt.Errorf("encode event %s: %w", shown(e.ID), err)
	}
	return r.appendJSON(dst), nil
}

// AppendProtobuf appends the event in Protobuf (chat.v1.Event), with the same
// checks as AppendJSON.
func AppendProtobuf(dst []byte, e Event) ([]byte, error) {
	r := rawEvents.Get().(*rawEvent)
	defer r.release()
	if err := r.fill(e); err != nil {
		return dst, fmt.Errorf("encode event %s: %w", shown(e.ID), err)
	}
	return r.appendProtobuf(dst), nil
}

// fill reads an event into r and checks it.
func (r *rawEvent) fill(e Event) error {
	if e.Body == nil {
		return errors.New("no body")
	}
	spec := bodyByName[e.Body.Kind()]
	if spec == nil {
		return fmt.Errorf("unknown body %T", e.Body)
	}
	r.putText(keyID, e.ID)
	r.putText(keyApp, e.App)
	r.putTime(keyTime, e.Time)
	if err := r.checkHeader(e.Time.Time()); err != nil {
		return err
	}
	r.spec, r.bodies = spec, 1
	if !spec.fill(r, e.Body) {
		return fmt.Errorf("%s is %T", spec.name, e.Body)
	}
	if err := r.checkUTF8(); err != nil {
		return err
	}
	if err := r.checkBody(&unlimited); err != nil {
		return err
	}
	if spec.num <= lastMessageNum {
		_, err := r.address(spec.name == "messageSent")
		if err != nil {
			return err
		}
	}
	return nil
}

// lastMessageNum is the last number of a body of chat.messages.
const lastMessageNum = 19

func (r *rawEvent) checkUTF8() error {
	if notUTF8(r.textOf(keyID)) {
		return errors.New("id is not valid UTF-8")
	}
	for i := range r.spec.fields {
		if f := &r.spec.fields[i]; f.kind == kindText && notUTF8(r.textOf(f.key)) {
			return fmt.Errorf("%s is not valid UTF-8", r.path(f))
		}
	}
	if !slices.ContainsFunc(r.texts, notUTF8) &&
		!slices.ContainsFunc(r.pairs, func(p KeyValue) bool { return notUTF8(p.Key) || notUTF8(p.Value) }) {
		return nil
	}
	return errors.New("a list holds a string that is not valid UTF-8")
}

func notUTF8(s string) bool { return !utf8.ValidString(s) }

func (r *rawEvent) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendQuoted(dst, r.textOf(keyID))
	dst = append(dst, `,"app":`...)
	dst = appendQuoted(dst, r.textOf(keyApp))
	dst = append(dst, `,"time":`...)
	dst = r.appendJSONValue(dst, &fieldTime)
	dst = append(dst, `,"`...)
	dst = append(dst, r.spec.name...)
	dst = append(dst, `":{`...)
	first := true
	for i := range r.spec.fields {
		f := &r.spec.fields[i]
		if !r.has(f.key) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		dst = append(dst, fieldNames[f.key]...)
		dst = append(dst, `":`...)
		dst = r.appendJSONValue(dst, f)
	}
	return append(dst, `}}`...)
}

func (r *rawEvent) appendJSONValue(dst []byte, f *field) []byte {
	v := &r.values[f.key]
	switch f.kind {
	case kindText:
		return appendQuoted(dst, v.text)
	case kindInt, kindUint32:
		return strconv.AppendInt(dst, v.num, 10)
	case kindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case kindTime:
		dst = append(dst, '"')
		dst = time.Unix(v.num, int64(v.nanos)).UTC().AppendFormat(dst, time.RFC3339Nano)
		return append(dst, '"')
	case kindObject:
		return appendCompact(dst, r.payload)
	case kindTexts:
		return appendJSONList(dst, r.texts, appendQuoted)
	case kindInts:
		return appendJSONList(dst, r.ints, func(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) })
	case kindKeyValues:
		return appendJSONList(dst, r.pairs, func(dst []byte, pair KeyValue) []byte {
			dst = append(dst, `{"key":`...)
			dst = appendQuoted(dst, pair.Key)
			dst = append(dst, `,"value":`...)
			dst = appendQuoted(dst, pair.Value)
			return append(dst, '}')
		})
	default:
		return dst
	}
}

func appendJSONList[T any](dst []byte, list []T, appendEntry func([]byte, T) []byte) []byte {
	dst = append(dst, '[')
	for i, entry := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEntry(dst, entry)
	}
	return append(dst, ']')
}

// appendQuoted appends valid UTF-8 as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

func (r *rawEvent) appendProtobuf(dst []byte) []byte {
	dst = r.appendWire(dst, &fieldID)
	dst = r.appendWire(dst, &fieldApp)
	dst = r.appendWire(dst, &fieldTime)
	body := r.scratch[:0]
	for i := range r.spec.fields {
		if f := &r.spec.fields[i]; r.has(f.key) {
			body = r.appendWire(body, f)
		}
	}
	r.scratch = body
	dst = protowire.AppendTag(dst, r.spec.num, protowire.BytesType)
	return protowire.AppendBytes(dst, body)
}

// appendWire appends a field that is there.
func (r *rawEvent) appendWire(dst []byte, f *field) []byte {
	v := &r.values[f.key]
	switch f.kind {
	case kindText:
		dst = protowire.AppendTag(dst, f.num, protowire.BytesType)
		return protowire.AppendString(dst, v.text)
	case kindInt, kindUint32, kindBool:
		dst = protowire.AppendTag(dst, f.num, protowire.VarintType)
		return protowire.AppendVarint(dst, uint64(v.num))
	case kindTime:
		return appendWireTime(dst, f.num, v.num, v.nanos)
	case kindObject:
		dst = protowire.AppendTag(dst, f.num, protowire.BytesType)
		return protowire.AppendBytes(dst, r.payload)
	case kindTexts:
		for _, s := range r.texts {
			dst = protowire.AppendTag(dst, f.num, protowire.BytesType)
			dst = protowire.AppendString(dst, s)
		}
	case kindInts:
		if len(r.ints) == 0 {
			return dst
		}
		size := 0
		for _, n := range r.ints {
			size += protowire.SizeVarint(uint64(n))
		}
		dst = protowire.AppendTag(dst, f.num, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		for _, n := range r.ints {
			dst = protowire.AppendVarint(dst, uint64(n))
		}
	case kindKeyValues:
		for _, pair := range r.pairs {
			dst = protowire.AppendTag(dst, f.num, protowire.BytesType)
			dst = protowire.AppendVarint(dst, uint64(sizeOptional(1, pair.Key)+sizeOptional(2, pair.Value)))
			dst = appendOptional(dst, 1, pair.Key)
			dst = appendOptional(dst, 2, pair.Value)
		}
	}
	return dst
}

func appendWireTime(dst []byte, num protowire.Number, seconds int64, nanos int32) []byte {
	var b [20]byte
	timestamp := b[:0]
	if seconds != 0 {
		timestamp = protowire.AppendTag(timestamp, 1, protowire.VarintType)
		timestamp = protowire.AppendVarint(timestamp, uint64(seconds))
	}
	if nanos != 0 {
		timestamp = protowire.AppendTag(timestamp, 2, protowire.VarintType)
		timestamp = protowire.AppendVarint(timestamp, uint64(nanos))
	}
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendBytes(dst, timestamp)
}

func sizeOptional(num protowire.Number, s string) int {
	if s == "" {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeBytes(len(s))
}

func appendOptional(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}
