package events

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// bodySpec is one kind of body: its fields in both encodings, and the way
// between them and the Go type.
type bodySpec struct {
	// name is the body's field name and Kind.
	name string
	// num is its number in the oneof.
	num    protowire.Number
	fields []field
	// profile says that the texts together are bounded by Limits.ProfileBytes.
	profile bool
	// build makes the body of values that the fields' own rules passed; it
	// checks the rules between fields.
	build func(*rawEvent) (Body, *Error)
	// fill is the way back; it reports false for a body of another type.
	fill func(*rawEvent, Body) bool

	byName map[string]int
	byNum  [maxFieldNumber + 1]int8
}

// maxFieldNumber is the greatest number of a body's field.
const maxFieldNumber = 17

// The numbers of Event's fields.
const (
	numID      protowire.Number = 1
	numApp     protowire.Number = 2
	numTime    protowire.Number = 3
	maxBodyNum                  = 34
)

// bodySpecs are all bodies of the contract. The order of the fields is the
// order in which they are checked.
var bodySpecs = []bodySpec{
	{
		name: "messageSent", num: 10, build: buildMessageSent, fill: filler(fillMessageSent),
		fields: []field{
			identifier(keyFrom, 1),
			identifier(keyTo, 2),
			identifier(keyGroupID, 3),
			boolean(keySystem, 4),
			text(keyMessageID, 5).need(),
			sequence(keySequence, 6, 1).need(),
			text(keyType, 7).need(),
			object(keyPayload, 8),
			longText(keyMessageForShow, 9, nil).optional(),
			text(keyNick, 10),
			text(keyAvatar, 11),
			text(keyNameCard, 12),
			{
				key: keyAtUserList, num: 13, kind: kindTexts, rule: ruleMention,
				entries: func(l *Limits) int { return l.AtUserListEntries },
			},
			longText(keyCloudCustomData, 14, cloudCustomDataBytes),
			boolean(keyOnlineOnly, 15),
			boolean(keyExcludedFromUnreadCount, 16),
			boolean(keyExcludedFromLastMessage, 17),
		},
	},
	{
		name: "messageRecalled", num: 11, build: buildMessageRecalled, fill: filler(fillMessageRecalled),
		fields: []field{
			identifier(keyFrom, 1),
			identifier(keyTo, 2),
			identifier(keyGroupID, 3),
			boolean(keySystem, 4),
			sequence(keySequence, 5, 1).need(),
			identifier(keyRevoker, 6),
			text(keyReason, 7),
		},
	},
	{
		name: "messageModified", num: 12, build: buildMessageModified, fill: filler(fillMessageModified),
		fields: []field{
			identifier(keyFrom, 1),
			identifier(keyTo, 2),
			identifier(keyGroupID, 3),
			boolean(keySystem, 4),
			sequence(keySequence, 5, 1).need(),
			{key: keyVersion, num: 6, kind: kindInt, presence: true, required: true, min: 1, max: math.MaxInt64},
			object(keyPayload, 7),
			longText(keyMessageForShow, 8, nil).optional(),
			longText(keyCloudCustomData, 9, cloudCustomDataBytes).optional(),
		},
	},
	{
		name: "conversationRead", num: 20, build: buildConversationRead, fill: filler(fillConversationRead),
		fields: registerOf(sequence(keySequence, 3, 0).need()),
	},
	{
		name: "conversationPinned", num: 21, build: buildConversationPinned, fill: filler(fillConversationPinned),
		fields: registerOf(boolean(keyIsPinned, 3).optional().need()),
	},
	{
		name: "conversationRemindTypeSet", num: 22, build: buildConversationRemindTypeSet, fill: filler(fillConversationRemindTypeSet),
		fields: registerOf(enum(keyMessageRemindType, 3, RemindAccept, RemindAcceptNotNotify, RemindDiscard,
			"AcceptNotNotifyExceptAt", "NotReceiveMsgExceptAt").need()),
	},
	{
		name: "conversationMarked", num: 23, build: buildConversationMarked, fill: filler(fillConversationMarked),
		fields: registerOf(field{
			key: keyMarkList, num: 3, kind: kindInts, required: true, min: 1, max: MaxSequence,
			entries: func(l *Limits) int { return l.MarkListEntries },
		}),
	},
	{
		name: "conversationGroupsSet", num: 24, build: buildConversationGroupsSet, fill: filler(fillConversationGroupsSet),
		fields: registerOf(field{
			key: keyConversationGroupList, num: 3, kind: kindTexts, required: true, rule: ruleNotEmpty, limit: textBytes,
			entries: func(l *Limits) int { return l.ConversationGroupListEntries },
		}),
	},
	{
		name: "conversationCustomDataSet", num: 25, build: buildConversationCustomDataSet, fill: filler(fillConversationCustomDataSet),
		fields: registerOf(longText(keyCustomData, 3, func(l *Limits) int { return l.CustomDataBytes }).optional().need()),
	},
	{
		name: "conversationDraftSet", num: 26, build: buildConversationDraftSet, fill: filler(fillConversationDraftSet),
		fields: registerOf(longText(keyDraftText, 3, func(l *Limits) int { return l.DraftTextBytes }).optional().need()),
	},
	{
		name: "conversationDeleted", num: 27, build: buildConversationDeleted, fill: filler(fillConversationDeleted),
		fields: registerOf(sequence(keyThroughSequence, 3, 0).need(), boolean(keyClearHistory, 4)),
	},
	{
		name: "conversationCleared", num: 28, build: buildConversationCleared, fill: filler(fillConversationCleared),
		fields: registerOf(sequence(keyThroughSequence, 3, 0).need()),
	},
	{
		name: "groupMemberChanged", num: 29, build: buildGroupMemberChanged, fill: filler(fillGroupMemberChanged),
		fields: []field{
			identifier(keyGroupID, 1).need(),
			identifier(keyUserID, 2).need(),
			enum(keyStatus, 3, StatusJoined, StatusLeft, StatusKicked).need(),
			enum(keyRole, 4, "Owner", "Admin", "Member", "Custom"),
			text(keyNameCard, 5),
			sequence(keyJoinSequence, 6, 0),
			moment(keyJoinTime, 7),
			identifier(keyOperatorID, 8),
		},
	},
	{
		name: "groupProfileChanged", num: 30, build: buildGroupProfileChanged, fill: filler(fillGroupProfileChanged),
		profile: true,
		fields: []field{
			identifier(keyGroupID, 1).need(),
			text(keyName, 2),
			text(keyAvatar, 3),
			enum(keyType, 4, "Private", "Public", GroupTypeChatRoom, GroupTypeAVChatRoom, "Community"),
			text(keyIntroduction, 5),
			text(keyNotification, 6),
			identifier(keyOwnerID, 7),
			moment(keyCreateTime, 8),
			count(keyMemberCount, 9),
			count(keyMaxMemberCount, 10),
			boolean(keyMuteAllMembers, 11),
			text(keyJoinOption, 12),
			text(keyInviteOption, 13),
			boolean(keyIsSupportTopic, 14),
			count(keyInfoSequence, 15),
			keyValues(keyGroupCustomField, 16),
			boolean(keyDismissed, 17),
		},
	},
	{
		name: "userProfileChanged", num: 31, build: buildUserProfileChanged, fill: filler(fillUserProfileChanged),
		profile: true,
		fields: []field{
			identifier(keyUserID, 1).need(),
			text(keyNick, 2),
			text(keyAvatar, 3),
			text(keyGender, 4),
			number32(keyBirthday, 5),
			text(keyLocation, 6),
			text(keySelfSignature, 7),
			text(keyAllowType, 8),
			number32(keyLanguage, 9),
			number32(keyMessageSettings, 10),
			text(keyAdminForbidType, 11),
			number32(keyLevel, 12),
			number32(keyRole, 13),
			keyValues(keyProfileCustomField, 14),
		},
	},
	{
		name: "friendRemarkSet", num: 32, build: buildFriendRemarkSet, fill: filler(fillFriendRemarkSet),
		fields: []field{
			identifier(keyUserID, 1).need(),
			identifier(keyFriendID, 2).need(),
			text(keyRemark, 3).optional().need(),
		},
	},
	{
		name: "appPlanChanged", num: 33, build: buildAppPlanChanged, fill: filler(fillAppPlanChanged),
		fields: []field{
			{key: keyMaxConversations, num: 1, kind: kindInt, presence: true, min: 1, max: 1000},
			count(keyRetention, 2).optional(),
		},
	},
	{
		name: "userErased", num: 34, build: buildUserErased, fill: filler(fillUserErased),
		fields: []field{identifier(keyUserID, 1).need()},
	},
}

// registerOf are the fields of a register of a user and a conversation.
func registerOf(values ...field) []field {
	return append([]field{
		identifier(keyUserID, 1).need(),
		{key: keyConversationID, num: 2, kind: kindText, required: true, rule: ruleConversationID},
	}, values...)
}

func cloudCustomDataBytes(l *Limits) int { return l.CloudCustomDataBytes }

// The indexes of bodySpecs.
var bodyByName, bodyByNum = indexBodies()

func indexBodies() (byName map[string]*bodySpec, byNum [maxBodyNum + 1]*bodySpec) {
	byName = make(map[string]*bodySpec, len(bodySpecs))
	for i := range bodySpecs {
		spec := &bodySpecs[i]
		byName[spec.name] = spec
		byNum[spec.num] = spec
		spec.byName = make(map[string]int, len(spec.fields))
		for n := range spec.byNum {
			spec.byNum[n] = -1
		}
		for n := range spec.fields {
			spec.byName[fieldNames[spec.fields[n].key]] = n
			spec.byNum[spec.fields[n].num] = int8(n)
		}
	}
	return byName, byNum
}
