package events

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fromJSON reads an event in JSON.
func (r *rawEvent) fromJSON(value []byte) *Error {
	// Duplicates are looked for in the objects that are read here, not within
	// payloads and unknown fields, which are nobody's business.
	err := json.Unmarshal(value, (*jsonEvent)(r), jsontext.AllowDuplicateNames(true))
	if err == nil {
		return nil
	}
	var reason *jsonError
	if errors.As(err, &reason) {
		return malformed(reason.Error())
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return malformed(fmt.Sprintf("no valid JSON at byte %d: %v", syntax.ByteOffset, syntax.Err))
	}
	return malformed("no valid JSON")
}

// jsonError is valid JSON that is no event.
type jsonError struct{ reason string }

func (e *jsonError) Error() string { return e.reason }

// jsonEvent reads the members of a rawEvent.
type jsonEvent rawEvent

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (e *jsonEvent) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	r := (*rawEvent)(e)
	if dec.PeekKind() != '{' {
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		return &jsonError{"the event is " + shownJSON(raw) + ", expected a JSON object"}
	}
	return readMembers(dec, func(name []byte) (int, bool) {
		switch string(name) {
		case "id":
			return int(numID), true
		case "app":
			return int(numApp), true
		case "time":
			return int(numTime), true
		default:
			if spec, ok := bodyByName[string(name)]; ok {
				return int(spec.num), true
			}
			return 0, false
		}
	}, func(i int) error {
		switch i {
		case int(numID):
			return r.readJSON(dec, &fieldID)
		case int(numApp):
			return r.readJSON(dec, &fieldApp)
		case int(numTime):
			return r.readJSON(dec, &fieldTime)
		default:
			return r.readBody(dec, bodyByNum[i])
		}
	}, func(k jsontext.Kind) {
		r.unknown++
		r.unknownBody = r.unknownBody || k == '{'
	})
}

// readBody reads what stands for a body.
func (r *rawEvent) readBody(dec *jsontext.Decoder, spec *bodySpec) error {
	switch dec.PeekKind() {
	case 'n':
		return dec.SkipValue()
	case '{':
		r.spec = spec
		r.bodies++
		return readMembers(dec,
			func(name []byte) (int, bool) { i, ok := spec.byName[string(name)]; return i, ok },
			func(i int) error { return r.readJSON(dec, &spec.fields[i]) },
			func(jsontext.Kind) { r.unknown++ })
	default:
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		r.spec = spec
		r.bodies++
		r.notObject = shownJSON(raw)
		return nil
	}
}

// readMembers reads an object: the values of the names that find knows with
// read, none of which may be there twice; the others are skipped and, unless null, told to
// unknown.
func readMembers(dec *jsontext.Decoder, find func([]byte) (int, bool), read func(int) error, unknown func(jsontext.Kind)) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	var seen uint64
	for dec.PeekKind() != '}' {
		name, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if name, err = unquoted(name); err != nil {
			return err
		}
		i, known := find(name)
		if known {
			if seen&(1<<i) != 0 {
				return &jsonError{"the member " + shown(name) + " is there twice"}
			}
			seen |= 1 << i
			if err := read(i); err != nil {
				return err
			}
			continue
		}
		if k := dec.PeekKind(); k != 'n' {
			unknown(k)
		}
		if err := dec.SkipValue(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// readJSON reads the value of one field.
func (r *rawEvent) readJSON(dec *jsontext.Decoder, f *field) error {
	k := dec.PeekKind()
	switch {
	case k == 'n': // null is absent
		return dec.SkipValue()
	case k == '[' && f.kind == kindTexts, k == '[' && f.kind == kindInts, k == '[' && f.kind == kindKeyValues:
		return r.readJSONList(dec, f)
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return err
	}
	switch {
	case k == '"' && f.kind == kindText:
		s, err := unquoted(raw)
		if err != nil {
			return err
		}
		r.setText(f, string(s))
		return nil
	case k == '"' && f.kind == kindTime:
		s, err := unquoted(raw)
		if err != nil {
			return err
		}
		if seconds, nanos, ok := parseRFC3339(string(s)); ok {
			r.values[f.key] = rawValue{state: present, num: seconds, nanos: nanos}
			return nil
		}
	case (k == '0' || k == '"') && (f.kind == kindInt || f.kind == kindUint32):
		if n, ok := parseInt(raw); ok {
			r.setNum(f.key, n)
			return nil
		}
	case (k == 't' || k == 'f') && f.kind == kindBool:
		r.setNum(f.key, 0)
		if k == 't' {
			r.setNum(f.key, 1)
		}
		return nil
	case k == '{' && f.kind == kindObject:
		r.values[f.key].state = present
		r.payload = compact(raw) // the reader's own, and gone with it
		return nil
	}
	r.setWrong(f.key, -1, shownJSON(raw))
	return nil
}

// readJSONList reads a list. An entry that is null is absent; of entries of
// another type, the first is kept for the error.
func (r *rawEvent) readJSONList(dec *jsontext.Decoder, f *field) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	r.values[f.key].state = present
	for i := int64(0); dec.PeekKind() != ']'; i++ {
		k := dec.PeekKind()
		if k == '{' && f.kind == kindKeyValues {
			if err := r.readKeyValue(dec, f, i); err != nil {
				return err
			}
			continue
		}
		raw, err := dec.ReadValue()
		if err != nil {
			return err
		}
		switch {
		case k == 'n':
			r.nulls = append(r.nulls, int(i)) // less than the event's bytes
			continue
		case k == '"' && f.kind == kindTexts:
			s, err := unquoted(raw)
			if err != nil {
				return err
			}
			r.texts = append(r.texts, string(s))
			continue
		case (k == '0' || k == '"') && f.kind == kindInts:
			if n, ok := parseInt(raw); ok {
				r.ints = append(r.ints, n)
				continue
			}
		}
		r.setWrongEntry(f.key, i, shownJSON(raw))
	}
	_, err := dec.ReadToken()
	return err
}

// readKeyValue reads one entry of a list of KeyValue.
func (r *rawEvent) readKeyValue(dec *jsontext.Decoder, f *field, entry int64) error {
	var pair KeyValue
	err := readMembers(dec, func(name []byte) (int, bool) {
		switch string(name) {
		case "key":
			return 0, true
		case "value":
			return 1, true
		default:
			return 0, false
		}
	}, func(i int) error {
		k := dec.PeekKind()
		raw, err := dec.ReadValue()
		switch {
		case err != nil:
			return err
		case k == 'n':
			return nil
		case k != '"':
			r.setWrongEntry(f.key, entry, shown(`{"`+[...]string{"key", "value"}[i]+`":`+string(raw)+`}`))
			return nil
		}
		s, err := unquoted(raw)
		if i == 0 {
			pair.Key = string(s)
		} else {
			pair.Value = string(s)
		}
		return err
	}, func(jsontext.Kind) { r.unknown++ })
	r.pairs = append(r.pairs, pair)
	return err
}

// unquoted is the content of a valid JSON string; it may share raw's memory.
func unquoted(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(make([]byte, 0, len(raw)), raw)
}

// shownJSON is a JSON value as an error shows it: 7 is no string, as "7" is.
func shownJSON(raw []byte) string {
	switch raw[0] {
	case '"':
		if s, err := unquoted(raw); err == nil {
			return shown(s)
		}
	case '{', '[': // may have lines
	default:
		if len(raw) <= maxShownBytes {
			return string(raw)
		}
	}
	return shown(raw)
}

// parseInt reads an integer without fraction and exponent, as a JSON number or string.
func parseInt(raw []byte) (int64, bool) {
	if raw[0] == '"' {
		s, err := unquoted(raw)
		if err != nil {
			return 0, false
		}
		raw = s
	}
	for i, c := range raw {
		if !isDigit(c) && (c != '-' || i > 0) {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}
