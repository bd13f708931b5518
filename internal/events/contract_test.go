package events

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// TestDecode_OrderOfChecks mends an event in which everything is wrong, fault
// by fault: the one reported is always the first in the contract's order,
// wherever it stands in the value.
func TestDecode_OrderOfChecks(t *testing.T) {
	avro, asJSON := []Header{{HeaderContentType, []byte("application/avro")}}, []Header(nil)
	const (
		mended  = `"messageID":"m","sequence":1,"type":"t",`
		twoEnds = `"groupID":"g","to":"b","from":"a"`
	)
	sent := func(fields string) string {
		return `{"messageSent":{` + fields + `},"time":"2026-11-23T03:00:00Z","app":"demo","id":"e1"}`
	}
	for _, step := range []struct {
		headers []Header
		value   string
		code    Code
		field   string
	}{
		{avro, `{"userErased":{},` + strings.Repeat(" ", 256*kilobyte), CodeTooLarge, ""},
		{avro, `{"userErased":{},`, CodeUnknownEncoding, ""},
		{asJSON, `{"userErased":{},`, CodeMalformed, ""},
		{asJSON, `{"userErased":{},"messageSent":{},"time":7,"app":"a.b","id":""}`, CodeMissingField, "id"},
		{asJSON, `{"userErased":{},"messageSent":{},"time":7,"app":"a.b","id":"e1"}`, CodeInvalidField, "app"},
		{asJSON, `{"userErased":{},"messageSent":{},"time":7,"app":"demo","id":"e1"}`, CodeInvalidField, "time"},
		{asJSON, `{"userErased":{},"messageSent":{},"time":"2026-11-23T03:00:00Z","app":"demo","id":"e1"}`, CodeBodyCount, ""},
		{asJSON, sent(`"nick":7,"type":"","sequence":0,"groupID":"\n","to":"\n","from":"\n"`), CodeInvalidField, "messageSent.from"},
		{asJSON, sent(`"nick":7,"type":"","sequence":0,"groupID":"\n","to":"\n","from":"a"`), CodeInvalidField, "messageSent.to"},
		{asJSON, sent(`"nick":7,"type":"","sequence":0,"groupID":"\n","to":"b","from":"a"`), CodeInvalidField, "messageSent.groupID"},
		{asJSON, sent(`"nick":7,"type":"","sequence":0,` + twoEnds), CodeMissingField, "messageSent.messageID"},
		{asJSON, sent(`"nick":7,"type":"","sequence":0,"messageID":"m",` + twoEnds), CodeInvalidField, "messageSent.sequence"},
		{asJSON, sent(`"nick":7,"type":"","sequence":1,"messageID":"m",` + twoEnds), CodeMissingField, "messageSent.type"},
		{asJSON, sent(`"nick":7,` + mended + twoEnds), CodeInvalidField, "messageSent.nick"},
		{asJSON, sent(mended + twoEnds), CodeInvalidAddress, "messageSent"},
	} {
		wantError(t, Record{Value: []byte(step.value), Headers: step.headers, Timestamp: recordTime}, step.code, step.field)
	}
	mustDecode(t, jsonRecord(sent(mended+`"to":"b","from":"a"`)))
}

// TestDecode_EmptyTexts finds the fields in which "" is something else than
// leaving them out, among all texts and IDs of all bodies.
func TestDecode_EmptyTexts(t *testing.T) {
	type outcome struct {
		Event Event
		Code  Code
		Field string
	}
	var differ []string
	for _, name := range sampleFiles(t, ".json", false) {
		var event, fields map[string]json.RawMessage
		body, _, _ := strings.Cut(name, "/")
		if err := errors.Join(json.Unmarshal(readSample(t, name), &event), json.Unmarshal(event[body], &fields)); err != nil {
			t.Fatal(err)
		}
		try := func() outcome {
			var err error
			if event[body], err = json.Marshal(fields); err != nil {
				t.Fatal(err)
			}
			value, err := json.Marshal(event)
			if err != nil {
				t.Fatal(err)
			}
			e, err := NewDecoder(DefaultLimits()).Decode(jsonRecord(string(value)))
			var dead *Error
			if errors.As(err, &dead) {
				return outcome{Code: dead.Code, Field: dead.Field}
			}
			return outcome{Event: e}
		}
		for field, value := range fields {
			if value[0] != '"' || bodyByName[body].fields[bodyByName[body].byName[field]].kind != kindText {
				continue
			}
			fields[field] = json.RawMessage(`""`)
			empty := try()
			delete(fields, field)
			if absent := try(); !cmp.Equal(empty, absent) {
				differ = append(differ, body+"."+field)
			}
			fields[field] = value
		}
	}
	slices.Sort(differ)
	want := []string{
		"conversationCustomDataSet.customData", "conversationDraftSet.draftText", "friendRemarkSet.remark",
		"messageModified.cloudCustomData", "messageModified.messageForShow", "messageSent.messageForShow",
	}
	if diff := cmp.Diff(want, slices.Compact(differ)); diff != "" {
		t.Errorf("fields whose \"\" says something (-want +got):\n%s", diff)
	}
}

// TestSchema_KeepsWhatWasReleased holds that every released field is still
// there, with its number, name, type and presence.
func TestSchema_KeepsWhatWasReleased(t *testing.T) {
	data, err := os.ReadFile("../../schemas/chat/v1/released.binpb")
	if err != nil {
		t.Fatal(err)
	}
	set := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(data, set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		t.Fatal(err)
	}
	released, err := files.FindFileByPath("chat/v1/events.proto")
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for i := range released.Messages().Len() {
		before := released.Messages().Get(i)
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(before.FullName())
		if err != nil {
			t.Errorf("%s is gone: %v", before.FullName(), err)
			continue
		}
		now := found.(protoreflect.MessageDescriptor)
		for n := range before.Fields().Len() {
			f := before.Fields().Get(n)
			fields++
			if got, want := shapeOf(now.Fields().ByNumber(f.Number())), shapeOf(f); got != want {
				t.Errorf("field %d of %s is %+v, want %+v", f.Number(), before.FullName(), got, want)
			}
		}
	}
	if least := (&eventspb.Event{}).ProtoReflect().Descriptor().Fields().Len(); fields < least {
		t.Errorf("%d fields were released, want at least the %d of Event", fields, least)
	}
}

// fieldShape is what nobody may change of a released field.
type fieldShape struct {
	json, message, oneof string
	kind                 protoreflect.Kind
	cardinality          protoreflect.Cardinality
	presence             bool
}

func shapeOf(f protoreflect.FieldDescriptor) fieldShape {
	if f == nil {
		return fieldShape{}
	}
	s := fieldShape{json: f.JSONName(), kind: f.Kind(), cardinality: f.Cardinality(), presence: f.HasPresence()}
	if f.Message() != nil {
		s.message = string(f.Message().FullName())
	}
	if f.ContainingOneof() != nil {
		s.oneof = string(f.ContainingOneof().Name())
	}
	return s
}
