package events

import (
	"fmt"
	"slices"
)

// The builders make bodies of values that checkBody passed, and check what
// concerns several fields. Fillers, the way back, are in fill.go.

// address is the conversation that from, to, groupID and system name. In C2C
// the sender is required, in a group where sent says so.
func (r *rawEvent) address(sent bool) (Conversation, *Error) {
	from, to, groupID, system := r.textOf(keyFrom), r.textOf(keyTo), r.textOf(keyGroupID), r.bool(keySystem)
	switch {
	case groupID != "" && (to != "" || system):
		return Conversation{}, r.badAddress(fmt.Sprintf("names the group %s and more (to %s, system %t)",
			shown(groupID), shown(to), system))
	case system && to == "":
		return Conversation{}, r.missingKey(keyTo, "the user whose SYSTEM conversation it is")
	case system:
		return System(to), nil
	case to == "" && groupID == "":
		return Conversation{}, r.badAddress("names no conversation")
	case from == "" && (to != "" || sent):
		return Conversation{}, r.missingKey(keyFrom, expectedID)
	case to != "":
		return C2C(from, to), nil
	default:
		return Group(groupID), nil
	}
}

func (r *rawEvent) badAddress(reason string) *Error {
	return &Error{
		Code: CodeInvalidAddress, Field: r.spec.name,
		Reason: reason + ", expected exactly one of to (C2C), groupID (GROUP), or system: true with to",
	}
}

func (r *rawEvent) missingKey(key fieldKey, expected string) *Error {
	return &Error{
		Code: CodeMissingField, Field: r.spec.name + "." + fieldNames[key],
		Reason: "is missing, expected " + expected,
	}
}

func buildMessageSent(r *rawEvent) (Body, *Error) {
	conversation, err := r.address(true)
	if err != nil {
		return nil, err
	}
	m := &MessageSent{
		Conversation:       conversation,
		From:               r.textOf(keyFrom),
		MessageID:          r.textOf(keyMessageID),
		Sequence:           r.uint(keySequence),
		Type:               r.textOf(keyType),
		Payload:            r.payload,
		Nick:               r.textOf(keyNick),
		Avatar:             r.textOf(keyAvatar),
		NameCard:           r.textOf(keyNameCard),
		CloudCustomData:    r.textOf(keyCloudCustomData),
		OnlineOnly:         r.bool(keyOnlineOnly),
		ExcludedFromUnread: r.bool(keyExcludedFromUnreadCount),
		ExcludedFromLast:   r.bool(keyExcludedFromLastMessage),
	}
	switch {
	case r.has(keyMessageForShow):
		m.MessageForShow = preview(r.textOf(keyMessageForShow))
	case m.Type == TypeText:
		m.MessageForShow = preview(payloadText(m.Payload))
	default:
		m.MessageForShow = Preview(m.Type, "")
	}
	m.AtUsers = slices.DeleteFunc(r.texts, func(userID string) bool {
		m.AtAll = m.AtAll || userID == AtAllToken
		return userID == AtAllToken || userID == ""
	})
	m.AtUsers = set(m.AtUsers)
	return m, nil
}

func buildMessageRecalled(r *rawEvent) (Body, *Error) {
	conversation, err := r.address(false)
	if err != nil {
		return nil, err
	}
	return &MessageRecalled{
		Conversation: conversation,
		Sequence:     r.uint(keySequence),
		Revoker:      r.textOf(keyRevoker),
		Reason:       r.textOf(keyReason),
	}, nil
}

func buildMessageModified(r *rawEvent) (Body, *Error) {
	conversation, err := r.address(false)
	if err != nil {
		return nil, err
	}
	from := r.textOf(keyFrom)
	if conversation.Type == TypeC2C { // it may be either end
		from = ""
	}
	return &MessageModified{
		From:               from,
		Conversation:       conversation,
		Sequence:           r.uint(keySequence),
		Version:            r.uint(keyVersion),
		Payload:            r.payload,
		HasMessageForShow:  r.has(keyMessageForShow),
		MessageForShow:     preview(r.textOf(keyMessageForShow)),
		PayloadText:        preview(payloadText(r.payload)),
		HasCloudCustomData: r.has(keyCloudCustomData),
		CloudCustomData:    r.textOf(keyCloudCustomData),
	}, nil
}

func (r *rawEvent) conversationOf() ConversationOf {
	return ConversationOf{UserID: r.textOf(keyUserID), ConversationID: r.textOf(keyConversationID)}
}

func buildConversationRead(r *rawEvent) (Body, *Error) {
	return &ConversationRead{r.conversationOf(), r.uint(keySequence)}, nil
}

func buildConversationPinned(r *rawEvent) (Body, *Error) {
	return &ConversationPinned{r.conversationOf(), r.bool(keyIsPinned)}, nil
}

func buildConversationRemindTypeSet(r *rawEvent) (Body, *Error) {
	return &ConversationRemindTypeSet{r.conversationOf(), r.textOf(keyMessageRemindType)}, nil
}

func buildConversationMarked(r *rawEvent) (Body, *Error) {
	var marks []uint64
	for _, n := range r.ints {
		marks = append(marks, uint64(n))
	}
	return &ConversationMarked{r.conversationOf(), set(marks)}, nil
}

func buildConversationGroupsSet(r *rawEvent) (Body, *Error) {
	return &ConversationGroupsSet{r.conversationOf(), set(r.texts)}, nil
}

func buildConversationCustomDataSet(r *rawEvent) (Body, *Error) {
	return &ConversationCustomDataSet{r.conversationOf(), r.textOf(keyCustomData)}, nil
}

func buildConversationDraftSet(r *rawEvent) (Body, *Error) {
	return &ConversationDraftSet{r.conversationOf(), r.textOf(keyDraftText)}, nil
}

func buildConversationDeleted(r *rawEvent) (Body, *Error) {
	return &ConversationDeleted{r.conversationOf(), r.uint(keyThroughSequence), r.bool(keyClearHistory)}, nil
}

func buildConversationCleared(r *rawEvent) (Body, *Error) {
	return &ConversationCleared{r.conversationOf(), r.uint(keyThroughSequence)}, nil
}

func buildGroupMemberChanged(r *rawEvent) (Body, *Error) {
	if r.textOf(keyStatus) == StatusJoined && !r.has(keyJoinSequence) {
		return nil, r.missingKey(keyJoinSequence, "the group's last sequence when they joined")
	}
	return &GroupMemberChanged{
		GroupID:      r.textOf(keyGroupID),
		UserID:       r.textOf(keyUserID),
		Status:       r.textOf(keyStatus),
		Role:         r.textOf(keyRole),
		NameCard:     r.textOf(keyNameCard),
		JoinSequence: r.uint(keyJoinSequence),
		JoinTime:     r.micros(keyJoinTime),
		OperatorID:   r.textOf(keyOperatorID),
	}, nil
}

func buildGroupProfileChanged(r *rawEvent) (Body, *Error) {
	return &GroupProfileChanged{
		GroupID:          r.textOf(keyGroupID),
		Name:             r.textOf(keyName),
		Avatar:           r.textOf(keyAvatar),
		Type:             r.textOf(keyType),
		Introduction:     r.textOf(keyIntroduction),
		Notification:     r.textOf(keyNotification),
		OwnerID:          r.textOf(keyOwnerID),
		CreateTime:       r.micros(keyCreateTime),
		MemberCount:      r.uint(keyMemberCount),
		MaxMemberCount:   r.uint(keyMaxMemberCount),
		MuteAllMembers:   r.bool(keyMuteAllMembers),
		JoinOption:       r.textOf(keyJoinOption),
		InviteOption:     r.textOf(keyInviteOption),
		IsSupportTopic:   r.bool(keyIsSupportTopic),
		InfoSequence:     r.uint(keyInfoSequence),
		GroupCustomField: r.pairs,
		Dismissed:        r.bool(keyDismissed),
	}, nil
}

func buildUserProfileChanged(r *rawEvent) (Body, *Error) {
	return &UserProfileChanged{
		UserID:             r.textOf(keyUserID),
		Nick:               r.textOf(keyNick),
		Avatar:             r.textOf(keyAvatar),
		Gender:             r.textOr(keyGender, DefaultGender),
		Birthday:           uint32(r.uint(keyBirthday)),
		Location:           r.textOf(keyLocation),
		SelfSignature:      r.textOf(keySelfSignature),
		AllowType:          r.textOr(keyAllowType, DefaultAllowType),
		Language:           uint32(r.uint(keyLanguage)),
		MessageSettings:    uint32(r.uint(keyMessageSettings)),
		AdminForbidType:    r.textOr(keyAdminForbidType, DefaultAdminForbidType),
		Level:              uint32(r.uint(keyLevel)),
		Role:               uint32(r.uint(keyRole)),
		ProfileCustomField: r.pairs,
	}, nil
}

func buildFriendRemarkSet(r *rawEvent) (Body, *Error) {
	return &FriendRemarkSet{r.textOf(keyUserID), r.textOf(keyFriendID), r.textOf(keyRemark)}, nil
}

func buildAppPlanChanged(r *rawEvent) (Body, *Error) {
	return &AppPlanChanged{
		MaxConversations: uint32(r.uintOr(keyMaxConversations, DefaultMaxConversations)),
		Retention:        r.uintOr(keyRetention, DefaultRetention),
	}, nil
}

func buildUserErased(r *rawEvent) (Body, *Error) {
	return &UserErased{r.textOf(keyUserID)}, nil
}

// set sorts a list and drops its repeats; an empty one is nil.
func set[T string | uint64](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return slices.Compact(list)
}
