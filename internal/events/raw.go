package events

import (
	"sync"
	"unsafe"
)

// rawEvent is an event between the bytes and the Go types: what both encodings
// are read into and written from, before any rule but those of the encoding
// has been checked. Everything in it is a copy, unless it shares.
type rawEvent struct {
	shares bool
	// values of the header and of the body, by field.
	values [keyCount]rawValue
	// The body's payload and its list: no body has two.
	payload []byte
	texts   []string
	ints    []int64
	pairs   []KeyValue
	// nulls are the places of the list's entries that are null, ascending. They are in
	// none of the above.
	nulls []int

	// spec is the body read last, of bodies known ones.
	spec   *bodySpec
	bodies int
	// notObject is what stands where the body's object should (JSON only).
	notObject string
	// unknownBody says that an unknown field could be a newer body.
	unknownBody bool
	// unknown counts the ignored fields.
	unknown int

	// scratch is where a writer composes what needs its length before it.
	scratch []byte
}

type valueState uint8

const (
	absent valueState = iota
	present
	// wrong is of another type than the field's.
	wrong
)

// rawValue is one field's value.
type rawValue struct {
	state valueState
	nanos int32
	// num is an integer, a boolean (0 or 1), or the seconds of a time since
	// 1970; of a wrong list: the index of the entry, or -1 for the whole.
	num int64
	// text is a text, or the wrong value as an error shows it.
	text string
}

var rawEvents = sync.Pool{New: func() any { return new(rawEvent) }}

// release gives r back without keeping anything of the event alive.
func (r *rawEvent) release() {
	scratch := r.scratch[:0]
	if cap(scratch) > maxKeptScratch {
		scratch = nil
	}
	*r = rawEvent{scratch: scratch}
	rawEvents.Put(r)
}

// maxKeptScratch is the largest buffer that outlives its event.
const maxKeptScratch = 64 * kilobyte

// textFrom is a text that is part of a record's value.
func (r *rawEvent) textFrom(value []byte) string {
	if r.shares && len(value) > 0 {
		return unsafe.String(&value[0], len(value)) // it never changes, see Decoder.Sharing
	}
	return string(value)
}

func (r *rawEvent) setText(f *field, s string) {
	// Absent and empty are one, unless the field says otherwise.
	if s != "" || f.presence {
		r.values[f.key] = rawValue{state: present, text: s}
	} else {
		r.values[f.key] = rawValue{}
	}
}

func (r *rawEvent) setNum(key fieldKey, n int64) {
	r.values[key] = rawValue{state: present, num: n}
}

func (r *rawEvent) setWrong(key fieldKey, entry int64, value string) {
	r.values[key] = rawValue{state: wrong, num: entry, text: value}
}

// setWrongEntry remembers the first wrong entry of a list.
func (r *rawEvent) setWrongEntry(key fieldKey, entry int64, value string) {
	if r.values[key].state != wrong {
		r.setWrong(key, entry, value)
	}
}

// place is where the list's entry i stood among those that were sent.
func (r *rawEvent) place(i int) int {
	for _, null := range r.nulls {
		if null > i {
			break
		}
		i++
	}
	return i
}

func (r *rawEvent) has(key fieldKey) bool      { return r.values[key].state == present }
func (r *rawEvent) textOf(key fieldKey) string { return r.values[key].text }
func (r *rawEvent) uint(key fieldKey) uint64   { return uint64(r.values[key].num) }
func (r *rawEvent) bool(key fieldKey) bool     { return r.values[key].num != 0 }

// uintOr is the field's number, or its default when absent.
func (r *rawEvent) uintOr(key fieldKey, absent uint64) uint64 {
	if !r.has(key) {
		return absent
	}
	return r.uint(key)
}

// textOr is the field's text, or its default when absent.
func (r *rawEvent) textOr(key fieldKey, absent string) string {
	if !r.has(key) {
		return absent
	}
	return r.textOf(key)
}

// micros is a checked time, cut toward the past to the microsecond.
func (r *rawEvent) micros(key fieldKey) Micros {
	v := &r.values[key]
	return Micros(v.num*1_000_000 + int64(v.nanos)/1000)
}
