// Package projectiontest draws chats for property tests: few users, groups and
// sequences, so that everything that can meet does meet.
package projectiontest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
)

// Now is a time shortly after all drawn events.
var Now = events.MicrosOf(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// Apps, Users and Groups are all that drawn events name. Some are odd on purpose.
var (
	Apps   = []string{"demo", "other"}
	Users  = []string{"ann", "bob", "O'Brien\\", "*.>", "C2C", "emoji 😀/%"}
	Groups = []string{"g1", "GROUP'2\\", "g {x:String} 3"}
)

// Events draws up to n events in no particular order.
func Events(t *rapid.T, n int) []events.Event {
	count := rapid.IntRange(0, n).Draw(t, "events")
	list := make([]events.Event, count)
	for i := range list {
		list[i] = event(t, i)
	}
	return list
}

func event(t *rapid.T, i int) events.Event {
	return events.Event{
		ID:   fmt.Sprintf("e%d", i),
		App:  rapid.SampledFrom(Apps).Draw(t, "app"),
		Time: eventTime(t),
		Body: body(t),
	}
}

// eventTime draws from the two weeks before Now, so that some are expired, and often the same.
func eventTime(t *rapid.T) events.Micros {
	hours := rapid.IntRange(0, 14*24).Draw(t, "hoursAgo")
	return Now - events.Micros(hours)*3_600_000_000
}

func user(t *rapid.T) string  { return rapid.SampledFrom(Users).Draw(t, "user") }
func group(t *rapid.T) string { return rapid.SampledFrom(Groups).Draw(t, "group") }

func conversation(t *rapid.T) events.Conversation {
	switch rapid.IntRange(0, 4).Draw(t, "type") {
	case 0, 1:
		return events.C2C(user(t), user(t))
	case 2, 3:
		return events.Group(group(t))
	default:
		return events.System(user(t))
	}
}

func sequence(t *rapid.T) uint64 {
	if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
		return rapid.SampledFrom([]uint64{1 << 32, 1<<32 - 1, events.MaxSequence, 100_000}).Draw(t, "sequence")
	}
	return rapid.Uint64Range(1, 12).Draw(t, "sequence")
}

func of(t *rapid.T) events.ConversationOf {
	u := user(t)
	c := conversation(t)
	switch c.Type {
	case events.TypeC2C:
		c = events.C2C(u, c.A)
	case events.TypeSystem:
		c = events.System(u)
	}
	return events.ConversationOf{UserID: u, ConversationID: c.IDFor(u)}
}

func text(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "hello", "it's \\ \t\n", "世界"}).Draw(t, "text")
}

func flag(t *rapid.T) bool { return rapid.IntRange(0, 3).Draw(t, "flag") == 0 }

func payload(t *rapid.T) []byte {
	switch rapid.IntRange(0, 3).Draw(t, "payload") {
	case 0:
		return nil
	case 1:
		return []byte(`{"data":"` + strings.Repeat("x", 2000) + `"}`)
	default:
		return []byte(`{"text":"hello"}`)
	}
}

func messageSent(t *rapid.T) events.Body {
	m := &events.MessageSent{
		Conversation:       conversation(t),
		MessageID:          fmt.Sprintf("m%d", rapid.IntRange(0, 99).Draw(t, "messageID")),
		Sequence:           sequence(t),
		Type:               rapid.SampledFrom([]string{events.TypeText, "TIMImageElem", "mine"}).Draw(t, "type"),
		Payload:            payload(t),
		MessageForShow:     text(t),
		Nick:               text(t),
		Avatar:             text(t),
		NameCard:           text(t),
		CloudCustomData:    text(t),
		OnlineOnly:         flag(t),
		ExcludedFromUnread: flag(t),
		ExcludedFromLast:   flag(t),
	}
	switch m.Conversation.Type {
	case events.TypeC2C:
		m.From = rapid.SampledFrom([]string{m.Conversation.A, m.Conversation.B}).Draw(t, "from")
	case events.TypeGroup:
		m.From = user(t)
		m.AtAll = flag(t)
		for range rapid.IntRange(0, 2).Draw(t, "mentions") {
			m.AtUsers = append(m.AtUsers, user(t))
		}
		slices.Sort(m.AtUsers)
		m.AtUsers = slices.Compact(m.AtUsers)
	default:
		m.From = rapid.SampledFrom([]string{"", user(t)}).Draw(t, "from")
	}
	return m
}

func body(t *rapid.T) events.Body {
	switch rapid.IntRange(0, 24).Draw(t, "body") {
	default:
		return messageSent(t)
	case 0, 1:
		return &events.MessageRecalled{
			Conversation: conversation(t), Sequence: sequence(t),
			Revoker: rapid.SampledFrom([]string{"", user(t)}).Draw(t, "revoker"), Reason: text(t),
		}
	case 2:
		m := &events.MessageModified{
			Conversation: conversation(t), Sequence: sequence(t), Version: rapid.Uint64Range(1, 3).Draw(t, "version"),
			Payload: payload(t), HasMessageForShow: flag(t), HasCloudCustomData: flag(t),
		}
		if m.Payload != nil {
			m.PayloadText = text(t)
		}
		if m.HasMessageForShow {
			m.MessageForShow = text(t)
		}
		if m.HasCloudCustomData {
			m.CloudCustomData = text(t)
		}
		return m
	case 3, 4:
		return &events.ConversationRead{ConversationOf: of(t), Sequence: rapid.SampledFrom([]uint64{0, sequence(t)}).Draw(t, "read")}
	case 5:
		return &events.ConversationPinned{ConversationOf: of(t), IsPinned: flag(t)}
	case 6:
		return &events.ConversationRemindTypeSet{ConversationOf: of(t), MessageRemindType: rapid.SampledFrom(
			[]string{events.RemindAccept, events.RemindDiscard, events.RemindAcceptNotNotify}).Draw(t, "remind")}
	case 7:
		return &events.ConversationMarked{ConversationOf: of(t), MarkList: rapid.SampledFrom(
			[][]uint64{{}, {1}, {4}, {1, 4, events.MaxSequence}}).Draw(t, "marks")}
	case 8:
		return &events.ConversationGroupsSet{ConversationOf: of(t), ConversationGroupList: rapid.SampledFrom(
			[][]string{{}, {"work"}, {"it's \\", "work"}}).Draw(t, "groups")}
	case 9:
		return &events.ConversationCustomDataSet{ConversationOf: of(t), CustomData: text(t)}
	case 10:
		return &events.ConversationDraftSet{ConversationOf: of(t), DraftText: text(t)}
	case 11:
		return &events.ConversationDeleted{ConversationOf: of(t), ThroughSequence: sequence(t), ClearHistory: flag(t)}
	case 12:
		return &events.ConversationCleared{ConversationOf: of(t), ThroughSequence: sequence(t)}
	case 13, 14, 15:
		return &events.GroupMemberChanged{
			GroupID: group(t), UserID: user(t),
			Status: rapid.SampledFrom([]string{events.StatusJoined, events.StatusJoined, events.StatusLeft, events.StatusKicked}).Draw(t, "status"),
			Role:   "Member", NameCard: text(t),
			JoinSequence: rapid.Uint64Range(0, 6).Draw(t, "joinSequence"), JoinTime: eventTime(t), OperatorID: user(t),
		}
	case 16:
		return &events.GroupProfileChanged{
			GroupID: group(t), Name: text(t), Avatar: text(t),
			Type:         rapid.SampledFrom([]string{"", "Public", events.GroupTypeChatRoom}).Draw(t, "groupType"),
			Introduction: text(t), OwnerID: user(t), CreateTime: eventTime(t),
			MemberCount: 7, MuteAllMembers: flag(t), Dismissed: flag(t),
			GroupCustomField: []events.KeyValue{{Key: text(t), Value: text(t)}},
		}
	case 17:
		return &events.UserProfileChanged{
			UserID: user(t), Nick: text(t), Avatar: text(t), Gender: events.DefaultGender, Birthday: 20_000_101,
			AllowType: events.DefaultAllowType, AdminForbidType: events.DefaultAdminForbidType,
		}
	case 18:
		return &events.FriendRemarkSet{UserID: user(t), FriendID: user(t), Remark: text(t)}
	case 19:
		if flag(t) && flag(t) {
			return &events.UserErased{UserID: user(t)}
		}
		return &events.AppPlanChanged{
			MaxConversations: rapid.Uint32Range(1, 5).Draw(t, "max"),
			Retention:        rapid.SampledFrom([]uint64{0, 86_400, 604_800}).Draw(t, "retention"),
		}
	}
}
