package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/convoview/convoview/schemas/schematest"
)

// The JSON Schema of events, for producers in other languages, is made of the
// tables by which events are decoded, and of the comments of the Protobuf schema.
// It is written in what draft 2020-12 and draft-07, which AsyncAPI has, understand
// alike.
const jsonSchema = "../json/event.json" // from the samples

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements [json.Marshaler].
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, m := range o {
		b.WriteByte("{,"[min(i, 1)])
		if err := errorsOf(appendJSON(&b, m.name), b.WriteByte(':'), appendJSON(&b, m.value)); err != nil {
			return nil, err
		}
	}
	if len(o) == 0 {
		b.WriteByte('{')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func appendJSON(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// The patterns of texts, in what all regular expressions have in common. To some of them $
// is before a newline at the end, too, so that none may be there is said besides.
const (
	controls            = `[\x00-\x1f\x7f-\x9f]`
	noControls          = `[^\x00-\x1f\x7f-\x9f]`
	unprintable         = `[^ -~]`
	patternApp          = `^[A-Za-z0-9_-]{1,64}$`
	patternTime         = `^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]` + patternOfDay + `:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]` + patternOfDay + `)$`
	patternOfDay        = `([01][0-9]|2[0-3]):[0-5][0-9]`
	patternConversation = `^(C2C` + noControls + `{1,128}|GROUP` + noControls + `{1,128}|` + SystemConversationID + `)$`
)

// like is a pattern of a text in which another one is nowhere.
func like(pattern, nowhere string) ordered {
	return ordered{{"pattern", pattern}, without(nowhere)}
}

// without is a pattern that is nowhere in a text: what is none has no pattern, and would be refused.
func without(pattern string) member {
	return member{"not", ordered{{"type", "string"}, {"pattern", pattern}}}
}

// eventSchema is the whole schema.
func eventSchema(t *testing.T) ordered {
	comments := protoComments(t)
	names, defs := ordered{}, ordered{}
	var one []any
	names = append(names,
		member{"id", ordered{{"type", "string"}, {"minLength", 1}, {"maxLength", MaxIDBytes}, bytesOfUTF8(MaxIDBytes), {"description", comments["Event"][int(numID)]}}},
		member{"app", slices.Concat(ordered{{"type", "string"}}, like(patternApp, unprintable), ordered{{"description", comments["Event"][int(numApp)]}})},
		member{"time", slices.Concat(ordered{{"type", "string"}, {"format", "date-time"}}, like(patternTime, unprintable), ordered{{"description", comments["Event"][int(numTime)]}})},
	)
	for i := range bodySpecs {
		spec := &bodySpecs[i]
		message := strings.ToUpper(spec.name[:1]) + spec.name[1:]
		names = append(names, member{spec.name, ordered{{"$ref", "#/$defs/" + spec.name}}})
		one = append(one, ordered{{"required", []any{spec.name}}, {"properties", ordered{{spec.name, ordered{{"type", "object"}}}}}})
		defs = append(defs, member{spec.name, bodySchema(spec, comments[message])})
	}
	return ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$id", "https://github.com/convoview/convoview/schemas/json/event.json"},
		{"title", "Event"},
		{"description", "The value of a record on chat.messages or chat.state: an event with exactly one body. " +
			"Generated from internal/events; docs/CONTRACT.md says what it means. Lengths count characters here and bytes of UTF-8 there; " +
			"an integer has neither fraction nor exponent there: " +
			"7.0, valid here, is a dead letter; that an event, a payload or a profile is not too large, " +
			"and a time not out of range nor, where formats are not held, on a day that its month has not or a leap second that never was, is for the reader to find."},
		{"type", "object"},
		{"required", []any{"id", "app", "time"}},
		{"properties", names},
		{"oneOf", one},
		{"$defs", defs},
	}
}

func bodySchema(spec *bodySpec, comments map[int]string) ordered {
	properties := ordered{}
	required := []any{}
	for i := range spec.fields {
		f := &spec.fields[i]
		properties = append(properties, member{fieldNames[f.key], append(fieldSchema(f), member{"description", comments[int(f.num)]})})
		if f.required {
			required = append(required, fieldNames[f.key])
		}
	}
	schema := ordered{{"type", []any{"object", "null"}}, {"description", comments[0]}, {"properties", properties}}
	if len(required) > 0 {
		schema = append(schema, member{"required", required})
	}
	switch {
	case spec.has(keyGroupID) && spec.has(keySystem):
		schema = append(schema, member{"anyOf", addresses(spec.name == "messageSent")})
	case spec.has(keyJoinSequence):
		schema = append(schema, member{"if", ordered{{"properties", ordered{{"status", ordered{{"const", StatusJoined}}}}}}},
			member{"then", ordered{
				{"required", []any{"joinSequence"}}, {"properties", ordered{{"joinSequence", ordered{{"type", []any{"integer", "string"}}}}}},
			}})
	}
	return schema
}

func (s *bodySpec) has(key fieldKey) bool { _, ok := s.byName[fieldNames[key]]; return ok }

// addresses are the ways to name one conversation.
func addresses(sent bool) []any {
	given, no := ordered{{"type", "string"}, {"minLength", 1}}, func(empty any) ordered { return ordered{{"enum", []any{empty, nil}}} }
	address := func(title string, required []any, properties ordered) ordered {
		return ordered{{"title", title}, {"required", required}, {"properties", properties}}
	}
	group, groupProperties := []any{"groupID"}, ordered{{"groupID", given}, {"to", no("")}, {"system", no(false)}}
	if sent {
		group, groupProperties = append(group, "from"), append(groupProperties, member{"from", given})
	}
	return []any{
		address("C2C", []any{"from", "to"}, ordered{{"from", given}, {"to", given}, {"groupID", no("")}, {"system", no(false)}}),
		address("GROUP", group, groupProperties),
		address("SYSTEM", []any{"system", "to"}, ordered{{"system", ordered{{"const", true}}}, {"to", given}, {"groupID", no("")}}),
	}
}

// bytesOfUTF8 says what maxLength cannot.
func bytesOfUTF8(n int) member {
	return member{"$comment", fmt.Sprintf("at most %d bytes of UTF-8", n)}
}

// fieldSchema is what a field may be. Null is absent, and so is an empty text
// that does not tell the two apart.
func fieldSchema(f *field) ordered {
	limits := DefaultLimits()
	types := func(names ...any) member {
		if f.required {
			names = names[:len(names)-1] // not null
		}
		if len(names) == 1 {
			return member{"type", names[0]}
		}
		return member{"type", names}
	}
	array := func(entry ordered) ordered {
		schema := ordered{types("array", "null"), {"items", entry}}
		if f.entries != nil {
			schema = append(schema, member{"maxItems", f.entries(&limits)})
		}
		return schema
	}
	switch f.kind {
	case kindText:
		if len(f.oneOf) > 0 {
			values := []any{}
			for _, value := range f.oneOf {
				values = append(values, value)
			}
			if !f.required {
				values = append(values, "", nil)
			}
			return ordered{{"enum", values}}
		}
		return append(ordered{types("string", "null")}, textSchema(f, &limits, f.required && !f.presence)...)
	case kindInt, kindUint32:
		return append(ordered{types("integer", "string", "null")}, integerSchema(f)...)
	case kindBool:
		return ordered{types("boolean", "null")}
	case kindTime:
		return append(ordered{types("string", "null"), {"format", "date-time"}}, like(patternTime, unprintable)...)
	case kindObject:
		return ordered{types("object", "null"), {"$comment", fmt.Sprintf("at most %d bytes as compact JSON, nested at most %d deep", f.limit(&limits), maxPayloadDepth)}}
	case kindTexts:
		return array(append(ordered{{"type", []any{"string", "null"}}}, textSchema(f, &limits, f.rule == ruleNotEmpty)...))
	case kindInts:
		return array(append(ordered{{"type", []any{"integer", "string", "null"}}}, integerSchema(f)...))
	case kindKeyValues:
		text := append(ordered{{"type", []any{"string", "null"}}}, textSchema(f, &limits, false)...)
		return array(ordered{{"type", []any{"object", "null"}}, {"properties", ordered{{"key", text}, {"value", text}}}})
	default:
		panic(f.kind)
	}
}

func textSchema(f *field, limits *Limits, notEmpty bool) (schema ordered) {
	if notEmpty {
		schema = append(schema, member{"minLength", 1})
	}
	switch f.rule {
	case ruleID, ruleMention:
		return append(schema, member{"maxLength", MaxIDBytes}, bytesOfUTF8(MaxIDBytes), without(controls))
	case ruleConversationID:
		return append(schema, like(patternConversation, controls)...)
	case ruleNone, ruleNotEmpty:
	}
	if f.limit != nil {
		schema = append(schema, member{"maxLength", f.limit(limits)}, bytesOfUTF8(f.limit(limits)))
	}
	return schema
}

// integerSchema bounds a number, written as one or as a decimal string.
func integerSchema(f *field) ordered {
	pattern := "^0*(" + upTo(strconv.FormatInt(f.max, 10)) + ")$"
	if f.min == 0 {
		pattern = "^(-?0+|0*(" + upTo(strconv.FormatInt(f.max, 10)) + "))$"
	}
	return append(ordered{{"minimum", f.min}, {"maximum", f.max}}, like(pattern, unprintable)...)
}

// upTo is a pattern of the decimal numbers from 1 to limit: those of fewer digits, and
// those that begin as the limit does and then have a lesser digit, or its last one.
func upTo(limit string) string {
	last := len(limit) - 1
	numbers := []string{fmt.Sprintf("[1-9][0-9]{0,%d}", last-1)}
	for i := range limit {
		least, most, rest := byte('0'), limit[i]-1, fmt.Sprintf("[0-9]{%d}", last-i)
		switch i {
		case 0:
			least = '1'
		case last:
			most, rest = limit[i], ""
		}
		if least <= most {
			numbers = append(numbers, fmt.Sprintf("%s[%c-%c]%s", limit[:i], least, most, rest))
		}
	}
	return strings.Join(numbers, "|")
}

// protoComments are the comments of the Protobuf schema by message and number of
// the field, which the generated code has; 0 is that of the message.
func protoComments(t *testing.T) map[string]map[int]string {
	file, err := parser.ParseFile(token.NewFileSet(), path.Join(samplesDir, "../chat/v1/events.pb.go"), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[int]string{}
	for _, declared := range file.Decls {
		general, ok := declared.(*ast.GenDecl)
		if !ok || general.Tok != token.TYPE {
			continue
		}
		spec := general.Specs[0].(*ast.TypeSpec)
		message, ok := spec.Type.(*ast.StructType)
		if !ok {
			continue
		}
		comments := map[int]string{0: oneLine(general.Doc)}
		for _, f := range message.Fields.List {
			if f.Tag == nil {
				continue
			}
			tag, _ := strconv.Unquote(f.Tag.Value)
			if parts := strings.Split(reflect.StructTag(tag).Get("protobuf"), ","); len(parts) > 1 {
				number, err := strconv.Atoi(parts[1])
				if err != nil {
					t.Fatal(err)
				}
				comments[number] = oneLine(f.Doc)
			}
		}
		all[spec.Name.Name] = comments
	}
	return all
}

func oneLine(doc *ast.CommentGroup) string { return strings.Join(strings.Fields(doc.Text()), " ") }

// TestJSONSchema holds that the schema in schemas/json is made of the tables, or
// writes it.
func TestJSONSchema(t *testing.T) {
	schema, err := json.MarshalIndent(eventSchema(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(schema, []byte(`"description": ""`)) {
		t.Error("something is not described")
	}
	golden(t, jsonSchema, append(schema, '\n'))
}

// invisible are the bad samples in which no schema sees what is wrong.
var invisible = map[string]string{
	"malformed/duplicate.json":             "a name that is there twice",
	"malformed/duplicate-in-body.json":     "a name that is there twice",
	"malformed/invalid-utf8.json":          "what the reader of the JSON has put in place of it",
	"malformed/lone-surrogate.json":        "what the reader of the JSON has put in place of it",
	"invalid_field/sequence-fraction.json": "1.0 is an integer to a schema",
	"too_large/event.json":                 "the bytes of the whole",
	"too_large/payload.json":               "the bytes of an object",
	"too_large/profile.json":               "the bytes of the whole",
	"time_out_of_range/1999.json":          "what moment it is",
	"time_out_of_range/ahead.json":         "what moment it is",
}

// TestJSONSchema_Samples holds that good samples are valid and bad ones are not.
func TestJSONSchema_Samples(t *testing.T) {
	schema := schematest.Compile(t, "json/event.json")
	for _, name := range sampleFiles(t, ".json", false) {
		if err := schema.Validate(readSample(t, name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range sampleFiles(t, ".json", true) {
		reason, allowed := invisible[strings.TrimPrefix(name, "bad/")]
		if err := schema.Validate(readSample(t, name)); (err == nil) != allowed {
			t.Errorf("%s: %v, allowed because of %q", name, err, reason)
		}
	}
}

// unseen are the values that the schema takes and the decoder does not, and why.
var unseen = map[string]string{
	`7.0`:                              "an integer to a schema",
	`7e0`:                              "an integer to a schema",
	quotedE(MaxIDBytes):                "no more characters than there may be bytes",
	quotedE(DefaultLimits().TextBytes): "no more characters than there may be bytes",
	quotedE(DefaultLimits().CloudCustomDataBytes): "no more characters than there may be bytes",
	`"2026-02-30T03:00:00Z"`:                      "for who knows the months, and formats need not be held",
	`"2026-11-23T03:00:60Z"`:                      "for who knows where a leap second can be, and formats need not be held",
}

func quotedE(n int) string { return `"` + strings.Repeat("é", n) + `"` }

// TestJSONSchema_AgreesWithTheDecoder holds, for each field of each body, that the
// schema takes what the decoder takes and nothing else, but for what it cannot see:
// values of all types, and those at each bound and beyond it; whether formats are held or
// not, and wherever the end of a text is.
func TestJSONSchema_AgreesWithTheDecoder(t *testing.T) {
	schemas := []schematest.Schema{schematest.Compile(t, "json/event.json"), schematest.CompileLoosely(t, "json/event.json")}
	decoder := NewDecoder(DefaultLimits())
	differ := map[string]bool{}
	for _, name := range sampleFiles(t, ".json", false) {
		var whole map[string]json.RawMessage
		if err := json.Unmarshal(readSample(t, name), &whole); err != nil {
			t.Fatal(err)
		}
		kind := path.Dir(name)
		spec := bodyByName[kind]
		var body map[string]json.RawMessage
		if err := json.Unmarshal(whole[kind], &body); err != nil {
			t.Fatal(err)
		}
		check := func(field, value string) {
			t.Helper()
			event, err := json.Marshal(whole)
			if err != nil {
				t.Fatal(err)
			}
			_, refused := decoder.Decode(jsonRecord(string(event)))
			for _, schema := range schemas {
				invalid := schema.Validate(event)
				if unseen[value] != "" && refused != nil && invalid == nil {
					differ[value] = true
				} else if (refused == nil) != (invalid == nil) {
					t.Errorf("%s with %s %.60s:\n the decoder says %v\n the schema says %v", name, field, value, refused, invalid)
				}
			}
		}
		for _, header := range []*field{&fieldID, &fieldApp, &fieldTime} {
			vary(whole, fieldNames[header.key], valuesFor(header), check)
		}
		vary(whole, kind, []string{`{}`, `[]`, `"x"`, `1`, `true`}, check)
		vary(whole, "userErased", []string{`{"userID":"x"}`, `"x"`}, check)
		vary(whole, "newBody", []string{`{}`, `1`}, check)
		for i := range spec.fields {
			f := &spec.fields[i]
			vary(body, fieldNames[f.key], valuesFor(f), func(field, value string) {
				t.Helper()
				encoded, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				before := whole[kind]
				whole[kind] = encoded
				check(kind+"."+field, value)
				whole[kind] = before
			})
		}
	}
	for value, why := range unseen {
		if !differ[value] {
			t.Errorf("%.60s is not taken by the schema alone, as was said because it is %s", value, why)
		}
	}
}

// vary gives a member other values, and leaves it out.
func vary(in map[string]json.RawMessage, name string, values []string, check func(field, value string)) {
	before, ok := in[name]
	for _, value := range values {
		in[name] = json.RawMessage(value)
		check(name, value)
	}
	delete(in, name)
	check(name, "left out")
	if ok {
		in[name] = before
	}
}

// valuesFor are values of every type, and the bounds of a field with their neighbours.
func valuesFor(f *field) []string {
	limits := DefaultLimits()
	quoted := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	values := []string{
		`null`, `""`, `"x"`, `"a b"`, `"é"`, `"x\n"`, `"\u007f"`, `"\u0085"`, `"0"`, `"1"`, `"007"`, `"-1"`, `"1.0"`, `"1e3"`, `" 1"`, `0`, `1`, `-1`, `0.5`, `1e300`, `7.0`, `7e0`,
		`true`, `false`, `"true"`, `{}`, `{"text":"x"}`, `[]`, `[null]`, `[""]`, `["x"]`, `["x\n"]`, `[0]`, `[1]`, `["1"]`, `[{}]`, `[{"key":"k","value":"v"}]`,
		`[{"key":null}]`, `[{"key":1}]`, `[{"more":1}]`, `[[]]`, `[true]`, `"C2Cx"`, `"C2C"`, `"GROUPx y"`, `"GROUP"`, `"GROUPx\n"`, `"@TIM#SYSTEM"`, `"@TIM#SYSTEM\n"`,
		`"xC2Cx"`, `"C2C` + strings.Repeat("x", 128) + `"`, `"C2C` + strings.Repeat("x", 129) + `"`, `"demo"`, `"de.mo"`,
		`"2026-11-23T03:00:00Z"`, `"2026-11-23t03:00:00.5z"`, `"2026-11-23T03:00:00+01:00"`, `"2026-11-23 03:00:00Z"`, `"2026-11-23T03:00:00"`, `"2026-11-23"`,
		`"2026-02-30T03:00:00Z"`, `"2026-11-23T24:00:00Z"`, `"20261123T030000Z"`, `"2026-13-23T03:00:00Z"`, `"2026-00-23T03:00:00Z"`, `"2026-11-32T03:00:00Z"`, `"2026-11-00T03:00:00Z"`,
		`"2026-11-23T03:60:00Z"`, `"2026-11-23T03:00:60Z"`, `"2026-11-22T23:59:59Z"`, `"2016-12-31T23:59:60Z"`, `"2017-01-01T08:59:60+09:00"`, `"2026-11-23T03:00:00+24:00"`, `"2026-11-23T03:00:00+23:59"`, `"2026-11-23T03:00:00-01:60"`,
		`"2026-11-23T03:00:00Z\n"`, `"demo\n"`, `"1\n"`, `"C2Cx\n"`, `"-0"`, `"-00"`, `-0`,
		strconv.Itoa(math.MaxUint32), strconv.Itoa(math.MaxUint32 + 1), strconv.Itoa(MaxSequence), strconv.Itoa(MaxSequence + 1),
		strconv.Itoa(math.MaxInt64), "9223372036854775808", `"9223372036854775807"`, `"100000000000000000000"`,
		fmt.Sprint(f.min), fmt.Sprint(f.min - 1), fmt.Sprint(f.max), fmt.Sprintf(`"%d"`, f.max), fmt.Sprintf(`"%d"`, f.min),
		fmt.Sprintf(`"%d"`, uint64(f.max)+1), fmt.Sprintf(`"%d"`, f.max-1), `"` + strings.Repeat("9", len(fmt.Sprint(f.max))) + `"`, fmt.Sprintf(`"00%d"`, f.max),
		quoted(64), quoted(65), quoted(MaxIDBytes), quoted(MaxIDBytes + 1), quotedE(MaxIDBytes), "[" + quoted(MaxIDBytes) + "]", "[" + quoted(MaxIDBytes+1) + "]",
	}
	for _, value := range f.oneOf {
		values = append(values, `"`+value+`"`, `"`+strings.ToLower(value)+`"`)
	}
	if f.limit != nil && f.kind != kindObject { // a schema does not see the size of an object
		n := f.limit(&limits)
		values = append(values, quoted(n), quoted(n+1), quotedE(n), "["+quoted(n)+"]", "["+quoted(n+1)+"]",
			`[{"key":`+quoted(n)+`,"value":`+quoted(n)+`}]`, `[{"key":`+quoted(n+1)+`}]`, `[{"value":`+quoted(n+1)+`}]`)
	}
	if f.entries != nil {
		n := f.entries(&limits)
		values = append(values, list(n, `"1"`), list(n+1, `"1"`), list(n, `1`), list(n+1, `1`), list(n, `null`), list(n+1, `null`))
	}
	return values
}
