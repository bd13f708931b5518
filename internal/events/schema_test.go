package events

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// TestBodySpecs_AreTheSchema holds that the decoder's table and the Protobuf
// schema say the same: names, numbers, types and presence, of all fields.
func TestBodySpecs_AreTheSchema(t *testing.T) {
	event := (&eventspb.Event{}).ProtoReflect().Descriptor()
	if event.Index() != 0 {
		t.Errorf("Event is message %d of its file, want 0: its index in the Confluent format", event.Index())
	}
	compareField(t, "Event", event, &fieldID)
	compareField(t, "Event", event, &fieldApp)
	compareField(t, "Event", event, &fieldTime)

	bodies := event.Oneofs().ByName("body").Fields()
	if got, want := event.Fields().Len(), bodies.Len()+3; got != want {
		t.Errorf("Event has %d fields, want %d: id, app, time and the bodies", got, want)
	}
	if bodies.Len() != len(bodySpecs) {
		t.Errorf("the schema has %d bodies, the table %d", bodies.Len(), len(bodySpecs))
	}
	for i := range bodySpecs {
		spec := &bodySpecs[i]
		body := bodies.ByNumber(spec.num)
		if body == nil || body.JSONName() != spec.name {
			t.Errorf("body %d is %v in the schema, %s in the table", spec.num, body, spec.name)
			continue
		}
		message := body.Message()
		if message.Fields().Len() != len(spec.fields) {
			t.Errorf("%s has %d fields in the schema, %d in the table", spec.name, message.Fields().Len(), len(spec.fields))
		}
		for n := range spec.fields {
			compareField(t, spec.name, message, &spec.fields[n])
		}
	}
}

func compareField(t *testing.T, body string, message protoreflect.MessageDescriptor, f *field) {
	t.Helper()
	type shape struct {
		name     string
		kind     protoreflect.Kind
		list     bool
		presence bool
	}
	want := map[kind]shape{
		kindText:      {kind: protoreflect.StringKind, presence: f.presence},
		kindInt:       {kind: protoreflect.Int64Kind, presence: f.presence},
		kindUint32:    {kind: protoreflect.Uint32Kind},
		kindBool:      {kind: protoreflect.BoolKind, presence: f.presence},
		kindTime:      {kind: protoreflect.MessageKind, presence: true},
		kindObject:    {kind: protoreflect.BytesKind},
		kindTexts:     {kind: protoreflect.StringKind, list: true},
		kindInts:      {kind: protoreflect.Int64Kind, list: true},
		kindKeyValues: {kind: protoreflect.MessageKind, list: true},
	}[f.kind]
	want.name = fieldNames[f.key]
	descriptor := message.Fields().ByNumber(f.num)
	if descriptor == nil {
		t.Errorf("%s.%s has no field %d in the schema", body, want.name, f.num)
		return
	}
	got := shape{descriptor.JSONName(), descriptor.Kind(), descriptor.IsList(), descriptor.HasPresence()}
	if got != want {
		t.Errorf("%s, field %d: the schema has %+v, the table %+v", body, f.num, got, want)
	}
	// What must be there although it may be empty needs presence to be told apart.
	if f.required && f.kind != kindText && f.kind != kindTexts && f.kind != kindInts && !f.presence {
		t.Errorf("%s.%s is required but cannot be told from 0", body, want.name)
	}
}

// TestDecode_GeneratedCode holds that events of the generated code decode,
// absent and empty told apart where the schema does.
func TestDecode_GeneratedCode(t *testing.T) {
	of := ConversationOf{UserID: "u", ConversationID: "C2Cv"}
	for _, test := range []struct {
		name string
		body any // a oneof wrapper
		want Body
		code Code
	}{
		{
			"message",
			&eventspb.Event_MessageSent{MessageSent: &eventspb.MessageSent{
				From: "b", To: "a", MessageId: "m", Sequence: new(int64(9)), Type: "TIMTextElem", Payload: []byte(" { \"text\" : \"x y\" } "),
				Nick: "n", Avatar: "v", NameCard: "c", AtUserList: []string{"b", "a", AtAllToken}, CloudCustomData: "d",
				OnlineOnly: true, ExcludedFromUnreadCount: true, ExcludedFromLastMessage: true,
			}},
			&MessageSent{
				Conversation: C2C("a", "b"), From: "b", MessageID: "m", Sequence: 9, Type: "TIMTextElem", Payload: []byte(`{"text":"x y"}`),
				MessageForShow: "x y", Nick: "n", Avatar: "v", NameCard: "c", AtUsers: []string{"a", "b"}, AtAll: true, CloudCustomData: "d",
				OnlineOnly: true, ExcludedFromUnread: true, ExcludedFromLast: true,
			},
			"",
		},
		{
			"message with an empty preview",
			&eventspb.Event_MessageSent{MessageSent: &eventspb.MessageSent{
				From: "a", GroupId: "g", MessageId: "m", Sequence: new(int64(1)), Type: "TIMImageElem", MessageForShow: new(""),
			}},
			&MessageSent{Conversation: Group("g"), From: "a", MessageID: "m", Sequence: 1, Type: "TIMImageElem"},
			"",
		},
		{
			"message of sequence 0",
			&eventspb.Event_MessageSent{MessageSent: &eventspb.MessageSent{From: "a", GroupId: "g", MessageId: "m", Sequence: new(int64(0)), Type: "t"}},
			nil, CodeInvalidField,
		},
		{
			"message without a sequence",
			&eventspb.Event_MessageSent{MessageSent: &eventspb.MessageSent{From: "a", GroupId: "g", MessageId: "m", Type: "t"}},
			nil, CodeMissingField,
		},
		{
			"modification with nothing",
			&eventspb.Event_MessageModified{MessageModified: &eventspb.MessageModified{GroupId: "g", Sequence: new(int64(1)), Version: new(int64(1))}},
			&MessageModified{Conversation: Group("g"), Sequence: 1, Version: 1},
			"",
		},
		{
			"modification with empty texts",
			&eventspb.Event_MessageModified{MessageModified: &eventspb.MessageModified{
				GroupId: "g", Sequence: new(int64(1)), Version: new(int64(1)), Payload: []byte{}, MessageForShow: new(""), CloudCustomData: new(""),
			}},
			&MessageModified{Conversation: Group("g"), Sequence: 1, Version: 1, HasMessageForShow: true, HasCloudCustomData: true},
			"",
		},
		{
			"read up to 0",
			&eventspb.Event_ConversationRead{ConversationRead: &eventspb.ConversationRead{UserId: "u", ConversationId: "C2Cv", Sequence: new(int64(0))}},
			&ConversationRead{of, 0},
			"",
		},
		{
			"unpinned",
			&eventspb.Event_ConversationPinned{ConversationPinned: &eventspb.ConversationPinned{UserId: "u", ConversationId: "C2Cv", IsPinned: new(false)}},
			&ConversationPinned{of, false},
			"",
		},
		{
			"pinned or not",
			&eventspb.Event_ConversationPinned{ConversationPinned: &eventspb.ConversationPinned{UserId: "u", ConversationId: "C2Cv"}},
			nil, CodeMissingField,
		},
		{
			"remind type of none",
			&eventspb.Event_ConversationRemindTypeSet{ConversationRemindTypeSet: &eventspb.ConversationRemindTypeSet{UserId: "u", ConversationId: "C2Cv"}},
			nil, CodeMissingField,
		},
		{
			"no marks",
			&eventspb.Event_ConversationMarked{ConversationMarked: &eventspb.ConversationMarked{UserId: "u", ConversationId: "C2Cv"}},
			&ConversationMarked{of, nil},
			"",
		},
		{
			"marks",
			&eventspb.Event_ConversationMarked{ConversationMarked: &eventspb.ConversationMarked{UserId: "u", ConversationId: "C2Cv", MarkList: []int64{300, 1, 1}}},
			&ConversationMarked{of, []uint64{1, 300}},
			"",
		},
		{
			"no groups",
			&eventspb.Event_ConversationGroupsSet{ConversationGroupsSet: &eventspb.ConversationGroupsSet{UserId: "u", ConversationId: "C2Cv"}},
			&ConversationGroupsSet{of, nil},
			"",
		},
		{
			"custom data, empty",
			&eventspb.Event_ConversationCustomDataSet{ConversationCustomDataSet: &eventspb.ConversationCustomDataSet{UserId: "u", ConversationId: "C2Cv", CustomData: new("")}},
			&ConversationCustomDataSet{of, ""},
			"",
		},
		{
			"custom data, absent",
			&eventspb.Event_ConversationCustomDataSet{ConversationCustomDataSet: &eventspb.ConversationCustomDataSet{UserId: "u", ConversationId: "C2Cv"}},
			nil, CodeMissingField,
		},
		{
			"draft, absent",
			&eventspb.Event_ConversationDraftSet{ConversationDraftSet: &eventspb.ConversationDraftSet{UserId: "u", ConversationId: "C2Cv"}},
			nil, CodeMissingField,
		},
		{
			"joined at 0",
			&eventspb.Event_GroupMemberChanged{GroupMemberChanged: &eventspb.GroupMemberChanged{
				GroupId: "g", UserId: "u", Status: "joined", JoinSequence: new(int64(0)), JoinTime: &timestamppb.Timestamp{Seconds: -1, Nanos: 999_999_999},
			}},
			&GroupMemberChanged{GroupID: "g", UserID: "u", Status: StatusJoined, JoinTime: -1},
			"",
		},
		{
			"joined without a sequence",
			&eventspb.Event_GroupMemberChanged{GroupMemberChanged: &eventspb.GroupMemberChanged{GroupId: "g", UserId: "u", Status: "joined"}},
			nil, CodeMissingField,
		},
		{
			"remark, absent",
			&eventspb.Event_FriendRemarkSet{FriendRemarkSet: &eventspb.FriendRemarkSet{UserId: "u", FriendId: "f"}},
			nil, CodeMissingField,
		},
		{
			"plan by default",
			&eventspb.Event_AppPlanChanged{AppPlanChanged: &eventspb.AppPlanChanged{}},
			&AppPlanChanged{DefaultMaxConversations, DefaultRetention},
			"",
		},
		{
			"plan for ever",
			&eventspb.Event_AppPlanChanged{AppPlanChanged: &eventspb.AppPlanChanged{Retention: new(int64(0))}},
			&AppPlanChanged{DefaultMaxConversations, 0},
			"",
		},
		{
			"plan of no conversations",
			&eventspb.Event_AppPlanChanged{AppPlanChanged: &eventspb.AppPlanChanged{MaxConversations: new(int64(0))}},
			nil, CodeInvalidField,
		},
		{
			"user profile with its defaults",
			&eventspb.Event_UserProfileChanged{UserProfileChanged: &eventspb.UserProfileChanged{UserId: "u", ProfileCustomField: []*eventspb.KeyValue{{Value: "v"}, {}}}},
			&UserProfileChanged{
				UserID: "u", Gender: DefaultGender, AllowType: DefaultAllowType, AdminForbidType: DefaultAdminForbidType,
				ProfileCustomField: []KeyValue{{Value: "v"}, {}},
			},
			"",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := &eventspb.Event{Id: "e1", App: "demo", Time: timestamppb.New(eventTime.Time())}
			reflect.ValueOf(m).Elem().FieldByName("Body").Set(reflect.ValueOf(test.body))
			value, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if test.code != "" {
				if e, err := NewDecoder(DefaultLimits()).Decode(protobufRecord(value)); codeOf(err) != test.code {
					t.Errorf("Decode = %+v, %v, want code %s", e, err, test.code)
				}
				return
			}
			want := Event{ID: "e1", App: "demo", Time: eventTime, Body: test.want}
			if diff := cmp.Diff(want, mustDecode(t, protobufRecord(value))); diff != "" {
				t.Errorf("Decode (-want +got):\n%s", diff)
			}
		})
	}
}
