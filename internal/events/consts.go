package events

// MaxSequence is the greatest sequence: 2^53−1.
const MaxSequence = 1<<53 - 1

// MaxPreviewRunes is where a preview is cut.
const MaxPreviewRunes = 200

// AtAllToken in an atUserList mentions everyone. The spelling is the SDK's.
const AtAllToken = "__kImSDK_MesssageAtALL__"

// TypeText is the one message type whose preview comes from its payload.
const TypeText = "TIMTextElem"

// The statuses of a group member.
const (
	StatusJoined = "joined"
	StatusLeft   = "left"
	StatusKicked = "kicked"
)

// The group types whose messages are never counted as unread.
const (
	GroupTypeChatRoom   = "ChatRoom"
	GroupTypeAVChatRoom = "AVChatRoom"
)

// The remind types that matter here: the default, and those that a total leaves out.
const (
	RemindAccept          = "AcceptAndNotify"
	RemindAcceptNotNotify = "AcceptNotNotify"
	RemindDiscard         = "Discard"
)

// MarkHidden is the mark that hides a conversation.
const MarkHidden = 4

// The defaults of an app's plan.
const (
	DefaultMaxConversations = 100
	DefaultRetention        = 604_800
)

// Preview is what a message of this type shows when nothing else is said.
// text is the payload's text, already cut; only TypeText shows it.
func Preview(messageType, text string) string {
	switch messageType {
	case TypeText:
		return text
	case "TIMImageElem":
		return "[Image]"
	case "TIMSoundElem":
		return "[Voice]"
	case "TIMVideoFileElem":
		return "[Video]"
	case "TIMFileElem":
		return "[File]"
	case "TIMFaceElem":
		return "[Sticker]"
	case "TIMLocationElem":
		return "[Location]"
	case "TIMCustomElem":
		return "[Custom]"
	case "TIMRelayElem":
		return "[Chat History]"
	case "TIMGroupTipElem":
		return "[Group Tip]"
	case "TIMGroupSystemNoticeElem":
		return "[System Notice]"
	default:
		return "[Message]"
	}
}

// The defaults of a user's profile.
const (
	DefaultGender          = "Gender_Type_Unknown"
	DefaultAllowType       = "AllowType_Type_AllowAny"
	DefaultAdminForbidType = "AdminForbid_Type_None"
)
