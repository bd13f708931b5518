package events

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	errCut  = errors.New("a field is cut off")
	errWire = errors.New("a field is not in the wire format")
)

// wireError is what a negative length of protowire says, in words that stay
// the same: protobuf's own differ from build to build.
func wireError(n int) error {
	if errors.Is(protowire.ParseError(n), io.ErrUnexpectedEOF) {
		return errCut
	}
	return errWire
}

// fromProtobuf reads an event in Protobuf. It reads the wire format itself: the
// generated code keeps only the last of several bodies.
func (r *rawEvent) fromProtobuf(b []byte) *Error {
	err := eachField(b, func(num protowire.Number, typ protowire.Type, value []byte) error {
		switch {
		case num == numID && typ == protowire.BytesType:
			return r.readWire(&fieldID, value)
		case num == numApp && typ == protowire.BytesType:
			return r.readWire(&fieldApp, value)
		case num == numTime && typ == protowire.BytesType:
			return r.readWire(&fieldTime, value)
		case num <= maxBodyNum && bodyByNum[num] != nil && typ == protowire.BytesType:
			return r.readWireBody(bodyByNum[num], value)
		default:
			r.unknown++
			r.unknownBody = r.unknownBody || typ == protowire.BytesType
			return nil
		}
	})
	if err != nil {
		return malformed("no valid Protobuf: " + err.Error())
	}
	return nil
}

// eachField calls read with the number, the wire type and the bytes of each
// field's value (of length-delimited ones without the length).
func eachField(b []byte, read func(protowire.Number, protowire.Type, []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return wireError(n)
		}
		if num > protowire.MaxValidNumber { // ConsumeTag lets these pass
			return errWire
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return wireError(n)
		}
		value := b[:n]
		b = b[n:]
		if typ == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		if err := read(num, typ, value); err != nil {
			return err
		}
	}
	return nil
}

// readWireBody reads the fields of a body.
func (r *rawEvent) readWireBody(spec *bodySpec, b []byte) error {
	r.spec = spec
	r.bodies++
	for i := range spec.fields {
		// A list has no presence in Protobuf: what is not there is empty.
		if f := &spec.fields[i]; f.required && (f.kind == kindTexts || f.kind == kindInts) {
			r.values[f.key].state = present
		}
	}
	return eachField(b, func(num protowire.Number, typ protowire.Type, value []byte) error {
		if num <= maxFieldNumber {
			if i := spec.byNum[num]; i >= 0 && spec.fields[i].takes(typ) {
				return r.readWire(&spec.fields[i], value)
			}
		}
		r.unknown++
		return nil
	})
}

// takes reports whether the field is written with the wire type; any other is
// an unknown field, as the Protobuf specification has it.
func (f *field) takes(typ protowire.Type) bool {
	switch f.kind {
	case kindInt, kindUint32, kindBool:
		return typ == protowire.VarintType
	case kindInts:
		return typ == protowire.VarintType || typ == protowire.BytesType
	default:
		return typ == protowire.BytesType
	}
}

// readWire reads the value of one field.
func (r *rawEvent) readWire(f *field, value []byte) error {
	switch f.kind {
	case kindText:
		if !utf8.Valid(value) {
			return r.badUTF8(f, value)
		}
		r.setText(f, r.textFrom(value))
	case kindInt, kindUint32, kindBool:
		n, _ := protowire.ConsumeVarint(value)
		if f.kind == kindBool {
			n = protowire.EncodeBool(n != 0)
		}
		r.setNum(f.key, int64(n))
	case kindTime:
		return r.readWireTime(f, value)
	case kindObject:
		return r.readWireObject(f, value)
	case kindTexts:
		if !utf8.Valid(value) {
			return r.badUTF8(f, value)
		}
		r.values[f.key].state = present
		r.texts = append(r.texts, r.textFrom(value))
	case kindInts:
		r.values[f.key].state = present
		for len(value) > 0 {
			n, size := protowire.ConsumeVarint(value)
			if size < 0 {
				return wireError(size)
			}
			r.ints = append(r.ints, int64(n))
			value = value[size:]
		}
	case kindKeyValues:
		return r.readWireKeyValue(f, value)
	}
	return nil
}

// readWireTime reads a google.protobuf.Timestamp. A second one adds to the
// first, as the Protobuf specification has it.
func (r *rawEvent) readWireTime(f *field, b []byte) error {
	v := &r.values[f.key]
	v.state = present
	return eachField(b, func(num protowire.Number, typ protowire.Type, value []byte) error {
		n, _ := protowire.ConsumeVarint(value)
		switch {
		case num == 1 && typ == protowire.VarintType:
			v.num = int64(n)
		case num == 2 && typ == protowire.VarintType:
			v.nanos = int32(n)
		default:
			r.unknown++
		}
		return nil
	})
}

// badUTF8 is the error of a text that is none.
func (r *rawEvent) badUTF8(f *field, value []byte) error {
	path := r.path(f)
	if f.kind == kindTexts || f.kind == kindKeyValues {
		path = fmt.Sprintf("%s[%d]", path, len(r.texts)+len(r.pairs))
	}
	return fmt.Errorf("%s is %s, expected valid UTF-8", path, shown(value))
}

func (r *rawEvent) readWireObject(f *field, value []byte) error {
	if !utf8.Valid(value) {
		return r.badUTF8(f, value)
	}
	r.payload = nil
	switch {
	case len(value) == 0:
		r.values[f.key] = rawValue{}
	case validPayload(value):
		r.values[f.key] = rawValue{state: present}
		r.payload = r.compact(value)
	default:
		r.setBadPayload(f.key, value)
	}
	return nil
}

func (r *rawEvent) readWireKeyValue(f *field, b []byte) error {
	var pair KeyValue
	err := eachField(b, func(num protowire.Number, typ protowire.Type, value []byte) error {
		if typ != protowire.BytesType || num > 2 {
			r.unknown++
			return nil
		}
		if !utf8.Valid(value) {
			return r.badUTF8(f, value)
		}
		if num == 1 {
			pair.Key = r.textFrom(value)
		} else {
			pair.Value = r.textFrom(value)
		}
		return nil
	})
	r.values[f.key].state = present
	r.pairs = append(r.pairs, pair)
	return err
}
