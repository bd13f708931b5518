package events

// Event is one decoded and validated event of either topic.
type Event struct {
	// ID names this one event for ever (1 to 128 bytes).
	ID string
	// App is the tenant.
	App string
	// Time is the producer's time, truncated to the microsecond.
	Time Micros
	// Body is what happened; never nil in an event that Decode returned.
	Body Body
	// UnknownFields counts the fields that this version does not know and ignored.
	UnknownFields int
}

// Body is one of the concrete body types of this package, as a pointer.
type Body interface {
	// Kind is the body's field name in JSON and Protobuf, such as "messageSent".
	Kind() string
}

// MessageSent is a message in a conversation.
type MessageSent struct {
	Conversation Conversation
	// From is the sender; may be empty only in a SYSTEM conversation.
	From string
	// MessageID is the producer's name of the message.
	MessageID string
	// Sequence is the message's place in the conversation (1 to MaxSequence).
	Sequence uint64
	// Type is the element type, such as TypeText.
	Type string
	// Payload is the element as compact JSON (an object), or nil when absent.
	Payload []byte
	// MessageForShow is the preview, given or derived, cut at MaxPreviewRunes.
	MessageForShow string
	// Nick, Avatar and NameCard are the sender's at that time.
	Nick, Avatar, NameCard string
	// AtUsers are the mentioned users, ascending, without repeats and without AtAllToken.
	AtUsers []string
	// AtAll says that everyone in the group is mentioned.
	AtAll bool
	// CloudCustomData is the message's custom data.
	CloudCustomData string
	// OnlineOnly, ExcludedFromUnread and ExcludedFromLast keep the message
	// out of head and count, out of the count, or out of the head.
	OnlineOnly, ExcludedFromUnread, ExcludedFromLast bool
}

// MessageRecalled takes a message back.
type MessageRecalled struct {
	Conversation Conversation
	Sequence     uint64
	Revoker      string
	Reason       string
}

// MessageModified replaces parts of a message. An absent part keeps the original's.
type MessageModified struct {
	Conversation Conversation
	Sequence     uint64
	// Version orders modifications (≥ 1).
	Version uint64
	// Payload is the new element as compact JSON, or nil when absent.
	Payload []byte
	// HasMessageForShow tells an absent preview from an empty one; MessageForShow is cut at MaxPreviewRunes.
	HasMessageForShow bool
	MessageForShow    string
	// PayloadText is what a TypeText message with this payload shows
	// (the payload's text, cut at MaxPreviewRunes); "" without a payload.
	PayloadText string
	// HasCloudCustomData tells absent custom data from empty custom data.
	HasCloudCustomData bool
	CloudCustomData    string
	// From is who sent the message, if the event says so; "" in C2C, whose ends say it.
	From string
}

// ConversationOf says whose register of which conversation an event sets.
type ConversationOf struct {
	// UserID is the owner of the register.
	UserID string
	// ConversationID is the conversation from the owner's point of view.
	ConversationID string
}

// ConversationRead says that the user has read everything up to Sequence.
type ConversationRead struct {
	ConversationOf
	Sequence uint64
}

// ConversationPinned pins or unpins a conversation.
type ConversationPinned struct {
	ConversationOf
	IsPinned bool
}

// ConversationRemindTypeSet sets how the user is reminded of new messages.
type ConversationRemindTypeSet struct {
	ConversationOf
	MessageRemindType string
}

// ConversationMarked sets the whole set of marks.
type ConversationMarked struct {
	ConversationOf
	// MarkList is ascending and without repeats.
	MarkList []uint64
}

// ConversationGroupsSet sets the whole set of the user's own group names for a conversation.
type ConversationGroupsSet struct {
	ConversationOf
	// ConversationGroupList is ascending bytewise and without repeats.
	ConversationGroupList []string
}

// ConversationCustomDataSet sets the conversation's custom data.
type ConversationCustomDataSet struct {
	ConversationOf
	CustomData string
}

// ConversationDraftSet sets the conversation's draft.
type ConversationDraftSet struct {
	ConversationOf
	DraftText string
}

// ConversationDeleted takes a conversation out of the list until its next message.
type ConversationDeleted struct {
	ConversationOf
	ThroughSequence uint64
	// ClearHistory makes it a ConversationCleared through the same sequence, too.
	ClearHistory bool
}

// ConversationCleared empties a conversation's history for this user.
type ConversationCleared struct {
	ConversationOf
	ThroughSequence uint64
}

// GroupMemberChanged is a user's membership of a group.
type GroupMemberChanged struct {
	GroupID, UserID string
	// Status is StatusJoined, StatusLeft or StatusKicked.
	Status string
	// Role is "", "Owner", "Admin", "Member" or "Custom".
	Role     string
	NameCard string
	// JoinSequence is the group's last sequence when they joined.
	JoinSequence uint64
	// JoinTime is 0 when absent.
	JoinTime   Micros
	OperatorID string
}

// KeyValue is one custom field of a profile.
type KeyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// GroupProfileChanged is a group's whole profile.
type GroupProfileChanged struct {
	GroupID, Name, Avatar string
	// Type is "", "Private", "Public", "ChatRoom", "AVChatRoom" or "Community".
	Type                        string
	Introduction, Notification  string
	OwnerID                     string
	CreateTime                  Micros
	MemberCount, MaxMemberCount uint64
	MuteAllMembers              bool
	JoinOption, InviteOption    string
	IsSupportTopic              bool
	InfoSequence                uint64
	GroupCustomField            []KeyValue
	Dismissed                   bool
}

// UserProfileChanged is a user's whole profile. Decode fills in the defaults
// of Gender, AllowType and AdminForbidType.
type UserProfileChanged struct {
	UserID, Nick, Avatar    string
	Gender                  string
	Birthday                uint32
	Location, SelfSignature string
	AllowType               string
	Language                uint32
	MessageSettings         uint32
	AdminForbidType         string
	Level, Role             uint32
	ProfileCustomField      []KeyValue
}

// FriendRemarkSet is a user's own name for a friend.
type FriendRemarkSet struct {
	UserID, FriendID, Remark string
}

// AppPlanChanged is what an app may use.
type AppPlanChanged struct {
	// MaxConversations is the length of a list (1 to 1000, default 100).
	MaxConversations uint32
	// Retention in seconds; 0 keeps messages for ever.
	Retention uint64
}

// UserErased is the right to erasure. Final.
type UserErased struct {
	UserID string
}

// Kind implements Body.
func (*MessageSent) Kind() string { return "messageSent" }

// Kind implements Body.
func (*MessageRecalled) Kind() string { return "messageRecalled" }

// Kind implements Body.
func (*MessageModified) Kind() string { return "messageModified" }

// Kind implements Body.
func (*ConversationRead) Kind() string { return "conversationRead" }

// Kind implements Body.
func (*ConversationPinned) Kind() string { return "conversationPinned" }

// Kind implements Body.
func (*ConversationRemindTypeSet) Kind() string { return "conversationRemindTypeSet" }

// Kind implements Body.
func (*ConversationMarked) Kind() string { return "conversationMarked" }

// Kind implements Body.
func (*ConversationGroupsSet) Kind() string { return "conversationGroupsSet" }

// Kind implements Body.
func (*ConversationCustomDataSet) Kind() string { return "conversationCustomDataSet" }

// Kind implements Body.
func (*ConversationDraftSet) Kind() string { return "conversationDraftSet" }

// Kind implements Body.
func (*ConversationDeleted) Kind() string { return "conversationDeleted" }

// Kind implements Body.
func (*ConversationCleared) Kind() string { return "conversationCleared" }

// Kind implements Body.
func (*GroupMemberChanged) Kind() string { return "groupMemberChanged" }

// Kind implements Body.
func (*GroupProfileChanged) Kind() string { return "groupProfileChanged" }

// Kind implements Body.
func (*UserProfileChanged) Kind() string { return "userProfileChanged" }

// Kind implements Body.
func (*FriendRemarkSet) Kind() string { return "friendRemarkSet" }

// Kind implements Body.
func (*AppPlanChanged) Kind() string { return "appPlanChanged" }

// Kind implements Body.
func (*UserErased) Kind() string { return "userErased" }
