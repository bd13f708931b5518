package projectiontest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
)

// kinds are the bodies besides messageSent, and how frequent they are.
var kinds = []struct {
	weight int
	draw   func(*drawer) events.Body
}{
	{6, (*drawer).groupMemberChanged},
	{4, (*drawer).messageRecalled},
	{3, (*drawer).messageModified},
	{4, (*drawer).conversationRead},
	{1, (*drawer).conversationPinned},
	{1, (*drawer).conversationRemindTypeSet},
	{2, (*drawer).conversationMarked},
	{1, (*drawer).conversationGroupsSet},
	{1, (*drawer).conversationCustomDataSet},
	{1, (*drawer).conversationDraftSet},
	{2, (*drawer).conversationDeleted},
	{1, (*drawer).conversationCleared},
	{2, (*drawer).groupProfileChanged},
	{1, (*drawer).userProfileChanged},
	{1, (*drawer).friendRemarkSet},
	{1, (*drawer).appPlanChanged},
	{1, (*drawer).userErased},
}

func (d *drawer) messageSent() events.Body {
	payload, _ := d.payload()
	m := &events.MessageSent{
		Conversation:       d.conversation(),
		MessageID:          fmt.Sprintf("m%d", rapid.IntRange(0, 99).Draw(d.t, "messageID")),
		Sequence:           d.sequence(),
		Type:               d.oneOf(events.TypeText, "TIMImageElem", "mine"),
		Payload:            payload,
		MessageForShow:     d.text(),
		Nick:               d.text(),
		Avatar:             d.text(),
		NameCard:           d.text(),
		CloudCustomData:    d.text(),
		OnlineOnly:         d.flag(),
		ExcludedFromUnread: d.flag(),
		ExcludedFromLast:   d.flag(),
		AtAll:              d.flag(),
	}
	switch m.Conversation.Type {
	case events.TypeC2C:
		m.From = d.oneOf(m.Conversation.A, m.Conversation.B)
	case events.TypeGroup:
		m.From = d.user()
	case events.TypeSystem:
		m.From = d.userOrNone()
	}
	for range rapid.IntRange(0, 2).Draw(d.t, "mentions") {
		m.AtUsers = append(m.AtUsers, d.user())
	}
	slices.Sort(m.AtUsers)
	m.AtUsers = slices.Compact(m.AtUsers)
	if d.loud {
		m.AtAll, m.OnlineOnly, m.ExcludedFromUnread = true, false, false
		m.From, m.Sequence = d.users[0], uint64(len(d.places)+1)
	}
	d.places = append(d.places, place{m.Conversation, m.Sequence})
	return m
}

// payload draws a payload and its text; some are around 1 KB, above which a
// list leaves them out.
func (d *drawer) payload() (payload []byte, text string) {
	switch size := rapid.SampledFrom([]int{0, 1, 1, 1, 1024, 1025, 2000}).Draw(d.t, "payload"); size {
	case 0:
		return nil, ""
	case 1:
		text = d.oneOf("", "hello", "new")
		return fmt.Appendf(nil, `{"text":%q,"more":["<\"\\&>",1e400,null]}`, text), text
	default:
		return []byte(`{"data":"` + strings.Repeat("x", size-len(`{"data":""}`)) + `"}`), ""
	}
}

func (d *drawer) messageRecalled() events.Body {
	at := d.place()
	return &events.MessageRecalled{
		Conversation: at.conversation, Sequence: at.sequence, Revoker: d.userOrNone(), Reason: d.text(),
	}
}

func (d *drawer) messageModified() events.Body {
	at := d.place()
	payload, text := d.payload()
	m := &events.MessageModified{
		Conversation: at.conversation, Sequence: at.sequence, Version: rapid.Uint64Range(1, 3).Draw(d.t, "version"),
		Payload: payload, PayloadText: text, HasMessageForShow: d.flag(), HasCloudCustomData: d.flag(),
	}
	if at.conversation.Type != events.TypeC2C {
		m.From = rapid.SampledFrom([]string{"", d.user()}).Draw(d.t, "from")
	}
	if m.HasMessageForShow {
		m.MessageForShow = d.text()
	}
	if m.HasCloudCustomData {
		m.CloudCustomData = d.text()
	}
	return m
}

func (d *drawer) conversationRead() events.Body {
	return &events.ConversationRead{ConversationOf: d.of(), Sequence: d.sequenceOrZero()}
}

func (d *drawer) conversationPinned() events.Body {
	return &events.ConversationPinned{ConversationOf: d.of(), IsPinned: rapid.Bool().Draw(d.t, "pinned")}
}

func (d *drawer) conversationRemindTypeSet() events.Body {
	return &events.ConversationRemindTypeSet{ConversationOf: d.of(), MessageRemindType: d.oneOf(
		events.RemindAccept, events.RemindDiscard, events.RemindAcceptNotNotify,
		"AcceptNotNotifyExceptAt", "NotReceiveMsgExceptAt",
	)}
}

func (d *drawer) conversationMarked() events.Body {
	return &events.ConversationMarked{ConversationOf: d.of(), MarkList: rapid.SampledFrom(
		[][]uint64{nil, {1}, {4}, {1, 4, events.MaxSequence}}).Draw(d.t, "marks")}
}

func (d *drawer) conversationGroupsSet() events.Body {
	return &events.ConversationGroupsSet{ConversationOf: d.of(), ConversationGroupList: rapid.SampledFrom(
		[][]string{nil, {"work"}, {"it's \\", "work"}}).Draw(d.t, "groups")}
}

func (d *drawer) conversationCustomDataSet() events.Body {
	return &events.ConversationCustomDataSet{ConversationOf: d.of(), CustomData: d.text()}
}

func (d *drawer) conversationDraftSet() events.Body {
	return &events.ConversationDraftSet{ConversationOf: d.of(), DraftText: d.text()}
}

func (d *drawer) conversationDeleted() events.Body {
	return &events.ConversationDeleted{ConversationOf: d.of(), ThroughSequence: d.sequenceOrZero(), ClearHistory: d.flag()}
}

func (d *drawer) conversationCleared() events.Body {
	return &events.ConversationCleared{ConversationOf: d.of(), ThroughSequence: d.sequenceOrZero()}
}

func (d *drawer) groupMemberChanged() events.Body {
	return &events.GroupMemberChanged{
		GroupID: d.group(), UserID: d.user(),
		Status: d.oneOf(events.StatusJoined, events.StatusJoined, events.StatusJoined, events.StatusLeft, events.StatusKicked),
		Role:   d.oneOf("", "Owner", "Member"), NameCard: d.text(),
		JoinSequence: rapid.SampledFrom([]uint64{0, d.sequenceOrZero()}).Draw(d.t, "joinSequence"), JoinTime: d.anyTime(), OperatorID: d.userOrNone(),
	}
}

func (d *drawer) groupProfileChanged() events.Body {
	return &events.GroupProfileChanged{
		GroupID: d.group(), Name: d.text(), Avatar: d.text(),
		Type:         d.oneOf("", "Public", "Community", events.GroupTypeChatRoom, events.GroupTypeAVChatRoom),
		Introduction: d.text(), Notification: d.text(), OwnerID: d.userOrNone(), CreateTime: d.anyTime(),
		MemberCount: d.number(), MaxMemberCount: d.number(), MuteAllMembers: d.flag(),
		JoinOption: d.text(), InviteOption: d.text(), IsSupportTopic: d.flag(), InfoSequence: d.number(),
		GroupCustomField: d.customField(), Dismissed: d.flag(),
	}
}

func (d *drawer) userProfileChanged() events.Body {
	return &events.UserProfileChanged{
		UserID: d.user(), Nick: d.text(), Avatar: d.text(),
		Gender:   d.oneOf(events.DefaultGender, "Gender_Type_Female"),
		Birthday: d.number32(), Location: d.text(), SelfSignature: d.text(),
		AllowType: d.oneOf(events.DefaultAllowType, "AllowType_Type_DenyAny"),
		Language:  d.number32(), MessageSettings: d.number32(),
		AdminForbidType: d.oneOf(events.DefaultAdminForbidType, "AdminForbid_Type_SendOut"),
		Level:           d.number32(), Role: d.number32(), ProfileCustomField: d.customField(),
	}
}

// customField keeps its order and its repeats: it is a list, not a set.
func (d *drawer) customField() []events.KeyValue {
	var list []events.KeyValue
	for range rapid.IntRange(0, 2).Draw(d.t, "customFields") {
		list = append(list, events.KeyValue{Key: d.text(), Value: d.text()})
	}
	return list
}

func (d *drawer) friendRemarkSet() events.Body {
	return &events.FriendRemarkSet{UserID: d.user(), FriendID: d.user(), Remark: d.text()}
}

func (d *drawer) appPlanChanged() events.Body {
	return &events.AppPlanChanged{
		MaxConversations: rapid.SampledFrom([]uint32{1, 2, 3, 5, 1000}).Draw(d.t, "max"),
		// Some end within a day, some reach back before every event.
		Retention: rapid.SampledFrom([]uint64{
			0, 1, 11 * 3600, 13 * 3600, 86_400, events.DefaultRetention, 1 << 34, math.MaxInt64,
		}).Draw(d.t, "retention"),
	}
}

func (d *drawer) userErased() events.Body { return &events.UserErased{UserID: d.user()} }
