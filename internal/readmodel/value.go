package readmodel

import (
	"errors"
	"strconv"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// A value is the text in which a register with several fields, or a set, is
// stored: see the head of schemas/clickhouse/generation.sql. Values are in the
// order of their fields, since the separator is less than any byte of a field.
// So the engine decides ties as package projection does, and the first fields of
// the greatest value are the greatest of the first fields.
const (
	separator = '\x00'
	escape    = '\x01'
)

// The widths of numbers: the greatest has as many digits.
const (
	width32 = 10
	width64 = 20
)

// valueWriter writes a value field by field.
type valueWriter struct {
	b    []byte
	some bool // a field is written
}

// reset begins another value in the same place.
func (w *valueWriter) reset() { w.b, w.some = w.b[:0], false }

func (w *valueWriter) next() {
	if w.some {
		w.b = append(w.b, separator)
	}
	w.some = true
}

func (w *valueWriter) text(s string) {
	w.next()
	if strings.IndexByte(s, separator) < 0 && strings.IndexByte(s, escape) < 0 { // hardly any has
		w.b = append(w.b, s...)
		return
	}
	for i := range len(s) {
		if c := s[i]; c == separator || c == escape {
			w.b = append(w.b, escape, c+1)
		} else {
			w.b = append(w.b, c)
		}
	}
}

// number appends a number with leading zeros.
func (w *valueWriter) number(n uint64, width int) {
	w.next()
	at := len(w.b)
	for range width {
		w.b = append(w.b, '0')
	}
	for i := at + width - 1; n > 0; i-- {
		w.b[i] += byte(n % 10)
		n /= 10
	}
}

func (w *valueWriter) uint32(n uint32) { w.number(uint64(n), width32) }

func (w *valueWriter) uint64(n uint64) { w.number(n, width64) }

// signBit is flipped so that negative numbers come first.
const signBit = 1 << 63

func (w *valueWriter) time(t events.Micros) { w.uint64(uint64(t) ^ signBit) } // the same bits

func (w *valueWriter) bool(is bool) {
	if is {
		w.text("1")
	} else {
		w.text("0")
	}
}

func (w *valueWriter) pairs(list []events.KeyValue) {
	for _, p := range list {
		w.text(p.Key)
		w.text(p.Value)
	}
}

func (w *valueWriter) String() string { return string(w.b) }

// valueReader reads a value, or its first fields. A field that is not there is empty or 0.
type valueReader struct {
	rest string
	end  bool
	err  error
}

func readValue(value string) *valueReader { return &valueReader{rest: value} }

func (r *valueReader) text() string {
	if r.end {
		return ""
	}
	field, rest, more := strings.Cut(r.rest, string(separator))
	r.rest, r.end = rest, !more
	if strings.IndexByte(field, escape) < 0 {
		return field
	}
	return r.unescape(field)
}

var errEscape = errors.New("an escape that stands for nothing")

func (r *valueReader) unescape(field string) string {
	b := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		c := field[i]
		if c == escape {
			if i++; i == len(field) || field[i] != 1 && field[i] != 2 {
				r.err = errEscape
				return ""
			}
			c = field[i] - 1
		}
		b = append(b, c)
	}
	return string(b)
}

func (r *valueReader) number(bits int) uint64 {
	field := r.text()
	if field == "" && r.end {
		return 0
	}
	n, err := strconv.ParseUint(field, 10, bits)
	if err != nil {
		r.err = err
	}
	return n
}

func (r *valueReader) uint32() uint32 { return uint32(r.number(32)) } // of so many bits

func (r *valueReader) uint64() uint64 { return r.number(64) }

func (r *valueReader) time() events.Micros {
	if r.end {
		return 0
	}
	return events.Micros(r.uint64() ^ signBit) // the same bits
}

func (r *valueReader) bool() bool { return r.text() == "1" }

func (r *valueReader) pairs() []events.KeyValue {
	var list []events.KeyValue
	for !r.end {
		list = append(list, events.KeyValue{Key: r.text(), Value: r.text()})
	}
	return list
}
