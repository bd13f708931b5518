package events

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldKey is a field's name; fields of one name in several bodies share it.
type fieldKey uint8

const (
	keyID fieldKey = iota
	keyApp
	keyTime

	keyAdminForbidType
	keyAllowType
	keyAtUserList
	keyAvatar
	keyBirthday
	keyClearHistory
	keyCloudCustomData
	keyConversationGroupList
	keyConversationID
	keyCreateTime
	keyCustomData
	keyDismissed
	keyDraftText
	keyExcludedFromLastMessage
	keyExcludedFromUnreadCount
	keyFriendID
	keyFrom
	keyGender
	keyGroupCustomField
	keyGroupID
	keyInfoSequence
	keyIntroduction
	keyInviteOption
	keyIsPinned
	keyIsSupportTopic
	keyJoinOption
	keyJoinSequence
	keyJoinTime
	keyLanguage
	keyLevel
	keyLocation
	keyMarkList
	keyMaxConversations
	keyMaxMemberCount
	keyMemberCount
	keyMessageForShow
	keyMessageID
	keyMessageRemindType
	keyMessageSettings
	keyMuteAllMembers
	keyName
	keyNameCard
	keyNick
	keyNotification
	keyOnlineOnly
	keyOperatorID
	keyOwnerID
	keyPayload
	keyProfileCustomField
	keyReason
	keyRemark
	keyRetention
	keyRevoker
	keyRole
	keySelfSignature
	keySequence
	keyStatus
	keySystem
	keyThroughSequence
	keyTo
	keyType
	keyUserID
	keyVersion

	keyCount
)

var fieldNames = [keyCount]string{
	keyID: "id", keyApp: "app", keyTime: "time",
	keyAdminForbidType:         "adminForbidType",
	keyAllowType:               "allowType",
	keyAtUserList:              "atUserList",
	keyAvatar:                  "avatar",
	keyBirthday:                "birthday",
	keyClearHistory:            "clearHistory",
	keyCloudCustomData:         "cloudCustomData",
	keyConversationGroupList:   "conversationGroupList",
	keyConversationID:          "conversationID",
	keyCreateTime:              "createTime",
	keyCustomData:              "customData",
	keyDismissed:               "dismissed",
	keyDraftText:               "draftText",
	keyExcludedFromLastMessage: "excludedFromLastMessage",
	keyExcludedFromUnreadCount: "excludedFromUnreadCount",
	keyFriendID:                "friendID",
	keyFrom:                    "from",
	keyGender:                  "gender",
	keyGroupCustomField:        "groupCustomField",
	keyGroupID:                 "groupID",
	keyInfoSequence:            "infoSequence",
	keyIntroduction:            "introduction",
	keyInviteOption:            "inviteOption",
	keyIsPinned:                "isPinned",
	keyIsSupportTopic:          "isSupportTopic",
	keyJoinOption:              "joinOption",
	keyJoinSequence:            "joinSequence",
	keyJoinTime:                "joinTime",
	keyLanguage:                "language",
	keyLevel:                   "level",
	keyLocation:                "location",
	keyMarkList:                "markList",
	keyMaxConversations:        "maxConversations",
	keyMaxMemberCount:          "maxMemberCount",
	keyMemberCount:             "memberCount",
	keyMessageForShow:          "messageForShow",
	keyMessageID:               "messageID",
	keyMessageRemindType:       "messageRemindType",
	keyMessageSettings:         "messageSettings",
	keyMuteAllMembers:          "muteAllMembers",
	keyName:                    "name",
	keyNameCard:                "nameCard",
	keyNick:                    "nick",
	keyNotification:            "notification",
	keyOnlineOnly:              "onlineOnly",
	keyOperatorID:              "operatorID",
	keyOwnerID:                 "ownerID",
	keyPayload:                 "payload",
	keyProfileCustomField:      "profileCustomField",
	keyReason:                  "reason",
	keyRemark:                  "remark",
	keyRetention:               "retention",
	keyRevoker:                 "revoker",
	keyRole:                    "role",
	keySelfSignature:           "selfSignature",
	keySequence:                "sequence",
	keyStatus:                  "status",
	keySystem:                  "system",
	keyThroughSequence:         "throughSequence",
	keyTo:                      "to",
	keyType:                    "type",
	keyUserID:                  "userID",
	keyVersion:                 "version",
}

// kind is how a field is written.
type kind uint8

const (
	kindText      kind = iota + 1 // a string
	kindInt                       // an int64; in JSON a number or a decimal string
	kindUint32                    // the same, uint32 in Protobuf
	kindBool                      // a boolean
	kindTime                      // a Timestamp; in JSON RFC 3339
	kindObject                    // bytes of a JSON object; in JSON that object
	kindTexts                     // a list of strings
	kindInts                      // a list of int64
	kindKeyValues                 // a list of KeyValue
)

// rule is what the content of a text, or of a list's entries, must be.
type rule uint8

const (
	ruleNone           rule = iota
	ruleID                  // names a user or a group
	ruleConversationID      // names a conversation
	ruleMention             // names a user, or is empty
	ruleNotEmpty            // is not empty
)

// field is one field of a body in both encodings, with the rules that concern it alone.
type field struct {
	key  fieldKey
	num  protowire.Number
	kind kind
	// presence tells absent from empty (`optional` in Protobuf); without it "" and 0 are absent.
	presence bool
	required bool
	rule     rule
	// oneOf lists the values of an enumeration.
	oneOf []string
	// min and max bound an integer or the integers of a list.
	min, max int64
	// limit bounds the bytes of a text (of each text in a list) or an object.
	limit func(*Limits) int
	// entries bounds the length of a list.
	entries func(*Limits) int
}

func textBytes(l *Limits) int { return l.TextBytes }

// text is a name or a text of at most Limits.TextBytes.
func text(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindText, limit: textBytes}
}

// longText is a text of at most limit (nil: bounded by the event alone).
func longText(key fieldKey, num protowire.Number, limit func(*Limits) int) field {
	return field{key: key, num: num, kind: kindText, limit: limit}
}

// identifier names a user or a group.
func identifier(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindText, rule: ruleID}
}

// enum is one of the values.
func enum(key fieldKey, num protowire.Number, values ...string) field {
	return field{key: key, num: num, kind: kindText, oneOf: values}
}

// sequence is a sequence of at least least.
func sequence(key fieldKey, num protowire.Number, least int64) field {
	return field{key: key, num: num, kind: kindInt, presence: true, min: least, max: MaxSequence}
}

// count is any integer that is not negative.
func count(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindInt, max: math.MaxInt64}
}

func number32(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindUint32, max: math.MaxUint32}
}

func boolean(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindBool}
}

func moment(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindTime}
}

func object(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindObject, limit: func(l *Limits) int { return l.PayloadBytes }}
}

func keyValues(key fieldKey, num protowire.Number) field {
	return field{key: key, num: num, kind: kindKeyValues, limit: textBytes}
}

// need makes the field required.
func (f field) need() field {
	f.required = true
	return f
}

// optional makes absent differ from empty.
func (f field) optional() field {
	f.presence = true
	return f
}

// expected says what the field must be, for an error.
func (f *field) expected() string {
	switch f.kind {
	case kindText:
		switch {
		case len(f.oneOf) > 0:
			return "one of " + strings.Join(f.oneOf, ", ")
		case f.rule == ruleConversationID:
			return expectedConversationID
		case f.rule == ruleID:
			return expectedID
		default:
			return "a string"
		}
	case kindInt, kindUint32:
		return f.expectedInt()
	case kindBool:
		return "true or false"
	case kindTime:
		return expectedTime
	case kindObject:
		return expectedObject
	case kindTexts:
		return "a list of strings"
	case kindInts:
		return "a list of integers"
	case kindKeyValues:
		return "a list of objects with key and value"
	default:
		return ""
	}
}

func (f *field) expectedInt() string {
	return "an integer from " + strconv.FormatInt(f.min, 10) + " to " + strconv.FormatInt(f.max, 10)
}

// expectedEntry says what an entry of the list must be.
func (f *field) expectedEntry() string {
	switch {
	case f.kind == kindInts:
		return f.expectedInt()
	case f.kind == kindKeyValues:
		return "an object with the strings key and value"
	case f.rule == ruleMention:
		return expectedID
	case f.rule == ruleNotEmpty:
		return "a string that is not empty"
	default:
		return "a string"
	}
}

const (
	expectedConversationID = "C2C<userID>, GROUP<groupID> or " + SystemConversationID
	expectedID             = "1 to 128 bytes of UTF-8 without control characters"
	expectedTime           = "an RFC 3339 time of the years 1 to 9999"
	expectedObject         = "a JSON object"
)
