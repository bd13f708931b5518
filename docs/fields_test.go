package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/convoview/convoview/internal/events"
	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// TestContract_Fields holds the tables of fields, cell by cell, against the
// schema and the decoder: which there are, their types, which are required,
// what they are when left out, and their limits.
func TestContract_Fields(t *testing.T) {
	documented := map[string][]string{}
	for _, f := range tableFields(readPage(t, "CONTRACT.md")) {
		documented[f.body] = append(documented[f.body], f.name)
		t.Run(f.body+"."+f.name, func(t *testing.T) { f.check(t) })
	}
	for _, names := range documented {
		slices.Sort(names)
	}
	want := map[string][]string{}
	bodies := (&eventspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	for i := range bodies.Len() {
		var names []string
		fields := bodies.Get(i).Message().Fields()
		for n := range fields.Len() {
			names = append(names, fields.Get(n).JSONName())
		}
		slices.Sort(names)
		want[bodies.Get(i).JSONName()] = names
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Errorf("fields of bodies (-schema +page):\n%s", diff)
	}
}

// tableField is a field of a body as a table says it.
type tableField struct {
	line                            int
	body, name                      string
	kind, required, fallback, limit string
}

// tableFields are the fields in the tables of bodies. A table is under the
// body's heading or has a column for it; an empty cell there means the body
// above. The fields before such a column's table are those of all its bodies.
func tableFields(contract page) []tableField {
	titles := map[string]string{}
	for _, h := range contract.headings {
		if names := spans(h.title); len(names) == 1 {
			titles[h.anchor] = names[0]
		}
	}
	var all, common []tableField
	body := ""
	for _, b := range contract.section("2. Events in", "3. What it means") {
		names := spans(b.cell("field") + b.cell("further field"))
		if b.kind != row || b.under == "header" || len(names) == 0 {
			continue
		}
		f := tableField{
			line: b.line, kind: b.cell("type"), required: b.cell("required"), fallback: b.cell("default"), limit: b.cell("limit"),
		}
		switch {
		case b.cell("body") != "":
			body = spans(b.cell("body"))[0]
			for _, c := range common {
				if b.cell("further field") != "" {
					c.body = body
					all = append(all, c)
				}
			}
		case titles[b.under] != "":
			body = titles[b.under]
		case !slices.Contains(b.columns, "body"):
			body = ""
		}
		for _, name := range names {
			f.body, f.name = body, name
			if body == "" {
				common = append(common, f)
			} else {
				all = append(all, f)
			}
		}
	}
	return all
}

// check holds what the table says of the field.
func (f tableField) check(t *testing.T) {
	s := sampleWith(t, f.body, f.name)
	body := (&eventspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields().ByJSONName(f.body)
	if body == nil {
		t.Fatalf("CONTRACT.md:%d: the schema has no body %s", f.line, f.body)
	}
	field := body.Message().Fields().ByJSONName(f.name)
	if field == nil {
		t.Fatalf("CONTRACT.md:%d: %s has no field %s", f.line, f.body, f.name)
	}
	if want, ok := schemaTypes[f.kind]; f.kind != "" && (!ok || want != typeOf(field)) {
		t.Errorf("CONTRACT.md:%d: %s is %q, want one that is %q in the schema", f.line, f.name, f.kind, typeOf(field))
	}

	switch f.required {
	case "yes", "with `joined`":
		s.refused(t, f, "", events.CodeMissingField)
	case "no":
		without := s.accepted(t, f, "")
		if value := fallbackValue(f.fallback); value != "" {
			if diff := cmp.Diff(without, s.accepted(t, f, value)); diff != "" {
				t.Errorf("CONTRACT.md:%d: without %s it is not %s (-without +with):\n%s", f.line, f.name, value, diff)
			}
		}
	case "see above":
	default:
		t.Errorf("CONTRACT.md:%d: required is %q, want yes or no", f.line, f.required)
	}

	switch {
	case f.kind == "sequence":
		s.accepted(t, f, "9007199254740991")
		s.refused(t, f, "9007199254740992", events.CodeInvalidField)
	case f.kind == "ID":
		s.refused(t, f, `"a\n"`, events.CodeInvalidField)
	case f.kind == "text" && sizes.MatchString(f.limit):
		s.accepted(t, f, `"a\n"`)
	}
	f.checkLimit(t, s)
}

// schemaTypes are the types of the schema by those of the page.
var schemaTypes = map[string]string{
	"text": "string", "ID": "string", "integer": "int64", "sequence": "int64", "integer (`uint32`)": "uint32", "boolean": "bool",
	"time": "google.protobuf.Timestamp", "object": "bytes", "list of ID": "string list", "list of text": "string list",
	"list of integers": "int64 list", "pairs": "chat.v1.KeyValue list",
}

func typeOf(field protoreflect.FieldDescriptor) string {
	name := field.Kind().String()
	if field.Message() != nil {
		name = string(field.Message().FullName())
	}
	if field.IsList() {
		name += " list"
	}
	return name
}

// fallbackValue is the default as JSON, or nothing where it is not a value.
func fallbackValue(cell string) string {
	value, _, _ := strings.Cut(cell, " (") // 604800 (7 days)
	switch {
	case strings.HasPrefix(value, "`"):
		return `"` + strings.Trim(value, "`") + `"`
	case json.Valid([]byte(value)):
		return value
	default:
		return ""
	}
}

var (
	atLeast = regexp.MustCompile(`^from (\d+)$`)
	fromTo  = regexp.MustCompile(`^([\d,^−]+) to ([\d,^−]+)$`)
	sizes   = regexp.MustCompile(`^(?:key and value )?(\d+) KB( each|, as above)?( as compact JSON; nested at most 1,000 deep)?$`)
	entries = regexp.MustCompile(`^([\d,]+) entries(?:, each (.*))?$`)
	choices = regexp.MustCompile("^`\\w+`(, `\\w+`)*$")
)

// checkLimit holds that the limit is accepted, and one beyond it refused.
func (f tableField) checkLimit(t *testing.T, s sample) {
	t.Helper()
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	between := func(least, most *big.Int) {
		t.Helper()
		one := big.NewInt(1)
		s.accepted(t, f, least.String())
		s.refused(t, f, new(big.Int).Sub(least, one).String(), events.CodeInvalidField)
		s.accepted(t, f, most.String())
		s.refused(t, f, new(big.Int).Add(most, one).String(), events.CodeInvalidField)
	}
	switch m := []string(nil); {
	case f.limit == "" || f.limit == "see above":
	case f.limit == "128 bytes" && f.kind == "ID":
		s.accepted(t, f, text(128))
		s.refused(t, f, text(129), events.CodeInvalidField)
	case f.limit == "cut after 200 runes":
		at := func(n int) events.Event { return s.accepted(t, f, `"`+strings.Repeat("é", n)+`"`) }
		if cmp.Equal(at(199), at(200)) || !cmp.Equal(at(200), at(201)) {
			t.Errorf("CONTRACT.md:%d: it is not cut after 200 runes", f.line)
		}
	case choices.MatchString(f.limit):
		for _, value := range spans(f.limit) {
			s.accepted(t, f, `"`+value+`"`)
		}
		reason := s.refused(t, f, `"Other"`, events.CodeInvalidField)
		if want := "expected one of " + strings.Join(spans(f.limit), ", "); !strings.HasSuffix(reason, want) {
			t.Errorf("CONTRACT.md:%d: %s, %s", f.line, reason, want)
		}
	case matched(atLeast, f.limit, &m):
		between(number(m[1]), number("2^53−1"))
	case matched(fromTo, f.limit, &m):
		between(number(m[1]), number(m[2]))
	case matched(sizes, f.limit, &m) && f.kind != "ID":
		n := int(number(m[1]).Int64()) * 1024
		value := map[string]func(int) string{
			"text":   text,
			"object": func(n int) string { return `{"a": ` + text(n-len(`{"a":""}`)) + `}` },
			"pairs": func(n int) string {
				return `[{"key":` + text(n) + `,"value":` + text(n-1) + `},{"value":` + text(n) + `}]`
			},
		}[f.kind]
		s.accepted(t, f, value(n))
		s.refused(t, f, value(n+1), events.CodeTooLarge)
		if m[3] != "" {
			nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
			s.accepted(t, f, nested(1000))
			s.refused(t, f, nested(1001), events.CodeInvalidField)
		}
	case matched(entries, f.limit, &m):
		n := int(number(m[1]).Int64())
		list := func(n int, entry string) string {
			return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
		}
		entry := map[string]string{"list of integers": "1"}[f.kind]
		if entry == "" {
			entry = `"x"`
		}
		s.accepted(t, f, list(n, entry))
		s.refused(t, f, list(n+1, entry), events.CodeTooLarge)
		switch m[2] {
		case "":
		case "1 to 2^53−1":
			s.accepted(t, f, "[1,9007199254740991]")
			s.refused(t, f, "[0]", events.CodeInvalidField)
			s.refused(t, f, "[9007199254740992]", events.CodeInvalidField)
		case "1 byte to 4 KB":
			s.accepted(t, f, "["+text(1)+","+text(4096)+"]")
			s.refused(t, f, `[""]`, events.CodeInvalidField)
			s.refused(t, f, "["+text(4097)+"]", events.CodeTooLarge)
		default:
			t.Errorf("CONTRACT.md:%d: nothing checks %q of an entry: write it as others do, or check it here", f.line, m[2])
		}
	default:
		t.Errorf("CONTRACT.md:%d: nothing checks the limit %q: write it as others do, or check it here", f.line, f.limit)
	}
}

func matched(pattern *regexp.Regexp, text string, m *[]string) bool {
	*m = pattern.FindStringSubmatch(text)
	return *m != nil
}

// number is a number as the page writes it: 1,000 or 2^53−1.
func number(text string) *big.Int {
	if power, ok := strings.CutPrefix(strings.TrimSuffix(text, "−1"), "2^"); ok {
		n := new(big.Int)
		if _, err := fmt.Sscan(power, n); err != nil {
			panic(err)
		}
		return n.Sub(n.Exp(big.NewInt(2), n, nil), big.NewInt(1))
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(text, ",", ""), 10)
	if !ok {
		panic(text)
	}
	return n
}

// sample is a sample of an event, taken apart.
type sample struct {
	body          string
	event, fields map[string]json.RawMessage
}

// sampleWith gives a sample of a body that has the field.
func sampleWith(t *testing.T, body, field string) sample {
	t.Helper()
	files, err := filepath.Glob("../schemas/samples/" + body + "/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := sample{body: body}
		if err := errors.Join(json.Unmarshal(data, &s.event), json.Unmarshal(s.event[body], &s.fields)); err != nil {
			t.Fatal(err)
		}
		if s.fields[field] != nil {
			return s
		}
	}
	t.Fatalf("no sample of %s has %s", body, field)
	return sample{}
}

// with decodes the sample with another value of a field; "" leaves it out.
func (s sample) with(t *testing.T, f tableField, value string) (events.Event, error) {
	t.Helper()
	before := s.fields[f.name]
	defer func() { s.fields[f.name] = before }()
	s.fields[f.name] = json.RawMessage(value)
	if value == "" {
		delete(s.fields, f.name)
	}
	var err error
	if s.event[s.body], err = json.Marshal(s.fields); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s.event)
	if err != nil {
		t.Fatal(err)
	}
	return decode(string(data), recordTime)
}

func (s sample) accepted(t *testing.T, f tableField, value string) events.Event {
	t.Helper()
	e, err := s.with(t, f, value)
	if err != nil {
		t.Errorf("CONTRACT.md:%d: %s of %s: %v", f.line, f.name, s.body, err)
	}
	return e
}

// refused gives the reason.
func (s sample) refused(t *testing.T, f tableField, value string, code events.Code) string {
	t.Helper()
	_, err := s.with(t, f, value)
	var dead *events.Error
	if !errors.As(err, &dead) || dead.Code != code || !strings.HasPrefix(dead.Field, s.body+"."+f.name) {
		t.Errorf("CONTRACT.md:%d: %s of %s is %.100q: got %v, want %s", f.line, f.name, s.body, value, err, code)
		return ""
	}
	return dead.Reason
}
