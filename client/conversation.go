package client

import "encoding/json"

// The types of conversations.
const (
	TypeC2C    = "C2C"
	TypeGroup  = "GROUP"
	TypeSystem = "@TIM#SYSTEM"
)

// C2C is the ID of the conversation with a user.
func C2C(userID string) string { return TypeC2C + userID }

// Group is the ID of the conversation of a group.
func Group(groupID string) string { return TypeGroup + groupID }

// System is the ID of each user's own conversation with the system.
const System = TypeSystem

// The remind types of a conversation.
const (
	RemindAcceptAndNotify         = "AcceptAndNotify"
	RemindAcceptNotNotify         = "AcceptNotNotify"
	RemindDiscard                 = "Discard"
	RemindAcceptNotNotifyExceptAt = "AcceptNotNotifyExceptAt"
	RemindNotReceiveMsgExceptAt   = "NotReceiveMsgExceptAt"
)

// The marks that the Tencent SDK names. Only a hidden conversation is treated
// differently by convoview.
const (
	MarkStar   = 1
	MarkUnread = 2
	MarkFold   = 3
	MarkHide   = 4
)

// Item is what a list and a profile both show of a conversation. Its JSON, like
// that of all types here, is the reply's.
type Item struct {
	ConversationID string `json:"conversationID"`
	// Type is TypeC2C, TypeGroup or TypeSystem.
	Type string `json:"type"`
	// SubType is a group's type, such as Public, else "".
	SubType     string      `json:"subType"`
	UnreadCount uint64      `json:"unreadCount"`
	LastMessage LastMessage `json:"lastMessage"`
	// GroupAtInfoList are the unread mentions in a group, newest first, at most 20.
	GroupAtInfoList []GroupAtInfo `json:"groupAtInfoList"`
	// PeerReadTime is, in C2C, when the peer last said what they have read, in
	// seconds since 1970; 0: never.
	PeerReadTime      int64  `json:"peerReadTime"`
	IsPinned          bool   `json:"isPinned"`
	MessageRemindType string `json:"messageRemindType"`
	// MarkList ascends.
	MarkList   []uint64 `json:"markList"`
	CustomData string   `json:"customData"`
	// ConversationGroupList are the user's own groups that it is in, ascending.
	ConversationGroupList []string `json:"conversationGroupList"`
	DraftText             string   `json:"draftText"`
	// Remark is what the user calls the peer.
	Remark string `json:"remark"`
}

// Conversation is a conversation in a list.
type Conversation struct {
	Item
	// UserProfile is the peer's in C2C, else nil.
	UserProfile *UserInfo `json:"userProfile"`
	// GroupProfile is the group's, else nil.
	GroupProfile *GroupInfo `json:"groupProfile"`
}

// Profile is a conversation in full: with its payload whatever the size, and the
// complete profile.
type Profile struct {
	Item
	// UserProfile is the peer's in C2C, else nil.
	UserProfile *UserDetails `json:"userProfile"`
	// GroupProfile is the group's, else nil.
	GroupProfile *GroupDetails `json:"groupProfile"`
}

// LastMessage is the last message of a conversation. It is empty when the user
// has cleared it or, in a profile, when there is none to show.
type LastMessage struct {
	MessageID string `json:"messageID"`
	// LastTime is when it was sent, in seconds since 1970.
	LastTime     int64  `json:"lastTime"`
	LastSequence uint64 `json:"lastSequence"`
	FromAccount  string `json:"fromAccount"`
	// MessageForShow is the preview.
	MessageForShow string `json:"messageForShow"`
	// Type is the element's, such as TIMTextElem.
	Type string `json:"type"`
	// Payload is a JSON object or null.
	Payload json.RawMessage `json:"payload"`
	// PayloadOmitted says, in a list, that a payload over 1 KB was left out. The
	// profile has it.
	PayloadOmitted bool `json:"payloadOmitted,omitempty"`
	IsRevoked      bool `json:"isRevoked"`
	// Revoker is nil unless recalled by somebody known.
	Revoker         *string `json:"revoker"`
	RevokeReason    string  `json:"revokeReason"`
	IsPeerRead      bool    `json:"isPeerRead"`
	Nick            string  `json:"nick"`
	NameCard        string  `json:"nameCard"`
	Avatar          string  `json:"avatar"`
	CloudCustomData string  `json:"cloudCustomData"`
	OnlineOnlyFlag  bool    `json:"onlineOnlyFlag"`
	// Version is the modification's that is shown; 0: never modified.
	Version uint64 `json:"version"`
}

// GroupAtInfo is an unread message that mentions the user.
type GroupAtInfo struct {
	From            string `json:"from"`
	GroupID         string `json:"groupID"`
	MessageSequence uint64 `json:"messageSequence"`
	// AtTypeArray is [1] for the user, [2] for everyone, [3] for both.
	AtTypeArray []int `json:"atTypeArray"`
}

// UserInfo is what a list shows of a peer.
type UserInfo struct {
	// UserID is the peer's.
	UserID string `json:"userID"`
	// Nick is the name that they have given themselves; "" if nothing is known of them.
	Nick string `json:"nick"`
	// Avatar is where their picture is.
	Avatar string `json:"avatar"`
}

// GroupInfo is what a list shows of a group.
type GroupInfo struct {
	// GroupID is the group's.
	GroupID string `json:"groupID"`
	// Name is what it is called; "" if nothing is known of it.
	Name string `json:"name"`
	// Avatar is where its picture is.
	Avatar string `json:"avatar"`
	// Type is Private, Public, ChatRoom, AVChatRoom or Community.
	Type string `json:"type"`
}

// UserDetails is the complete profile of a peer.
type UserDetails struct {
	UserInfo
	Gender             string     `json:"gender"`
	Birthday           uint32     `json:"birthday"`
	Location           string     `json:"location"`
	SelfSignature      string     `json:"selfSignature"`
	AllowType          string     `json:"allowType"`
	Language           uint32     `json:"language"`
	MessageSettings    uint32     `json:"messageSettings"`
	AdminForbidType    string     `json:"adminForbidType"`
	Level              uint32     `json:"level"`
	Role               uint32     `json:"role"`
	ProfileCustomField []KeyValue `json:"profileCustomField"`
	// LastUpdatedTime is in seconds since 1970; 0: nothing is known of the user.
	LastUpdatedTime int64 `json:"lastUpdatedTime"`
}

// GroupDetails is the complete profile of a group, as one user sees it. Times are
// in seconds since 1970; 0: not known.
type GroupDetails struct {
	GroupInfo
	Introduction     string     `json:"introduction"`
	Notification     string     `json:"notification"`
	OwnerID          string     `json:"ownerID"`
	CreateTime       int64      `json:"createTime"`
	MemberCount      uint64     `json:"memberCount"`
	MaxMemberCount   uint64     `json:"maxMemberCount"`
	MuteAllMembers   bool       `json:"muteAllMembers"`
	JoinOption       string     `json:"joinOption"`
	InviteOption     string     `json:"inviteOption"`
	IsSupportTopic   bool       `json:"isSupportTopic"`
	InfoSequence     uint64     `json:"infoSequence"`
	GroupCustomField []KeyValue `json:"groupCustomField"`
	LastInfoTime     int64      `json:"lastInfoTime"`
	SelfInfo         SelfInfo   `json:"selfInfo"`
	// NextMessageSeq is 1 more than the greatest sequence in the group; 0 for those
	// who are not in it.
	NextMessageSeq uint64      `json:"nextMessageSeq"`
	LastMessage    LastMessage `json:"lastMessage"`
}

// SelfInfo is the asking user's own membership.
type SelfInfo struct {
	UserID            string `json:"userID"`
	Role              string `json:"role"`
	NameCard          string `json:"nameCard"`
	JoinTime          int64  `json:"joinTime"`
	JoinSequence      uint64 `json:"joinSequence"`
	MessageRemindType string `json:"messageRemindType"`
	// ReadedSequence is what they have read up to.
	ReadedSequence uint64 `json:"readedSequence"`
}

// KeyValue is a field that producers have named.
type KeyValue struct {
	// Key is its name. Several may have one name.
	Key string `json:"key"`
	// Value is what it says.
	Value string `json:"value"`
}
