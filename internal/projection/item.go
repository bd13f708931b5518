package projection

import (
	"encoding/json"

	"github.com/convoview/convoview/internal/events"
)

// Item is a conversation as the API shows it, in the shape of the SDK's Conversation.
type Item struct {
	ConversationID        string        `json:"conversationID"`
	Type                  string        `json:"type"`
	SubType               string        `json:"subType"`
	UnreadCount           uint64        `json:"unreadCount"`
	LastMessage           LastMessage   `json:"lastMessage"`
	GroupAtInfoList       []GroupAtInfo `json:"groupAtInfoList"`
	PeerReadTime          int64         `json:"peerReadTime"`
	IsPinned              bool          `json:"isPinned"`
	MessageRemindType     string        `json:"messageRemindType"`
	MarkList              []uint64      `json:"markList"`
	CustomData            string        `json:"customData"`
	ConversationGroupList []string      `json:"conversationGroupList"`
	DraftText             string        `json:"draftText"`
	Remark                string        `json:"remark"`
	// UserProfile is a *UserInfo in a list, a *UserDetails in a profile, else nil.
	UserProfile any `json:"userProfile"`
	// GroupProfile is a *GroupInfo in a list, a *GroupDetails in a profile, else nil.
	GroupProfile any `json:"groupProfile"`
}

// LastMessage is the head as the API shows it. The zero value is the empty one.
type LastMessage struct {
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

// GroupAtInfo is an unread message that mentions the user.
type GroupAtInfo struct {
	From            string `json:"from"`
	GroupID         string `json:"groupID"`
	MessageSequence uint64 `json:"messageSequence"`
	AtTypeArray     []int  `json:"atTypeArray"`
}

// UserInfo is the incomplete profile of a peer.
type UserInfo struct {
	UserID string `json:"userID"`
	Nick   string `json:"nick"`
	Avatar string `json:"avatar"`
}

// GroupInfo is the incomplete profile of a group.
type GroupInfo struct {
	GroupID string `json:"groupID"`
	Name    string `json:"name"`
	Avatar  string `json:"avatar"`
	Type    string `json:"type"`
}

// UserDetails is the complete profile of a peer.
type UserDetails struct {
	UserInfo
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

// GroupDetails is the complete profile of a group, as one member sees it.
type GroupDetails struct {
	GroupInfo
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
	SelfInfo         SelfInfo          `json:"selfInfo"`
	NextMessageSeq   uint64            `json:"nextMessageSeq"`
	LastMessage      LastMessage       `json:"lastMessage"`
}

// SelfInfo is the asking user's own membership.
type SelfInfo struct {
	UserID            string `json:"userID"`
	Role              string `json:"role"`
	NameCard          string `json:"nameCard"`
	JoinTime          int64  `json:"joinTime"`
	JoinSequence      uint64 `json:"joinSequence"`
	MessageRemindType string `json:"messageRemindType"`
	ReadedSequence    uint64 `json:"readedSequence"`
}

// Details are what an item shows beyond the registers that select and order it.
type Details struct {
	// Edit is the head's; see HeadEdit.
	Edit Edit
	// Peer is the profile of the other end of a C2C conversation.
	Peer UserProfile
	// Sender gives the latest sender of a mention's message.
	Sender func(Mention) string
}

// Needs name what the details of an item are made of.
type Needs struct {
	Edits    []EditKey // the head's, if it can have one
	Peers    []UserKey // the other end of a C2C conversation
	Mentions []MentionKey
}

// Needs are those of the item of a known conversation of an app.
func (c *Conversation) Needs(app string, r Rules) (n Needs) {
	if key, ok := c.HeadEdit(app, r); ok {
		n.Edits = append(n.Edits, key)
	}
	if c.Type == events.TypeC2C {
		n.Peers = append(n.Peers, UserKey{App: app, UserID: c.Name})
	}
	for _, m := range c.Mentions(r) {
		n.Mentions = append(n.Mentions, MentionKey{App: app, GroupID: c.Name, Mention: m.Mention})
	}
	return n
}

// Item makes the item of the conversation as a list shows it: without large
// payloads, with incomplete profiles.
func (c *Conversation) Item(d Details, r Rules) Item { return c.item(d, r, false) }

// Profile makes the item of the conversation as its profile shows it, in the list or not.
func (c *Conversation) Profile(d Details, r Rules) Item { return c.item(d, r, true) }

// item is the one that list and profile both show.
func (c *Conversation) item(d Details, r Rules, full bool) Item {
	mentions := c.Mentions(r)
	item := Item{
		ConversationID:        c.ConversationID,
		Type:                  c.Type.String(),
		SubType:               c.Group.Value.Type,
		UnreadCount:           c.Unread(r),
		LastMessage:           c.lastMessage(d.Edit, r, full),
		GroupAtInfoList:       make([]GroupAtInfo, 0, len(mentions)),
		IsPinned:              c.Own.Settings().Pinned.Value,
		MessageRemindType:     c.remindType(),
		MarkList:              orEmpty(c.Own.Settings().Marks.Value),
		CustomData:            c.Own.Settings().CustomData.Value,
		ConversationGroupList: orEmpty(c.Own.Settings().Groups.Value),
		DraftText:             c.Own.Settings().Draft.Value,
		Remark:                c.Own.Settings().Remark.Value,
	}
	for _, m := range mentions {
		from := d.Sender(m.Mention)
		if r.Erased(from) {
			from = ""
		}
		item.GroupAtInfoList = append(item.GroupAtInfoList, GroupAtInfo{
			From: from, GroupID: c.Name, MessageSequence: m.Sequence, AtTypeArray: []int{m.Kind},
		})
	}
	switch c.Type {
	case events.TypeSystem:
	case events.TypeC2C:
		item.PeerReadTime = c.Own.PeerRead.Time.Seconds()
		item.UserProfile = c.userProfile(d.Peer, full)
	case events.TypeGroup:
		item.GroupProfile = c.groupProfile(item.LastMessage, r, full)
	}
	return item
}

func (c *Conversation) lastMessage(edit Edit, r Rules, full bool) LastMessage {
	h := c.head(r)
	if h == nil || h.Sequence <= c.Own.Cleared || !c.member() {
		return LastMessage{}
	}
	m := LastMessage{
		MessageID:    h.MessageID,
		LastTime:     h.Time.Seconds(),
		LastSequence: h.Sequence,
		Type:         h.Type,
		Version:      edit.Modification.Number,
	}
	if r.Erased(h.From) {
		m.IsRevoked = true
		return m
	}
	m.FromAccount, m.Nick, m.NameCard, m.Avatar = h.From, h.Nick, h.NameCard, h.Avatar
	m.IsPeerRead = h.From == c.UserID && max(c.Own.PeerRead.Sequence, c.Own.PeerSent) >= h.Sequence // only C2C has a peer
	// The set and the edit may be one insert apart: either says that it is recalled.
	if edit.Recall.Written() || c.Shared.Recalled.Contains(h.Sequence) {
		m.IsRevoked = true
		m.RevokeReason = edit.Recall.Value.Reason
		if by := edit.Recall.Value.Revoker; by != "" && !r.Erased(by) {
			m.Revoker = &by
		}
		return m
	}

	m.MessageForShow, m.CloudCustomData = h.Preview, h.CloudCustomData
	payload, size := h.Payload+h.LargePayload, int(h.PayloadBytes)
	e := edit.Modification
	if e.Payload != "" && e.Payload != ErasedUser {
		payload, size = e.Payload, len(e.Payload)
		m.MessageForShow = events.Preview(h.Type, e.PayloadText)
	}
	if e.HasMessageForShow {
		m.MessageForShow = e.MessageForShow
	}
	if e.HasCloudCustomData {
		m.CloudCustomData = e.CloudCustomData
	}
	switch {
	case size > InlinePayloadBytes && !full:
		m.PayloadOmitted = true
	case payload != "":
		m.Payload = json.RawMessage(payload)
	}
	return m
}

func (c *Conversation) remindType() string {
	if t := c.Own.Settings().RemindType.Value; t != "" {
		return t
	}
	return events.RemindAccept
}

func (c *Conversation) userProfile(p UserProfile, full bool) any {
	u := p.Value
	info := UserInfo{UserID: c.Name, Nick: u.Nick, Avatar: u.Avatar}
	if !full {
		return &info
	}
	return &UserDetails{
		UserInfo:           info,
		Gender:             orDefault(u.Gender, events.DefaultGender),
		Birthday:           u.Birthday,
		Location:           u.Location,
		SelfSignature:      u.SelfSignature,
		AllowType:          orDefault(u.AllowType, events.DefaultAllowType),
		Language:           u.Language,
		MessageSettings:    u.MessageSettings,
		AdminForbidType:    orDefault(u.AdminForbidType, events.DefaultAdminForbidType),
		Level:              u.Level,
		Role:               u.Role,
		ProfileCustomField: orEmpty(u.ProfileCustomField),
		LastUpdatedTime:    p.Time.Seconds(),
	}
}

func (c *Conversation) groupProfile(last LastMessage, r Rules, full bool) any {
	g := &c.Group.Value
	info := GroupInfo{GroupID: c.Name, Name: g.Name, Avatar: g.Avatar, Type: g.Type}
	if !full {
		return &info
	}
	details := &GroupDetails{
		GroupInfo:        info,
		Introduction:     g.Introduction,
		Notification:     g.Notification,
		OwnerID:          g.OwnerID,
		CreateTime:       g.CreateTime.Seconds(),
		MemberCount:      g.MemberCount,
		MaxMemberCount:   g.MaxMemberCount,
		MuteAllMembers:   g.MuteAllMembers,
		JoinOption:       g.JoinOption,
		InviteOption:     g.InviteOption,
		IsSupportTopic:   g.IsSupportTopic,
		InfoSequence:     g.InfoSequence,
		GroupCustomField: orEmpty(g.GroupCustomField),
		LastInfoTime:     c.Group.Time.Seconds(),
		SelfInfo: SelfInfo{
			UserID:            c.UserID,
			Role:              c.Own.Settings().Member.Value.Role,
			NameCard:          c.Own.Settings().Member.Value.NameCard,
			JoinTime:          c.Own.Settings().Member.Value.JoinTime.Seconds(),
			JoinSequence:      c.Own.Settings().Member.Value.JoinSequence,
			MessageRemindType: c.remindType(),
			ReadedSequence:    c.Read(),
		},
		LastMessage: last,
	}
	if r.Erased(g.OwnerID) {
		details.OwnerID = ""
	}
	if c.member() {
		details.NextMessageSeq = c.Shared.LastSequence + 1
	}
	return details
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func orDefault(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}
