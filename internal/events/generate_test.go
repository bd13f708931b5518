package events

import (
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// The generators make every event that Decode can return.

func anyID() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"alice", "bob", "carol", "@TGS#1", "a.b*c>d e/f%", "日本語🎌", AtAllToken}),
		rapid.StringN(1, 20, MaxIDBytes).Filter(ValidID),
	)
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just(""), rapid.StringN(0, 30, 200), rapid.SampledFrom([]string{"\x00\u2028\\\"", "x", strings.Repeat("é", 201)}))
}

// anyPreview is a text as MessageForShow has it.
func anyPreview() *rapid.Generator[string] { return rapid.Map(anyText(), preview) }

func anySequence(least uint64) *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Uint64Range(least, 9), rapid.Uint64Range(MaxSequence-1, MaxSequence))
}

func anyConversation() *rapid.Generator[Conversation] {
	return rapid.Custom(func(t *rapid.T) Conversation {
		switch rapid.IntRange(0, 2).Draw(t, "type") {
		case 0:
			return C2C(anyID().Draw(t, "a"), anyID().Draw(t, "b"))
		case 1:
			return Group(anyID().Draw(t, "group"))
		default:
			return System(anyID().Draw(t, "user"))
		}
	})
}

func anyConversationOf(t *rapid.T) ConversationOf {
	user := anyID().Draw(t, "userID")
	return ConversationOf{UserID: user, ConversationID: anyConversation().Draw(t, "conversation").IDFor(user)}
}

func anyPayload() *rapid.Generator[[]byte] {
	return rapid.Map(rapid.SampledFrom([]string{
		"", `{}`, `{"text":"hi"}`, `{"text":"a\"\\\u00e9","n":-1.50e+3,"l":[true,null,{"text":"no"}]}`, `{"a":1,"a":2}`,
	}), func(s string) []byte {
		if s == "" {
			return nil
		}
		return []byte(s)
	})
}

func anySet[T string | uint64](g *rapid.Generator[T]) *rapid.Generator[[]T] {
	return rapid.Map(rapid.SliceOfN(g, 0, 4), func(list []T) []T { return set(list) })
}

// anyMicros is a time that is not 1970-01-01, which means absent.
func anyMicros() *rapid.Generator[Micros] {
	return rapid.Map(rapid.OneOf(
		rapid.Int64Range(-2, 2),
		rapid.Int64Range(minSeconds*1_000_000, maxSeconds*1_000_000+999_999),
	), func(n int64) Micros { return Micros(n) })
}

func anyPairs() *rapid.Generator[[]KeyValue] {
	return rapid.Map(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) KeyValue {
		return KeyValue{anyText().Draw(t, "key"), anyText().Draw(t, "value")}
	}), 0, 3), func(list []KeyValue) []KeyValue {
		if len(list) == 0 {
			return nil
		}
		return list
	})
}

func anyEvent() *rapid.Generator[Event] {
	return rapid.Custom(func(t *rapid.T) Event {
		return Event{
			ID:   rapid.StringN(1, 30, MaxIDBytes).Draw(t, "id"),
			App:  rapid.StringMatching(`[A-Za-z0-9_-]{1,64}`).Draw(t, "app"),
			Time: Micros(rapid.Int64Range(int64(minTime), int64(MicrosOf(recordTime.Add(MaxAhead)))).Draw(t, "time")),
			Body: anyBody(t),
		}
	})
}

func anyBody(t *rapid.T) Body {
	text := func(name string) string { return anyText().Draw(t, name) }
	id := func(name string) string { return anyID().Draw(t, name) }
	optionalID := func(name string) string { return rapid.OneOf(rapid.Just(""), anyID()).Draw(t, name) }
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	number := func(name string) uint64 { return anySequence(0).Draw(t, name) }
	number32 := func(name string) uint32 { return rapid.Uint32().Draw(t, name) }
	some := func(name, otherwise string) string {
		if s := text(name); s != "" {
			return s
		}
		return otherwise
	}
	bodies := map[string]func() Body{
		"messageSent": func() Body { return anyMessageSent(t) },
		"messageRecalled": func() Body {
			return &MessageRecalled{anyConversation().Draw(t, "conversation"), anySequence(1).Draw(t, "sequence"), optionalID("revoker"), text("reason")}
		},
		"messageModified": func() Body {
			m := &MessageModified{
				Conversation: anyConversation().Draw(t, "conversation"), Sequence: anySequence(1).Draw(t, "sequence"),
				Version: anySequence(1).Draw(t, "version"), Payload: anyPayload().Draw(t, "payload"),
				HasMessageForShow: flag("shown"), HasCloudCustomData: flag("data"),
			}
			m.PayloadText = preview(payloadText(m.Payload))
			if m.HasMessageForShow {
				m.MessageForShow = anyPreview().Draw(t, "messageForShow")
			}
			if m.HasCloudCustomData {
				m.CloudCustomData = text("cloudCustomData")
			}
			return m
		},
		"conversationRead":   func() Body { return &ConversationRead{anyConversationOf(t), number("sequence")} },
		"conversationPinned": func() Body { return &ConversationPinned{anyConversationOf(t), flag("isPinned")} },
		"conversationRemindTypeSet": func() Body {
			return &ConversationRemindTypeSet{anyConversationOf(t), rapid.SampledFrom([]string{RemindAccept, RemindDiscard, "NotReceiveMsgExceptAt"}).Draw(t, "type")}
		},
		"conversationMarked": func() Body {
			return &ConversationMarked{anyConversationOf(t), anySet(anySequence(1)).Draw(t, "marks")}
		},
		"conversationGroupsSet": func() Body {
			return &ConversationGroupsSet{anyConversationOf(t), anySet(rapid.StringN(1, 9, -1)).Draw(t, "groups")}
		},
		"conversationCustomDataSet": func() Body { return &ConversationCustomDataSet{anyConversationOf(t), text("customData")} },
		"conversationDraftSet":      func() Body { return &ConversationDraftSet{anyConversationOf(t), text("draftText")} },
		"conversationDeleted": func() Body {
			return &ConversationDeleted{anyConversationOf(t), number("throughSequence"), flag("clear")}
		},
		"conversationCleared": func() Body { return &ConversationCleared{anyConversationOf(t), number("throughSequence")} },
		"groupMemberChanged": func() Body {
			return &GroupMemberChanged{
				GroupID: id("groupID"), UserID: id("userID"), Status: rapid.SampledFrom([]string{StatusJoined, StatusLeft, StatusKicked}).Draw(t, "status"),
				Role: rapid.SampledFrom([]string{"", "Owner", "Custom"}).Draw(t, "role"), NameCard: text("nameCard"),
				JoinSequence: number("joinSequence"), JoinTime: anyMicros().Draw(t, "joinTime"), OperatorID: optionalID("operatorID"),
			}
		},
		"groupProfileChanged": func() Body {
			return &GroupProfileChanged{
				GroupID: id("groupID"), Name: text("name"), Avatar: text("avatar"), Type: rapid.SampledFrom([]string{"", "Public", "Community"}).Draw(t, "type"),
				Introduction: text("introduction"), Notification: text("notification"), OwnerID: optionalID("ownerID"),
				CreateTime: anyMicros().Draw(t, "createTime"), MemberCount: number("memberCount"), MaxMemberCount: number("maxMemberCount"),
				MuteAllMembers: flag("mute"), JoinOption: text("joinOption"), InviteOption: text("inviteOption"), IsSupportTopic: flag("topic"),
				InfoSequence: number("infoSequence"), GroupCustomField: anyPairs().Draw(t, "fields"), Dismissed: flag("dismissed"),
			}
		},
		"userProfileChanged": func() Body {
			return &UserProfileChanged{
				UserID: id("userID"), Nick: text("nick"), Avatar: text("avatar"), Gender: some("gender", DefaultGender), Birthday: number32("birthday"),
				Location: text("location"), SelfSignature: text("selfSignature"), AllowType: some("allowType", DefaultAllowType),
				Language: number32("language"), MessageSettings: number32("settings"), AdminForbidType: some("forbid", DefaultAdminForbidType),
				Level: number32("level"), Role: number32("role"), ProfileCustomField: anyPairs().Draw(t, "fields"),
			}
		},
		"friendRemarkSet": func() Body { return &FriendRemarkSet{id("userID"), id("friendID"), text("remark")} },
		"appPlanChanged": func() Body {
			return &AppPlanChanged{rapid.Uint32Range(1, 1000).Draw(t, "maxConversations"), number("retention")}
		},
		"userErased": func() Body { return &UserErased{id("userID")} },
	}
	names := make([]string, 0, len(bodySpecs))
	for i := range bodySpecs {
		names = append(names, bodySpecs[i].name)
	}
	return bodies[rapid.SampledFrom(names).Draw(t, "body")]()
}

func anyMessageSent(t *rapid.T) *MessageSent {
	m := &MessageSent{
		Conversation:       anyConversation().Draw(t, "conversation"),
		From:               anyID().Draw(t, "from"),
		MessageID:          rapid.StringN(1, 20, -1).Draw(t, "messageID"),
		Sequence:           anySequence(1).Draw(t, "sequence"),
		Type:               rapid.SampledFrom([]string{TypeText, "TIMImageElem", "own type"}).Draw(t, "type"),
		Payload:            anyPayload().Draw(t, "payload"),
		MessageForShow:     anyPreview().Draw(t, "messageForShow"),
		Nick:               anyText().Draw(t, "nick"),
		Avatar:             anyText().Draw(t, "avatar"),
		NameCard:           anyText().Draw(t, "nameCard"),
		AtAll:              rapid.Bool().Draw(t, "atAll"),
		CloudCustomData:    anyText().Draw(t, "cloudCustomData"),
		OnlineOnly:         rapid.Bool().Draw(t, "onlineOnly"),
		ExcludedFromUnread: rapid.Bool().Draw(t, "uncounted"),
		ExcludedFromLast:   rapid.Bool().Draw(t, "hidden"),
	}
	m.AtUsers = anySet(anyID().Filter(func(s string) bool { return s != AtAllToken })).Draw(t, "atUsers")
	switch m.Conversation.Type {
	case TypeC2C:
		m.From = rapid.SampledFrom([]string{m.Conversation.A, m.Conversation.B}).Draw(t, "end")
	case TypeSystem:
		m.From = rapid.SampledFrom([]string{"", m.From}).Draw(t, "sender")
	case TypeGroup:
	}
	if !slices.IsSorted(m.AtUsers) {
		t.Fatal("unsorted set")
	}
	return m
}
