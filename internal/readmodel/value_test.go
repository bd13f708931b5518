package readmodel

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// anyText has the bytes that a value gives a meaning to, and others.
var anyText = rapid.StringOfN(rapid.SampledFrom([]rune("\x00\x01\x02\n aé😀")), 0, 5, -1)

// TestValue_ReadsWhatWasWritten holds it for whatever is in the fields.
func TestValue_ReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, number, is := anyText.Draw(t, "text"), rapid.Uint64().Draw(t, "number"), rapid.Bool().Draw(t, "is")
		at := events.Micros(rapid.Int64().Draw(t, "time"))
		pairs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) events.KeyValue {
			return events.KeyValue{Key: anyText.Draw(t, "key"), Value: anyText.Draw(t, "value")}
		}), 0, 3).Draw(t, "pairs")
		var w valueWriter
		w.text(text)
		w.uint64(number)
		w.uint32(uint32(number))
		w.bool(is)
		w.time(at)
		w.pairs(pairs)

		r := readValue(w.String())
		if got := r.text(); got != text {
			t.Errorf("text %q, want %q", got, text)
		}
		if got := r.uint64(); got != number {
			t.Errorf("number %d, want %d", got, number)
		}
		if got := r.uint32(); got != uint32(number) {
			t.Errorf("number %d, want %d", got, uint32(number))
		}
		if got := r.bool(); got != is {
			t.Errorf("boolean %v, want %v", got, is)
		}
		if got := r.time(); got != at {
			t.Errorf("time %d, want %d", got, at)
		}
		if got := r.pairs(); !slices.Equal(got, pairs) {
			t.Errorf("pairs %q, want %q", got, pairs)
		}
		if r.err != nil {
			t.Error(r.err)
		}
	})
}

// TestValue_OrderIsThatOfTheFields is what ties rest on: the engine compares
// values, and package projection fields.
func TestValue_OrderIsThatOfTheFields(t *testing.T) {
	type fields struct {
		texts [2]string
		time  events.Micros
		list  []string
	}
	drawn := rapid.Custom(func(t *rapid.T) fields {
		return fields{
			[2]string{anyText.Draw(t, "first"), anyText.Draw(t, "second")},
			events.Micros(rapid.Int64Range(-2, 2).Draw(t, "time")),
			rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("\x00\x01a")), 1, 3, -1), 0, 3).Draw(t, "list"),
		}
	})
	value := func(f fields) string {
		var w valueWriter
		w.text(f.texts[0])
		w.text(f.texts[1])
		w.time(f.time)
		each((*valueWriter).text)(&w, f.list)
		return w.String()
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn.Draw(t, "a"), drawn.Draw(t, "b")
		want := cmp.Or(
			strings.Compare(a.texts[0], b.texts[0]), strings.Compare(a.texts[1], b.texts[1]),
			cmp.Compare(a.time, b.time), slices.Compare(a.list, b.list),
		)
		if got := strings.Compare(value(a), value(b)); got != want {
			t.Errorf("%q and %q compare as %d, their fields as %d", value(a), value(b), got, want)
		}
	})
}

// TestValue_FirstFieldsAlone reads a value that was cut after a field, as lists read it.
func TestValue_FirstFieldsAlone(t *testing.T) {
	r := readValue("a\x00")
	got := []string{r.text(), r.text(), r.text()}
	if want := []string{"a", "", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if r.uint32() != 0 || r.uint64() != 0 || r.time() != 0 || r.bool() || r.pairs() != nil || r.err != nil {
		t.Errorf("beyond the end: not empty, or %v", r.err)
	}
}

func TestValue_RefusesWhatItNeverWrites(t *testing.T) {
	for value, read := range map[string]func(*valueReader){
		"\x01":                 func(r *valueReader) { r.text() },
		"a\x01\x03":            func(r *valueReader) { r.text() },
		"x":                    func(r *valueReader) { r.uint64() },
		"":                     func(r *valueReader) { r.uint32() },
		"4294967296":           func(r *valueReader) { r.uint32() },
		"99999999999999999999": func(r *valueReader) { r.time() },
	} {
		r := readValue(value + "\x00more")
		if read(r); r.err == nil {
			t.Errorf("%q: no error", value)
		}
	}
	for _, row := range []registerRow{{Register: 0}, {Register: int8(len(registers)) + 1}, {Register: 18, Value: "\x01"}} {
		if err := row.readInto(&projection.State{}); err == nil {
			t.Errorf("%+v: no error", row)
		}
	}
	for _, row := range []editRow{{Edit: 3}, {Edit: editRecall, Value: "\x01"}} {
		if _, err := row.edit(); err == nil {
			t.Errorf("%+v: no error", row)
		}
	}
}
