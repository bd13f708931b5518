package events

// The fillers are the way back from bodies to values. They leave out what is
// absent, and report false for a body of another type (or one whose
// conversation and sender do not fit).

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
		r.setWrong(keyPayload, -1, shown(payload))
	}
}

// putAddress writes a conversation, from the sender's point of view if there is one.
func (r *rawEvent) putAddress(c Conversation, from string) bool {
	switch c.Type {
	case TypeC2C:
		if from == "" {
			from = c.A
		}
		if from != c.A && from != c.B {
			return false
		}
		r.putText(keyTo, c.Peer(from))
	case TypeGroup:
		r.putText(keyGroupID, c.A)
	case TypeSystem:
		r.putBool(keySystem, true)
		r.putText(keyTo, c.A)
	default:
		return false
	}
	r.putText(keyFrom, from)
	return true
}

func (r *rawEvent) putConversationOf(of ConversationOf) {
	r.putText(keyUserID, of.UserID)
	r.putText(keyConversationID, of.ConversationID)
}

func fillMessageSent(r *rawEvent, body Body) bool {
	m, ok := body.(*MessageSent)
	if !ok || m == nil || !r.putAddress(m.Conversation, m.From) {
		return false
	}
	r.putText(keyFrom, m.From)
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
	return true
}

func fillMessageRecalled(r *rawEvent, body Body) bool {
	m, ok := body.(*MessageRecalled)
	if !ok || m == nil || !r.putAddress(m.Conversation, "") {
		return false
	}
	r.setNum(keySequence, int64(m.Sequence))
	r.putText(keyRevoker, m.Revoker)
	r.putText(keyReason, m.Reason)
	return true
}

func fillMessageModified(r *rawEvent, body Body) bool {
	m, ok := body.(*MessageModified)
	if !ok || m == nil || !r.putAddress(m.Conversation, "") {
		return false
	}
	r.setNum(keySequence, int64(m.Sequence))
	r.setNum(keyVersion, int64(m.Version))
	r.putPayload(m.Payload)
	if m.HasMessageForShow {
		r.putOptional(keyMessageForShow, m.MessageForShow)
	}
	if m.HasCloudCustomData {
		r.putOptional(keyCloudCustomData, m.CloudCustomData)
	}
	return true
}

func fillConversationRead(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationRead)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.setNum(keySequence, int64(c.Sequence))
	return true
}

func fillConversationPinned(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationPinned)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyIsPinned, 0)
	r.putBool(keyIsPinned, c.IsPinned)
	return true
}

func fillConversationRemindTypeSet(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationRemindTypeSet)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.putText(keyMessageRemindType, c.MessageRemindType)
	return true
}

func fillConversationMarked(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationMarked)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.values[keyMarkList].state = present
	for _, mark := range c.MarkList {
		r.ints = append(r.ints, int64(mark))
	}
	return true
}

func fillConversationGroupsSet(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationGroupsSet)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.values[keyConversationGroupList].state = present
	r.texts = append(r.texts, c.ConversationGroupList...)
	return true
}

func fillConversationCustomDataSet(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationCustomDataSet)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.putOptional(keyCustomData, c.CustomData)
	return true
}

func fillConversationDraftSet(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationDraftSet)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.putOptional(keyDraftText, c.DraftText)
	return true
}

func fillConversationDeleted(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationDeleted)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyThroughSequence, int64(c.ThroughSequence))
	r.putBool(keyClearHistory, c.ClearHistory)
	return true
}

func fillConversationCleared(r *rawEvent, body Body) bool {
	c, ok := body.(*ConversationCleared)
	if !ok || c == nil {
		return false
	}
	r.putConversationOf(c.ConversationOf)
	r.setNum(keyThroughSequence, int64(c.ThroughSequence))
	return true
}

func fillGroupMemberChanged(r *rawEvent, body Body) bool {
	m, ok := body.(*GroupMemberChanged)
	if !ok || m == nil {
		return false
	}
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
	return true
}

func fillGroupProfileChanged(r *rawEvent, body Body) bool {
	g, ok := body.(*GroupProfileChanged)
	if !ok || g == nil {
		return false
	}
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
	return true
}

func fillUserProfileChanged(r *rawEvent, body Body) bool {
	u, ok := body.(*UserProfileChanged)
	if !ok || u == nil {
		return false
	}
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
	return true
}

func (r *rawEvent) putPairs(key fieldKey, pairs []KeyValue) {
	if len(pairs) > 0 {
		r.values[key].state = present
		r.pairs = pairs
	}
}

func fillFriendRemarkSet(r *rawEvent, body Body) bool {
	f, ok := body.(*FriendRemarkSet)
	if !ok || f == nil {
		return false
	}
	r.putText(keyUserID, f.UserID)
	r.putText(keyFriendID, f.FriendID)
	r.putOptional(keyRemark, f.Remark)
	return true
}

func fillAppPlanChanged(r *rawEvent, body Body) bool {
	a, ok := body.(*AppPlanChanged)
	if !ok || a == nil {
		return false
	}
	r.setNum(keyMaxConversations, int64(a.MaxConversations))
	r.setNum(keyRetention, int64(a.Retention))
	return true
}

func fillUserErased(r *rawEvent, body Body) bool {
	u, ok := body.(*UserErased)
	if !ok || u == nil {
		return false
	}
	r.putText(keyUserID, u.UserID)
	return true
}
