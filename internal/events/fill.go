package events

import "cmp"

// The fillers are the way back from bodies to values. They leave out what is
// absent; checkBody then sees what is missing or wrong.

// filler makes a bodySpec's fill of a filler of one type. It reports false for
// a body of another type and for nil.
func filler[B any](fill func(*rawEvent, *B)) func(*rawEvent, Body) bool {
	return func(r *rawEvent, body Body) bool {
		b, ok := any(body).(*B)
		if !ok || b == nil {
			return false
		}
		fill(r, b)
		return true
	}
}

func (r *rawEvent) putText(key fieldKey, s string) {
	if s != "" {
		r.values[key] = rawValue{state: present, text: s}
	}
}

// putOptional writes a text that may be empty.
func (r *rawEvent) putOptional(key fieldKey, s string) {
	r.values[key] = rawValue{state: present, text: s}
}

func (r *rawEvent) putCount(key fieldKey, n uint64) {
	if n != 0 {
		r.setNum(key, int64(n))
	}
}

func (r *rawEvent) putBool(key fieldKey, b bool) {
	if b {
		r.setNum(key, 1)
	}
}

func (r *rawEvent) putTime(key fieldKey, t Micros) {
	if t != 0 {
		r.values[key] = rawValue{state: present, num: t.Seconds(), nanos: int32(int64(t)-t.Seconds()*1_000_000) * 1000}
	}
}

func (r *rawEvent) putPayload(payload []byte) {
	switch {
	case len(payload) == 0:
	case validPayload(payload):
		r.values[keyPayload].state = present
		r.payload = payload
	default:
		r.setBadPayload(keyPayload, payload)
	}
}

// putAddress writes a conversation from its sender's point of view.
func (r *rawEvent) putAddress(c Conversation, from string) {
	r.putText(keyFrom, from)
	switch c.Type {
	case TypeC2C:
		if from != c.A && from != c.B {
			r.setWrong(keyFrom, -1, shown(from)+" (no end of its conversation)")
		}
		r.putText(keyTo, c.Peer(from))
	case TypeGroup:
		r.putText(keyGroupID, c.A)
	case TypeSystem:
		r.putBool(keySystem, true)
		r.putText(keyTo, c.A)
	}
}

// anEnd is a sender for an event that names none.
func anEnd(c Conversation) string {
	if c.Type == TypeC2C {
		return c.A
	}
	return ""
}

func (r *rawEvent) putConversationOf(of ConversationOf) {
	r.putText(keyUserID, of.UserID)
	r.putText(keyConversationID, of.ConversationID)
}

func fillMessageSent(r *rawEvent, m *MessageSent) {
	r.putAddress(m.Conversation, m.From)
	r.putText(keyMessageID, m.MessageID)
	r.setNum(keySequence, int64(m.Sequence))
	r.putText(keyType, m.Type)
	r.putPayload(m.Payload)
	r.putOptional(keyMessageForShow, m.MessageForShow)
	r.putText(keyNick, m.Nick)
	r.putText(keyAvatar, m.Avatar)
	r.putText(keyNameCard, m.NameCard)
	r.texts = append(r.texts, m.AtUsers...)
	if m.AtAll {
		r.texts = append(r.texts, AtAllToken)
	}
	if len(r.texts) > 0 {
		r.values[keyAtUserList].state = present
	}
	r.putText(keyCloudCustomData, m.CloudCustomData)
	r.putBool(keyOnlineOnly, m.OnlineOnly)
	r.putBool(keyExcludedFromUnreadCount, m.ExcludedFromUnread)
	r.putBool(keyExcludedFromLastMessage, m.ExcludedFromLast)
}

func fillMessageRecalled(r *rawEvent, m *MessageRecalled) {
	r.putAddress(m.Conversation, anEnd(m.Conversation))
	r.setNum(keySequence, int64(m.Sequence))
	r.putText(keyRevoker, m.Revoker)
	r.putText(keyReason, m.Reason)
}

func fillMessageModified(r *rawEvent, m *MessageModified) {
	r.putAddress(m.Conversation, cmp.Or(m.From, anEnd(m.Conversation)))
	r.setNum(keySequence, int64(m.Sequence))
	r.setNum(keyVersion, int64(m.Version))
	r.putPayload(m.Payload)
	if m.HasMessageForShow {
		r.putOptional(keyMessageForShow, m.MessageForShow)
	}
	if m.HasCloudCustomData {
		r.putOptional(keyCloudCustomData, m.CloudCustomData)
	}
}

func fillConversationRead(r *rawEvent, c *ConversationRead) {
	r.putConversationOf(c.ConversationOf)
	r.setNum(keySequence, int64(c.Sequence))
}

func fillConversationPinned(r *rawEvent, c *ConversationPinned) {
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyIsPinned, 0)
	r.putBool(keyIsPinned, c.IsPinned)
}

func fillConversationRemindTypeSet(r *rawEvent, c *ConversationRemindTypeSet) {
	r.putConversationOf(c.ConversationOf)
	r.putText(keyMessageRemindType, c.MessageRemindType)
}

func fillConversationMarked(r *rawEvent, c *ConversationMarked) {
	r.putConversationOf(c.ConversationOf)
	r.values[keyMarkList].state = present
	for _, mark := range c.MarkList {
		r.ints = append(r.ints, int64(mark))
	}
}

func fillConversationGroupsSet(r *rawEvent, c *ConversationGroupsSet) {
	r.putConversationOf(c.ConversationOf)
	r.values[keyConversationGroupList].state = present
	r.texts = append(r.texts, c.ConversationGroupList...)
}

func fillConversationCustomDataSet(r *rawEvent, c *ConversationCustomDataSet) {
	r.putConversationOf(c.ConversationOf)
	r.putOptional(keyCustomData, c.CustomData)
}

func fillConversationDraftSet(r *rawEvent, c *ConversationDraftSet) {
	r.putConversationOf(c.ConversationOf)
	r.putOptional(keyDraftText, c.DraftText)
}

func fillConversationDeleted(r *rawEvent, c *ConversationDeleted) {
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyThroughSequence, int64(c.ThroughSequence))
	r.putBool(keyClearHistory, c.ClearHistory)
}

func fillConversationCleared(r *rawEvent, c *ConversationCleared) {
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyThroughSequence, int64(c.ThroughSequence))
}

func fillGroupMemberChanged(r *rawEvent, m *GroupMemberChanged) {
	r.putText(keyGroupID, m.GroupID)
	r.putText(keyUserID, m.UserID)
	r.putText(keyStatus, m.Status)
	r.putText(keyRole, m.Role)
	r.putText(keyNameCard, m.NameCard)
	r.putCount(keyJoinSequence, m.JoinSequence)
	if m.Status == StatusJoined {
		r.setNum(keyJoinSequence, int64(m.JoinSequence))
	}
	r.putTime(keyJoinTime, m.JoinTime)
	r.putText(keyOperatorID, m.OperatorID)
}

func fillGroupProfileChanged(r *rawEvent, g *GroupProfileChanged) {
	r.putText(keyGroupID, g.GroupID)
	r.putText(keyName, g.Name)
	r.putText(keyAvatar, g.Avatar)
	r.putText(keyType, g.Type)
	r.putText(keyIntroduction, g.Introduction)
	r.putText(keyNotification, g.Notification)
	r.putText(keyOwnerID, g.OwnerID)
	r.putTime(keyCreateTime, g.CreateTime)
	r.putCount(keyMemberCount, g.MemberCount)
	r.putCount(keyMaxMemberCount, g.MaxMemberCount)
	r.putBool(keyMuteAllMembers, g.MuteAllMembers)
	r.putText(keyJoinOption, g.JoinOption)
	r.putText(keyInviteOption, g.InviteOption)
	r.putBool(keyIsSupportTopic, g.IsSupportTopic)
	r.putCount(keyInfoSequence, g.InfoSequence)
	r.putPairs(keyGroupCustomField, g.GroupCustomField)
	r.putBool(keyDismissed, g.Dismissed)
}

func fillUserProfileChanged(r *rawEvent, u *UserProfileChanged) {
	r.putText(keyUserID, u.UserID)
	r.putText(keyNick, u.Nick)
	r.putText(keyAvatar, u.Avatar)
	r.putText(keyGender, u.Gender)
	r.putCount(keyBirthday, uint64(u.Birthday))
	r.putText(keyLocation, u.Location)
	r.putText(keySelfSignature, u.SelfSignature)
	r.putText(keyAllowType, u.AllowType)
	r.putCount(keyLanguage, uint64(u.Language))
	r.putCount(keyMessageSettings, uint64(u.MessageSettings))
	r.putText(keyAdminForbidType, u.AdminForbidType)
	r.putCount(keyLevel, uint64(u.Level))
	r.putCount(keyRole, uint64(u.Role))
	r.putPairs(keyProfileCustomField, u.ProfileCustomField)
}

func (r *rawEvent) putPairs(key fieldKey, pairs []KeyValue) {
	if len(pairs) > 0 {
		r.values[key].state = present
		r.pairs = pairs
	}
}

func fillFriendRemarkSet(r *rawEvent, f *FriendRemarkSet) {
	r.putText(keyUserID, f.UserID)
	r.putText(keyFriendID, f.FriendID)
	r.putOptional(keyRemark, f.Remark)
}

func fillAppPlanChanged(r *rawEvent, a *AppPlanChanged) {
	r.setNum(keyMaxConversations, int64(a.MaxConversations))
	r.setNum(keyRetention, int64(a.Retention))
}

func fillUserErased(r *rawEvent, u *UserErased) {
	r.putText(keyUserID, u.UserID)
}
