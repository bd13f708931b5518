package readmodel_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
)

// analysis is all that the views say of some apps.
type analysis struct {
	Messages          []messageView
	Conversations     []conversationView
	Reads             []readView
	GroupMembers      []memberView
	GroupProfiles     []groupView
	UserProfiles      []userView
	ActivityDaily     []activityView
	ActivityUserDaily []userActivityView
}

type messageView struct {
	App         string    `ch:"app"`
	Type        string    `ch:"type"`
	GroupID     string    `ch:"group_id"`
	FromUser    string    `ch:"from_user"`
	ToUser      string    `ch:"to_user"`
	Sequence    uint64    `ch:"sequence"`
	MessageID   string    `ch:"message_id"`
	MessageType string    `ch:"message_type"`
	Time        time.Time `ch:"time"`
	Text        string    `ch:"text"`
	Mentions    []string  `ch:"mentions"`
	MentionsAll bool      `ch:"mentions_all"`
	Counted     bool      `ch:"counted"`
	Shown       bool      `ch:"shown"`
	IsRecalled  bool      `ch:"is_recalled"`
	Version     uint64    `ch:"version"`
}

type conversationView struct {
	App                string    `ch:"app"`
	UserID             string    `ch:"user_id"`
	ConversationID     string    `ch:"conversation_id"`
	Type               string    `ch:"type"`
	UnreadCount        uint64    `ch:"unread_count"`
	LastTime           time.Time `ch:"last_time"`
	LastSequence       uint64    `ch:"last_sequence"`
	LastFrom           string    `ch:"last_from"`
	LastText           string    `ch:"last_text"`
	IsPinned           bool      `ch:"is_pinned"`
	IsHidden           bool      `ch:"is_hidden"`
	RemindType         string    `ch:"remind_type"`
	Marks              []uint64  `ch:"marks"`
	ConversationGroups []string  `ch:"conversation_groups"`
}

type readView struct {
	App            string    `ch:"app"`
	UserID         string    `ch:"user_id"`
	ConversationID string    `ch:"conversation_id"`
	Sequence       uint64    `ch:"sequence"`
	Time           time.Time `ch:"time"`
}

type memberView struct {
	App          string    `ch:"app"`
	GroupID      string    `ch:"group_id"`
	UserID       string    `ch:"user_id"`
	Status       string    `ch:"status"`
	Role         string    `ch:"role"`
	NameCard     string    `ch:"name_card"`
	JoinSequence uint64    `ch:"join_sequence"`
	Time         time.Time `ch:"time"`
}

type groupView struct {
	App              string            `ch:"app"`
	GroupID          string            `ch:"group_id"`
	Name             string            `ch:"name"`
	Avatar           string            `ch:"avatar"`
	Type             string            `ch:"type"`
	Introduction     string            `ch:"introduction"`
	Notification     string            `ch:"notification"`
	OwnerID          string            `ch:"owner_id"`
	CreateTime       int64             `ch:"create_time"` // the client does not know the years after 2262
	MemberCount      uint64            `ch:"member_count"`
	MaxMemberCount   uint64            `ch:"max_member_count"`
	MuteAllMembers   bool              `ch:"mute_all_members"`
	JoinOption       string            `ch:"join_option"`
	InviteOption     string            `ch:"invite_option"`
	IsSupportTopic   bool              `ch:"is_support_topic"`
	InfoSequence     uint64            `ch:"info_sequence"`
	GroupCustomField []events.KeyValue `ch:"group_custom_field"`
	Dismissed        bool              `ch:"dismissed"`
	Time             time.Time         `ch:"time"`
}

type userView struct {
	App                string            `ch:"app"`
	UserID             string            `ch:"user_id"`
	Nick               string            `ch:"nick"`
	Avatar             string            `ch:"avatar"`
	Gender             string            `ch:"gender"`
	Birthday           uint32            `ch:"birthday"`
	Location           string            `ch:"location"`
	SelfSignature      string            `ch:"self_signature"`
	AllowType          string            `ch:"allow_type"`
	Language           uint32            `ch:"language"`
	MessageSettings    uint32            `ch:"message_settings"`
	AdminForbidType    string            `ch:"admin_forbid_type"`
	Level              uint32            `ch:"level"`
	Role               uint32            `ch:"role"`
	ProfileCustomField []events.KeyValue `ch:"profile_custom_field"`
	Time               time.Time         `ch:"time"`
}

type activityView struct {
	App           string    `ch:"app"`
	Day           time.Time `ch:"day"`
	Type          string    `ch:"type"`
	Messages      uint64    `ch:"messages"`
	Senders       uint64    `ch:"senders"`
	Conversations uint64    `ch:"conversations"`
}

type userActivityView struct {
	App           string    `ch:"app"`
	Day           time.Time `ch:"day"`
	UserID        string    `ch:"user_id"`
	Messages      uint64    `ch:"messages"`
	Conversations uint64    `ch:"conversations"`
}

// analyze reads all views, or those rows of them for which a condition holds.
func analyze(t testing.TB, rt rapid.TB, conn driver.Conn, database, where string) (a analysis) {
	for view, rows := range map[string]any{
		"messages": &a.Messages, "conversations": &a.Conversations, "reads": &a.Reads,
		"group_members": &a.GroupMembers, "group_profiles": &a.GroupProfiles, "user_profiles": &a.UserProfiles,
		"activity_daily": &a.ActivityDaily, "activity_user_daily": &a.ActivityUserDaily,
	} {
		columns := "*"
		if view == "group_profiles" {
			columns = "* REPLACE (toUnixTimestamp64Micro(create_time) AS create_time)"
		}
		if err := conn.Select(t.Context(), rows, "SELECT "+columns+" FROM "+database+"."+view+" WHERE "+where); err != nil {
			rt.Fatalf("%s: %v", view, err)
		}
	}
	return a
}

// inAnyOrder compares analyses: views have no order, and empty lists are nil in some.
var inAnyOrder = cmp.Options{
	cmpopts.EquateEmpty(),
	sorted(func(r messageView) []any {
		return []any{r.App, r.Type, r.GroupID, r.ToUser, r.FromUser, r.Sequence, r.Time, r.MessageID, r}
	}),
	sorted(func(r conversationView) []any { return []any{r.App, r.UserID, r.ConversationID} }),
	sorted(func(r readView) []any { return []any{r.App, r.UserID, r.ConversationID} }),
	sorted(func(r memberView) []any { return []any{r.App, r.GroupID, r.UserID} }),
	sorted(func(r groupView) []any { return []any{r.App, r.GroupID} }),
	sorted(func(r userView) []any { return []any{r.App, r.UserID} }),
	sorted(func(r activityView) []any { return []any{r.App, r.Day, r.Type} }),
	sorted(func(r userActivityView) []any { return []any{r.App, r.Day, r.UserID} }),
}

func sorted[R any](key func(R) []any) cmp.Option {
	text := func(r R) string {
		b, err := json.Marshal(key(r))
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	return cmpopts.SortSlices(func(a, b R) int { return strings.Compare(text(a), text(b)) })
}
