package bruteforce

import (
	"encoding/json"
	"slices"

	"github.com/convoview/convoview/internal/events"
)

// maxListPayload is where a list leaves a payload out: "over 1 KB".
const maxListPayload = 1024

// maxMentions: "newest first, at most 20".
const maxMentions = 20

type item struct {
	ConversationID        string      `json:"conversationID"`
	Type                  string      `json:"type"`
	SubType               string      `json:"subType"`
	UnreadCount           uint64      `json:"unreadCount"`
	LastMessage           lastMessage `json:"lastMessage"`
	GroupAtInfoList       []groupAt   `json:"groupAtInfoList"`
	PeerReadTime          int64       `json:"peerReadTime"`
	IsPinned              bool        `json:"isPinned"`
	MessageRemindType     string      `json:"messageRemindType"`
	MarkList              []uint64    `json:"markList"`
	CustomData            string      `json:"customData"`
	ConversationGroupList []string    `json:"conversationGroupList"`
	DraftText             string      `json:"draftText"`
	Remark                string      `json:"remark"`
	// UserProfile and GroupProfile are incomplete ones in a list, complete ones
	// in a profile, or nil.
	UserProfile  any `json:"userProfile"`
	GroupProfile any `json:"groupProfile"`
}

type lastMessage struct {
	MessageID       string          `json:"messageID"`
	LastTime        int64           `json:"lastTime"`
	LastSequence    uint64          `json:"lastSequence"`
	FromAccount     string          `json:"fromAccount"`
	MessageForShow  string          `json:"messageForShow"`
	Type            string          `json:"type"`
	Payload         json.RawMessage `json:"payload"`
	PayloadOmitted  bool            `json:"payloadOmitted,omitempty"`
	IsRevoked       bool            `json:"isRevoked"`
	Revoker         *string         `json:"revoker"`
	RevokeReason    string          `json:"revokeReason"`
	IsPeerRead      bool            `json:"isPeerRead"`
	Nick            string          `json:"nick"`
	NameCard        string          `json:"nameCard"`
	Avatar          string          `json:"avatar"`
	CloudCustomData string          `json:"cloudCustomData"`
	OnlineOnlyFlag  bool            `json:"onlineOnlyFlag"`
	Version         uint64          `json:"version"`
}

type groupAt struct {
	From            string `json:"from"`
	GroupID         string `json:"groupID"`
	MessageSequence uint64 `json:"messageSequence"`
	AtTypeArray     []int  `json:"atTypeArray"`
}

type shortUserProfile struct {
	UserID string `json:"userID"`
	Nick   string `json:"nick"`
	Avatar string `json:"avatar"`
}

type userProfile struct {
	UserID             string            `json:"userID"`
	Nick               string            `json:"nick"`
	Avatar             string            `json:"avatar"`
	Gender             string            `json:"gender"`
	Birthday           uint32            `json:"birthday"`
	Location           string            `json:"location"`
	SelfSignature      string            `json:"selfSignature"`
	AllowType          string            `json:"allowType"`
	Language           uint32            `json:"language"`
	MessageSettings    uint32            `json:"messageSettings"`
	AdminForbidType    string            `json:"adminForbidType"`
	Level              uint32            `json:"level"`
	Role               uint32            `json:"role"`
	ProfileCustomField []events.KeyValue `json:"profileCustomField"`
	LastUpdatedTime    int64             `json:"lastUpdatedTime"`
}

type shortGroupProfile struct {
	GroupID string `json:"groupID"`
	Name    string `json:"name"`
	Avatar  string `json:"avatar"`
	Type    string `json:"type"`
}

type groupProfile struct {
	GroupID          string            `json:"groupID"`
	Name             string            `json:"name"`
	Avatar           string            `json:"avatar"`
	Type             string            `json:"type"`
	Introduction     string            `json:"introduction"`
	Notification     string            `json:"notification"`
	OwnerID          string            `json:"ownerID"`
	CreateTime       int64             `json:"createTime"`
	MemberCount      uint64            `json:"memberCount"`
	MaxMemberCount   uint64            `json:"maxMemberCount"`
	MuteAllMembers   bool              `json:"muteAllMembers"`
	JoinOption       string            `json:"joinOption"`
	InviteOption     string            `json:"inviteOption"`
	IsSupportTopic   bool              `json:"isSupportTopic"`
	InfoSequence     uint64            `json:"infoSequence"`
	GroupCustomField []events.KeyValue `json:"groupCustomField"`
	LastInfoTime     int64             `json:"lastInfoTime"`
	SelfInfo         selfInfo          `json:"selfInfo"`
	NextMessageSeq   uint64            `json:"nextMessageSeq"`
	LastMessage      lastMessage       `json:"lastMessage"`
}

type selfInfo struct {
	UserID            string `json:"userID"`
	Role              string `json:"role"`
	NameCard          string `json:"nameCard"`
	JoinTime          int64  `json:"joinTime"`
	JoinSequence      uint64 `json:"joinSequence"`
	MessageRemindType string `json:"messageRemindType"`
	ReadedSequence    uint64 `json:"readedSequence"`
}

// item is the conversation as a profile has it (complete) or a list.
func (v *view) item(complete bool) item {
	unread := v.unread()
	i := item{
		ConversationID:        v.name.IDFor(v.user),
		Type:                  v.name.Type.String(),
		UnreadCount:           v.unreadCount(unread),
		LastMessage:           v.lastMessage(complete),
		GroupAtInfoList:       v.groupAtInfoList(unread),
		PeerReadTime:          v.peerReadTime(),
		MessageRemindType:     events.RemindAccept,
		MarkList:              []uint64{},
		ConversationGroupList: []string{},
	}
	if _, b, ok := latest[*events.ConversationPinned](v.states); ok {
		i.IsPinned = b.IsPinned
	}
	if _, b, ok := latest[*events.ConversationRemindTypeSet](v.states); ok {
		i.MessageRemindType = b.MessageRemindType
	}
	if _, b, ok := latest[*events.ConversationMarked](v.states); ok {
		i.MarkList = ascending(b.MarkList)
	}
	if _, b, ok := latest[*events.ConversationCustomDataSet](v.states); ok {
		i.CustomData = b.CustomData
	}
	if _, b, ok := latest[*events.ConversationGroupsSet](v.states); ok {
		i.ConversationGroupList = ascending(b.ConversationGroupList)
	}
	if _, b, ok := latest[*events.ConversationDraftSet](v.states); ok {
		i.DraftText = b.DraftText
	}
	switch v.name.Type {
	case events.TypeC2C:
		if _, b, ok := latest[*events.FriendRemarkSet](v.t.remarks[owned{v.user, v.name}]); ok {
			i.Remark = b.Remark
		}
		profile := v.userProfile()
		if i.UserProfile = profile; !complete {
			i.UserProfile = shortUserProfile{UserID: profile.UserID, Nick: profile.Nick, Avatar: profile.Avatar}
		}
	case events.TypeGroup:
		profile := v.completeGroupProfile(i)
		i.SubType = profile.Type
		if i.GroupProfile = profile; !complete {
			i.GroupProfile = shortGroupProfile{
				GroupID: profile.GroupID, Name: profile.Name, Avatar: profile.Avatar, Type: profile.Type,
			}
		}
	case events.TypeSystem: // both null
	}
	return i
}

// lastMessage is the head as it is shown: "the empty one" while cleared, "while
// U is not joined, or the group is dismissed", and "where there is no
// unexpired head".
func (v *view) lastMessage(complete bool) lastMessage {
	head, ok := v.head()
	if !ok || head.Sequence <= v.cleared() || !v.readable() {
		return lastMessage{}
	}
	m := lastMessage{
		MessageID:       head.MessageID,
		LastTime:        head.time.Seconds(),
		LastSequence:    head.Sequence,
		FromAccount:     head.From,
		MessageForShow:  head.MessageForShow,
		Type:            head.Type,
		Payload:         head.Payload,
		IsPeerRead:      v.isPeerRead(head),
		Nick:            head.Nick,
		NameCard:        head.NameCard,
		Avatar:          head.Avatar,
		CloudCustomData: head.CloudCustomData,
	}
	// "an absent one keeps the original's. A new payload without
	// messageForShow derives the preview afresh."
	if modified := v.modification(head.Sequence); modified != nil {
		m.Version = modified.Version
		if modified.Payload != nil {
			m.Payload = modified.Payload
			m.MessageForShow = events.Preview(head.Type, modified.PayloadText)
		}
		if modified.HasMessageForShow {
			m.MessageForShow = modified.MessageForShow
		}
		if modified.HasCloudCustomData {
			m.CloudCustomData = modified.CloudCustomData
		}
	}
	// "A recalled head stays the head with isRevoked: true, revoker,
	// revokeReason (the latest recall's), and messageForShow "", payload null,
	// cloudCustomData ""." "Recall beats modification; version […] stays."
	if _, recall, ok := latest[*events.MessageRecalled](v.c.recalls[head.Sequence]); ok {
		m.IsRevoked = true
		if revoker := v.t.shown(recall.Revoker); revoker != "" {
			m.Revoker = &revoker
		}
		m.RevokeReason = recall.Reason
		m.MessageForShow, m.Payload, m.CloudCustomData = "", nil, ""
	}
	// Messages of erased users "are shown recalled with no sender, names, text,
	// payload, cloudCustomData, revoker or reason".
	if v.t.erased[head.From] {
		m.IsRevoked = true
		m.Revoker, m.RevokeReason = nil, ""
		m.FromAccount, m.Nick, m.NameCard, m.Avatar = "", "", "", ""
		m.MessageForShow, m.Payload, m.CloudCustomData = "", nil, ""
	}
	if !complete && len(m.Payload) > maxListPayload {
		m.Payload, m.PayloadOmitted = nil, true
	}
	return m
}

// groupAtInfoList: "(groups only): one entry per message that would count as
// unread (the group's type aside) and mentions U (atTypeArray: [1]), everyone
// ([2]) or both ([3])"; "newest first, at most 20".
func (v *view) groupAtInfoList(unread []unreadMessage) []groupAt {
	list := []groupAt{}
	if v.name.Type != events.TypeGroup {
		return list
	}
	for _, u := range unread {
		entry := groupAt{From: u.from, GroupID: v.name.A, MessageSequence: u.sequence}
		switch {
		case u.user && u.all:
			entry.AtTypeArray = []int{3}
		case u.all:
			entry.AtTypeArray = []int{2}
		case u.user:
			entry.AtTypeArray = []int{1}
		default:
			continue
		}
		if list = append(list, entry); len(list) == maxMentions {
			break
		}
	}
	return list
}

// userProfile is the peer's complete profile. "An unknown profile is the object
// with its ID and every other field at its default."
func (v *view) userProfile() userProfile {
	peer := v.name.Peer(v.user)
	at, b, ok := latest[*events.UserProfileChanged](v.t.userProfiles[peer])
	if !ok {
		b = &events.UserProfileChanged{
			Gender: events.DefaultGender, AllowType: events.DefaultAllowType, AdminForbidType: events.DefaultAdminForbidType,
		}
	}
	return userProfile{
		UserID:             peer,
		Nick:               b.Nick,
		Avatar:             b.Avatar,
		Gender:             b.Gender,
		Birthday:           b.Birthday,
		Location:           b.Location,
		SelfSignature:      b.SelfSignature,
		AllowType:          b.AllowType,
		Language:           b.Language,
		MessageSettings:    b.MessageSettings,
		AdminForbidType:    b.AdminForbidType,
		Level:              b.Level,
		Role:               b.Role,
		ProfileCustomField: listed(b.ProfileCustomField),
		LastUpdatedTime:    at.Time.Seconds(),
	}
}

// completeGroupProfile is the group's, with what concerns the user from i.
func (v *view) completeGroupProfile(i item) groupProfile {
	at, b := v.groupProfile()
	if b == nil {
		b = &events.GroupProfileChanged{}
	}
	p := groupProfile{
		GroupID:          v.name.A,
		Name:             b.Name,
		Avatar:           b.Avatar,
		Type:             b.Type,
		Introduction:     b.Introduction,
		Notification:     b.Notification,
		OwnerID:          v.t.shown(b.OwnerID),
		CreateTime:       b.CreateTime.Seconds(),
		MemberCount:      b.MemberCount,
		MaxMemberCount:   b.MaxMemberCount,
		MuteAllMembers:   b.MuteAllMembers,
		JoinOption:       b.JoinOption,
		InviteOption:     b.InviteOption,
		IsSupportTopic:   b.IsSupportTopic,
		InfoSequence:     b.InfoSequence,
		GroupCustomField: listed(b.GroupCustomField),
		LastInfoTime:     at.Seconds(),
		SelfInfo: selfInfo{
			UserID:            v.user,
			MessageRemindType: i.MessageRemindType,
			ReadedSequence:    v.read(),
		},
		NextMessageSeq: v.nextMessageSeq(),
		LastMessage:    i.LastMessage,
	}
	if member := v.membership(); member != nil { // "selfInfo shows the latest membership event"
		p.SelfInfo.Role = member.Role
		p.SelfInfo.NameCard = member.NameCard
		p.SelfInfo.JoinTime = member.JoinTime.Seconds()
		p.SelfInfo.JoinSequence = member.JoinSequence
	}
	return p
}

// ascending is a set in order: "Repeats in sets are dropped."
func ascending[T string | uint64](set []T) []T {
	list := append([]T{}, set...)
	slices.Sort(list)
	return slices.Compact(list)
}

// listed is a list that is never null.
func listed(list []events.KeyValue) []events.KeyValue {
	return append([]events.KeyValue{}, list...)
}
