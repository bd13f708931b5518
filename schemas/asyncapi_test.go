package schemas_test

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/client"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/projection"
	eventspb "github.com/convoview/convoview/schemas/chat/v1"
	"github.com/convoview/convoview/schemas/schematest"
)

// node is a part of a document.
type node = map[string]any

// at walks down a document.
func at(t *testing.T, from any, names ...string) node {
	t.Helper()
	for _, name := range names {
		from = from.(node)[name]
	}
	n, ok := from.(node)
	if !ok {
		t.Fatalf("there is no %s", strings.Join(names, "."))
	}
	return n
}

func document(t *testing.T) node {
	t.Helper()
	v, err := schematest.ReadYAML("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return v.(node)
}

func keys[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for name := range m {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func payload(t *testing.T, message string) schematest.Schema {
	t.Helper()
	return schematest.Compile(t, "asyncapi.yaml#/components/messages/"+message+"/payload")
}

// samples gives the samples in JSON by body.
func samples(t *testing.T) map[string][][]byte {
	t.Helper()
	all := map[string][][]byte{}
	files, err := filepath.Glob("samples/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		body := path.Base(path.Dir(file))
		all[body] = append(all[body], data)
	}
	return all
}

// TestAsyncAPI_Events holds that every body is a message of its topic's channel, and
// nothing else is; and that each sample is that message and no other.
func TestAsyncAPI_Events(t *testing.T) {
	doc := document(t)
	bodies := map[string][]string{}
	fields := (&eventspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	all := samples(t)
	for i := range fields.Len() {
		name := fields.Get(i).JSONName()
		if len(all[name]) == 0 {
			t.Fatalf("no sample of %s", name)
		}
		e, err := events.NewDecoder(events.DefaultLimits()).Decode(events.Record{Value: all[name][0], Timestamp: events.EndOfTime})
		if err != nil {
			t.Fatal(err)
		}
		topic := events.Topic(e.Body)
		bodies[topic] = append(bodies[topic], name)
	}
	for _, channel := range []string{"messages", "state"} {
		c := at(t, doc, "channels", channel)
		want := append(bodies[c["address"].(string)], "protobuf")
		slices.Sort(want)
		if diff := cmp.Diff(want, keys(at(t, c, "messages"))); diff != "" {
			t.Errorf("messages on %s (-bodies +asyncapi):\n%s", channel, diff)
		}
	}
	for message := range all {
		schema := payload(t, message)
		for body, list := range all {
			for _, data := range list {
				if err := schema.Validate(data); (err == nil) != (message == body) {
					t.Errorf("a sample of %s as message %s: %v", body, message, err)
				}
			}
		}
	}
}

// TestAsyncAPI_BadEvents holds that no bad sample is a message, but for those in
// which no schema sees what is wrong (see internal/events).
func TestAsyncAPI_BadEvents(t *testing.T) {
	files, err := filepath.Glob("samples/bad/*_*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	whole := schematest.Compile(t, "json/event.json")
	for message := range samples(t) {
		schema := payload(t, message)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if whole.Validate(data) != nil && schema.Validate(data) == nil {
				t.Errorf("%s is a message %s", file, message)
			}
		}
	}
}

// TestAsyncAPI_Subjects holds the addresses of channels.
func TestAsyncAPI_Subjects(t *testing.T) {
	var got []string
	for _, c := range at(t, document(t), "channels") {
		if address, ok := c.(node)["address"].(string); ok {
			got = append(got, strings.NewReplacer("{app}", "demo", "{token}", feed.SubjectToken("hi ke")).Replace(address))
		}
	}
	user, group := feed.Notice{App: "demo", UserID: "hi ke"}, feed.Notice{App: "demo", GroupID: "hi ke"}
	want := []string{events.TopicMessages, events.TopicState, "chat.dead", user.Subject(), group.Subject()}
	for _, endpoint := range []client.Endpoint{client.EndpointList, client.EndpointProfile, client.EndpointUnread} {
		subject := "convoview.v1.demo.conversation." + string(endpoint)
		want = append(want, subject, subject+"."+client.SubjectToken("hi ke"))
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +asyncapi):\n%s", diff)
	}
}

// TestAsyncAPI_DeadLetters holds the codes of dead letters.
func TestAsyncAPI_DeadLetters(t *testing.T) {
	var want, got []any
	for _, code := range events.Codes() {
		want = append(want, string(code))
	}
	headers := at(t, document(t), "components", "messages", "deadLetter", "headers", "properties")
	got = at(t, headers, "convoview-code")["enum"].([]any)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want +asyncapi):\n%s", diff)
	}
}

// TestAPI_Fields holds that replies have in the schema the fields that they have in
// the query worker and in the client, all of them required, and of the same types.
func TestAPI_Fields(t *testing.T) {
	v, err := schematest.ReadYAML("json/api.json")
	if err != nil {
		t.Fatal(err)
	}
	defs := at(t, v, "$defs")
	for name, types := range map[string][]any{
		"item":         {projection.Item{}, client.Conversation{}},
		"listItem":     {client.Conversation{}},
		"profileItem":  {client.Profile{}},
		"lastMessage":  {projection.LastMessage{}, client.LastMessage{}},
		"userInfo":     {projection.UserInfo{}, client.UserInfo{}},
		"groupInfo":    {projection.GroupInfo{}, client.GroupInfo{}},
		"userDetails":  {projection.UserDetails{}, client.UserDetails{}},
		"groupDetails": {projection.GroupDetails{}, client.GroupDetails{}},
		"notice":       {feed.Notice{}},
	} {
		def := at(t, defs, name)
		for _, value := range types {
			compareFields(t, defs, name, def, reflect.TypeOf(value))
		}
	}
	self := at(t, defs, "groupDetails", "properties", "selfInfo")
	compareFields(t, defs, "selfInfo", self, reflect.TypeFor[projection.SelfInfo]())
	compareFields(t, defs, "selfInfo", self, reflect.TypeFor[client.SelfInfo]())
	mention := at(t, defs, "item", "properties", "groupAtInfoList", "items")
	compareFields(t, defs, "mention", mention, reflect.TypeFor[projection.GroupAtInfo]())
	compareFields(t, defs, "mention", mention, reflect.TypeFor[client.GroupAtInfo]())
	compareFields(t, defs, "pair", at(t, defs, "pairs", "items"), reflect.TypeFor[events.KeyValue]())
	compareFields(t, defs, "pair", at(t, defs, "pairs", "items"), reflect.TypeFor[client.KeyValue]())
	compareFields(t, defs, "listReply", at(t, defs, "listReply", "properties", "data"), reflect.TypeFor[client.List]())
	// A client has one app, and the code and message of a refusal from its headers, too.
	compareFields(t, defs, "notice", without(t, at(t, defs, "notice"), "app"), reflect.TypeFor[client.Notice]())
	compareFields(t, defs, "errorReply", without(t, at(t, defs, "errorReply"), "code", "message"), reflect.TypeFor[client.LeftOut]())

	for name, request := range map[string]any{
		"listRequest": client.ListRequest{}, "profileRequest": client.ProfileRequest{}, "unreadRequest": client.UnreadRequest{},
	} {
		if diff := cmp.Diff(keys(at(t, defs, name, "properties")), keys(fieldsOf(reflect.TypeOf(request)))); diff != "" {
			t.Errorf("%s (-schema +client):\n%s", name, diff)
		}
	}
}

// without is an object's schema without some of its properties.
func without(t *testing.T, schema node, names ...string) node {
	t.Helper()
	properties := maps.Clone(at(t, schema, "properties"))
	required := slices.Clone(schema["required"].([]any))
	for _, name := range names {
		if properties[name] == nil {
			t.Errorf("there is no %s to leave out", name)
		}
		delete(properties, name)
		required = slices.DeleteFunc(required, func(v any) bool { return v == name })
	}
	return node{"properties": properties, "required": required}
}

// compareFields compares an object's schema with a struct.
func compareFields(t *testing.T, defs node, name string, schema node, of reflect.Type) {
	t.Helper()
	properties, required := propertiesOf(t, defs, schema)
	fields := fieldsOf(of)
	optional := map[string]bool{}
	for field, f := range fields {
		if strings.Contains(f.Tag.Get("json"), ",omitempty") {
			optional[field] = true
		}
		types, ok := properties[field]
		if want := jsonType(f.Type); ok && want != "" && types != want {
			t.Errorf("%s.%s of %v is %s in Go, %s in the schema", name, field, of, want, types)
		}
	}
	if diff := cmp.Diff(keys(fields), keys(properties)); diff != "" {
		t.Errorf("%s (-%v +schema):\n%s", name, of, diff)
	}
	for field := range properties {
		if required[field] == optional[field] {
			t.Errorf("%s.%s is required: %t", name, field, required[field])
		}
	}
}

// propertiesOf gives the types of an object's properties, and which are required,
// of allOf as well.
func propertiesOf(t *testing.T, defs, schema node) (types map[string]string, required map[string]bool) {
	types, required = map[string]string{}, map[string]bool{}
	if all, ok := schema["allOf"].([]any); ok {
		for _, part := range all {
			moreTypes, moreRequired := propertiesOf(t, defs, resolved(t, defs, part))
			for name := range moreRequired {
				required[name] = true
			}
			for name, s := range moreTypes {
				types[name] = s
			}
		}
	}
	if list, ok := schema["required"].([]any); ok {
		for _, name := range list {
			required[name.(string)] = true
			if _, ok := types[name.(string)]; !ok {
				types[name.(string)] = "" // an item's profiles are described where they differ
			}
		}
	}
	for name, property := range at(t, schema, "properties") {
		types[name] = typeOf(resolved(t, defs, property))
	}
	return types, required
}

func resolved(t *testing.T, defs node, schema any) node {
	if ref, ok := schema.(node)["$ref"].(string); ok {
		return at(t, defs, strings.TrimPrefix(ref, "#/$defs/"))
	}
	return schema.(node)
}

// typeOf is the type that a schema names; null aside.
func typeOf(schema node) string {
	value := func(v any) string {
		switch v.(type) {
		case string:
			return "string"
		case bool:
			return "boolean"
		default:
			return ""
		}
	}
	switch kind := schema["type"].(type) {
	case string:
		return kind
	case []any:
		return kind[0].(string)
	}
	if list, ok := schema["enum"].([]any); ok {
		return value(list[0])
	}
	return value(schema["const"])
}

// jsonType is the type that a Go type has in JSON; "" for what it does not say.
func jsonType(of reflect.Type) string {
	switch of.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return "integer"
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 { // a payload
			return "object"
		}
		return "array"
	case reflect.Pointer:
		if of.Elem().Kind() == reflect.String {
			return "string"
		}
		return ""
	case reflect.Struct:
		if of.PkgPath() == "time" {
			return "string"
		}
		return "object"
	default:
		return ""
	}
}

// fieldsOf gives the fields of a struct by their names in JSON.
func fieldsOf(of reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(of) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			fields[name] = f
		}
	}
	return fields
}
