package readmodel

import (
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// micros makes a column of type Int64 of a time.
func micros(m *events.Micros) *int64 { return (*int64)(m) }

// register makes the two columns of a register's version.
func register[R any](name string, at func(*R) *projection.Version) []column[R] {
	return []column[R]{
		field(name+"_time", name+".time", func(r *R) *int64 { return micros(&at(r).Time) }),
		field(name+"_id", name+".id", func(r *R) *string { return &at(r).ID }),
	}
}

// columns joins single columns and lists of them.
func columns[R any](parts ...any) []column[R] {
	var all []column[R]
	for _, p := range parts {
		switch p := p.(type) {
		case column[R]:
			all = append(all, p)
		case []column[R]:
			all = append(all, p...)
		}
	}
	return all
}

// inboxRow is a row of inbox: the registers under a key but for days, recalls and mentions.
type inboxRow struct {
	projection.Key
	projection.State
}

var inboxTable = table[inboxRow]{into: "inbox_in", from: "inbox", columns: columns[inboxRow](
	field("app", "app", func(r *inboxRow) *string { return &r.App }),
	field("owner", "owner", func(r *inboxRow) *string { return &r.Owner }),
	field("conversation_id", "conversation_id", func(r *inboxRow) *string { return &r.ConversationID }),

	field("head_sequence", "head.sequence", func(r *inboxRow) *uint64 { return &r.Head.Sequence }),
	field("head_time", "head.time", func(r *inboxRow) *int64 { return micros(&r.Head.Time) }),
	field("head_id", "head.id", func(r *inboxRow) *string { return &r.Head.ID }),
	field("head_message_id", "head.message_id", func(r *inboxRow) *string { return &r.Head.MessageID }),
	field("head_sender", "head.sender", func(r *inboxRow) *string { return &r.Head.From }),
	field("head_type", "head.type", func(r *inboxRow) *string { return &r.Head.Type }),
	field("head_preview", "head.preview", func(r *inboxRow) *string { return &r.Head.Preview }),
	field("head_nick", "head.nick", func(r *inboxRow) *string { return &r.Head.Nick }),
	field("head_avatar", "head.avatar", func(r *inboxRow) *string { return &r.Head.Avatar }),
	field("head_name_card", "head.name_card", func(r *inboxRow) *string { return &r.Head.NameCard }),
	field("head_cloud_custom_data", "head.cloud_custom_data", func(r *inboxRow) *string { return &r.Head.CloudCustomData }),
	field("head_payload_bytes", "head.payload_bytes", func(r *inboxRow) *uint32 { return &r.Head.PayloadBytes }),
	field("head_payload", "head.payload", func(r *inboxRow) *string { return &r.Head.Payload }),
	fullField("head_large_payload", "head.large_payload", func(r *inboxRow) *string { return &r.Head.LargePayload }),

	field("last_sequence", "last_sequence", func(r *inboxRow) *uint64 { return &r.LastSequence }),
	field("edited_sequence", "edited_sequence", func(r *inboxRow) *uint64 { return &r.EditedSequence }),
	field("known", "known", func(r *inboxRow) *bool { return &r.Known }),
	field("read_sequence", "read.sequence", func(r *inboxRow) *uint64 { return &r.Read.Sequence }),
	field("read_time", "read.time", func(r *inboxRow) *int64 { return micros(&r.Read.Time) }),
	field("peer_read_sequence", "peer_read.sequence", func(r *inboxRow) *uint64 { return &r.PeerRead.Sequence }),
	field("peer_read_time", "peer_read.time", func(r *inboxRow) *int64 { return micros(&r.PeerRead.Time) }),
	field("sent", "sent", func(r *inboxRow) *uint64 { return &r.Sent }),
	field("peer_sent", "peer_sent", func(r *inboxRow) *uint64 { return &r.PeerSent }),
	field("deleted", "deleted", func(r *inboxRow) *uint64 { return &r.Deleted }),
	field("cleared", "cleared", func(r *inboxRow) *uint64 { return &r.Cleared }),

	register("pinned", func(r *inboxRow) *projection.Version { return &r.Pinned.Version }),
	field("pinned_value", "pinned.value", func(r *inboxRow) *bool { return &r.Pinned.Value }),
	register("remind_type", func(r *inboxRow) *projection.Version { return &r.RemindType.Version }),
	field("remind_type_value", "remind_type.value", func(r *inboxRow) *string { return &r.RemindType.Value }),
	register("marks", func(r *inboxRow) *projection.Version { return &r.Marks.Version }),
	field("marks_value", "marks.value", func(r *inboxRow) *[]uint64 { return &r.Marks.Value }),
	register("groups", func(r *inboxRow) *projection.Version { return &r.Groups.Version }),
	field("groups_value", "groups.value", func(r *inboxRow) *[]string { return &r.Groups.Value }),
	register("custom_data", func(r *inboxRow) *projection.Version { return &r.CustomData.Version }),
	field("custom_data_value", "custom_data.value", func(r *inboxRow) *string { return &r.CustomData.Value }),
	register("draft", func(r *inboxRow) *projection.Version { return &r.Draft.Version }),
	field("draft_value", "draft.value", func(r *inboxRow) *string { return &r.Draft.Value }),
	register("remark", func(r *inboxRow) *projection.Version { return &r.Remark.Version }),
	field("remark_value", "remark.value", func(r *inboxRow) *string { return &r.Remark.Value }),

	register("member", func(r *inboxRow) *projection.Version { return &r.Member.Version }),
	field("member_status", "member.status", func(r *inboxRow) *string { return &r.Member.Value.Status }),
	field("member_role", "member.role", func(r *inboxRow) *string { return &r.Member.Value.Role }),
	field("member_name_card", "member.name_card", func(r *inboxRow) *string { return &r.Member.Value.NameCard }),
	field("member_join_sequence", "member.join_sequence", func(r *inboxRow) *uint64 { return &r.Member.Value.JoinSequence }),
	field("member_join_time", "member.join_time", func(r *inboxRow) *int64 { return micros(&r.Member.Value.JoinTime) }),
	field("member_operator_id", "member.operator_id", func(r *inboxRow) *string { return &r.Member.Value.OperatorID }),
)}

// The kinds of rows of sequences.
const (
	kindCounted   int8 = 1
	kindUncounted int8 = 2
	kindRecalled  int8 = 3
)

// sequencesRow is a row of sequences: one set of one day, or the recalled ones of all days.
type sequencesRow struct {
	projection.Key
	Day  events.Day
	Kind int8
	Set  projection.Sequences
	// Bitmap is the set as ClickHouse serializes its state.
	Bitmap string
}

var sequencesTable = table[sequencesRow]{into: "sequences_in", from: "sequences", columns: columns[sequencesRow](
	field("app", "app", func(r *sequencesRow) *string { return &r.App }),
	field("owner", "owner", func(r *sequencesRow) *string { return &r.Owner }),
	field("conversation_id", "conversation_id", func(r *sequencesRow) *string { return &r.ConversationID }),
	day(func(r *sequencesRow) *events.Day { return &r.Day }),
	field("kind", "CAST(kind AS Int8)", func(r *sequencesRow) *int8 { return &r.Kind }),
	set(),
)}

// set is the column of a set: written as its elements, read as the engine's own state, which costs a run of any length nothing.
func set() column[sequencesRow] {
	c := written("sequences", func(r *sequencesRow) []uint64 { return slices.Collect(r.Set.All()) })
	c.expr = "CAST(sequences AS String)"
	c.dest = func(r *sequencesRow) any { return &r.Bitmap }
	return c
}

// day is a column of type Date32: a Date ends in 2149.
func day[R any](at func(*R) *events.Day) column[R] {
	c := written("day", func(r *R) time.Time { return at(r).Time() })
	c.expr = "toInt32(day)"
	c.dest = func(r *R) any { return (*int32)(at(r)) }
	return c
}

// mentionRow is a row of mentions.
type mentionRow struct {
	App, Owner, GroupID string
	projection.Mention
}

var mentionsTable = table[mentionRow]{into: "mentions", from: "mentions", columns: columns[mentionRow](
	field("app", "app", func(r *mentionRow) *string { return &r.App }),
	field("owner", "owner", func(r *mentionRow) *string { return &r.Owner }),
	field("group_id", "group_id", func(r *mentionRow) *string { return &r.GroupID }),
	day(func(r *mentionRow) *events.Day { return &r.Day }),
	field("sequence", "sequence", func(r *mentionRow) *uint64 { return &r.Sequence }),
)}

// editRow is a row of edits.
type editRow struct {
	App, Type, A, B string
	Sequence        uint64
	projection.Edit
}

var editsTable = table[editRow]{into: "edits_in", from: "edits", columns: columns[editRow](
	field("app", "app", func(r *editRow) *string { return &r.App }),
	field("type", "type", func(r *editRow) *string { return &r.Type }),
	field("a", "a", func(r *editRow) *string { return &r.A }),
	field("b", "b", func(r *editRow) *string { return &r.B }),
	field("sequence", "sequence", func(r *editRow) *uint64 { return &r.Sequence }),
	register("recall", func(r *editRow) *projection.Version { return &r.Recall.Version }),
	field("recall_revoker", "recall.revoker", func(r *editRow) *string { return &r.Recall.Value.Revoker }),
	field("recall_reason", "recall.reason", func(r *editRow) *string { return &r.Recall.Value.Reason }),
	field("modification_number", "modification.number", func(r *editRow) *uint64 { return &r.Modification.Number }),
	field("modification_time", "modification.time", func(r *editRow) *int64 { return micros(&r.Modification.Time) }),
	field("modification_id", "modification.id", func(r *editRow) *string { return &r.Modification.ID }),
	field("modification_payload", "modification.payload", func(r *editRow) *string { return &r.Modification.Payload }),
	field("modification_has_message_for_show", "modification.has_message_for_show", func(r *editRow) *bool { return &r.Modification.HasMessageForShow }),
	field("modification_message_for_show", "modification.message_for_show", func(r *editRow) *string { return &r.Modification.MessageForShow }),
	field("modification_payload_text", "modification.payload_text", func(r *editRow) *string { return &r.Modification.PayloadText }),
	field("modification_has_cloud_custom_data", "modification.has_cloud_custom_data", func(r *editRow) *bool { return &r.Modification.HasCloudCustomData }),
	field("modification_cloud_custom_data", "modification.cloud_custom_data", func(r *editRow) *string { return &r.Modification.CloudCustomData }),
)}

// messageRow is a row of messages.
type messageRow struct {
	App, Type, A, B string
	Day             events.Day
	Sequence        uint64
	Time            events.Micros
	ID              string
	projection.Message
}

var messagesTable = table[messageRow]{into: "messages", from: "messages", columns: columns[messageRow](
	field("app", "app", func(r *messageRow) *string { return &r.App }),
	field("type", "type", func(r *messageRow) *string { return &r.Type }),
	field("a", "a", func(r *messageRow) *string { return &r.A }),
	field("b", "b", func(r *messageRow) *string { return &r.B }),
	day(func(r *messageRow) *events.Day { return &r.Day }),
	field("sequence", "sequence", func(r *messageRow) *uint64 { return &r.Sequence }),
	field("time", "time", func(r *messageRow) *int64 { return micros(&r.Time) }),
	field("id", "id", func(r *messageRow) *string { return &r.ID }),
	field("sender", "sender", func(r *messageRow) *string { return &r.From }),
	fullField("recipient", "recipient", func(r *messageRow) *string { return &r.To }),
	fullField("message_id", "message_id", func(r *messageRow) *string { return &r.MessageID }),
	fullField("message_type", "message_type", func(r *messageRow) *string { return &r.Message.Type }),
	fullField("text", "text", func(r *messageRow) *string { return &r.Text }),
	fullField("mentions", "mentions", func(r *messageRow) *[]string { return &r.AtUsers }),
	fullField("mentions_all", "mentions_all", func(r *messageRow) *bool { return &r.AtAll }),
	fullField("counted", "counted", func(r *messageRow) *bool { return &r.Counted }),
	fullField("shown", "shown", func(r *messageRow) *bool { return &r.Shown }),
)}

// userRow and groupRow are rows of user_profiles and group_profiles.
type (
	userRow struct {
		projection.UserKey
		Profile      projection.UserProfile
		keys, values []string
	}
	groupRow struct {
		projection.GroupKey
		Profile      projection.GroupProfile
		keys, values []string
	}
)

var usersTable = table[userRow]{into: "user_profiles_in", from: "user_profiles", columns: columns[userRow](
	field("app", "app", func(r *userRow) *string { return &r.App }),
	field("user_id", "user_id", func(r *userRow) *string { return &r.UserID }),
	field("time", "profile.time", func(r *userRow) *int64 { return micros(&r.Profile.Time) }),
	field("id", "profile.id", func(r *userRow) *string { return &r.Profile.ID }),
	field("nick", "profile.nick", func(r *userRow) *string { return &r.Profile.Value.Nick }),
	field("avatar", "profile.avatar", func(r *userRow) *string { return &r.Profile.Value.Avatar }),
	fullField("gender", "profile.gender", func(r *userRow) *string { return &r.Profile.Value.Gender }),
	fullField("birthday", "profile.birthday", func(r *userRow) *uint32 { return &r.Profile.Value.Birthday }),
	fullField("location", "profile.location", func(r *userRow) *string { return &r.Profile.Value.Location }),
	fullField("self_signature", "profile.self_signature", func(r *userRow) *string { return &r.Profile.Value.SelfSignature }),
	fullField("allow_type", "profile.allow_type", func(r *userRow) *string { return &r.Profile.Value.AllowType }),
	fullField("language", "profile.language", func(r *userRow) *uint32 { return &r.Profile.Value.Language }),
	fullField("message_settings", "profile.message_settings", func(r *userRow) *uint32 { return &r.Profile.Value.MessageSettings }),
	fullField("admin_forbid_type", "profile.admin_forbid_type", func(r *userRow) *string { return &r.Profile.Value.AdminForbidType }),
	fullField("level", "profile.level", func(r *userRow) *uint32 { return &r.Profile.Value.Level }),
	fullField("role", "profile.role", func(r *userRow) *uint32 { return &r.Profile.Value.Role }),
	fullField("custom_keys", "profile.custom_field.key", func(r *userRow) *[]string { return &r.keys }),
	fullField("custom_values", "profile.custom_field.value", func(r *userRow) *[]string { return &r.values }),
)}

var groupsTable = table[groupRow]{into: "group_profiles_in", from: "group_profiles", columns: columns[groupRow](
	field("app", "app", func(r *groupRow) *string { return &r.App }),
	field("group_id", "group_id", func(r *groupRow) *string { return &r.GroupID }),
	field("time", "profile.time", func(r *groupRow) *int64 { return micros(&r.Profile.Time) }),
	field("id", "profile.id", func(r *groupRow) *string { return &r.Profile.ID }),
	field("name", "profile.name", func(r *groupRow) *string { return &r.Profile.Value.Name }),
	field("avatar", "profile.avatar", func(r *groupRow) *string { return &r.Profile.Value.Avatar }),
	field("type", "profile.type", func(r *groupRow) *string { return &r.Profile.Value.Type }),
	field("dismissed", "profile.dismissed", func(r *groupRow) *bool { return &r.Profile.Value.Dismissed }),
	fullField("introduction", "profile.introduction", func(r *groupRow) *string { return &r.Profile.Value.Introduction }),
	fullField("notification", "profile.notification", func(r *groupRow) *string { return &r.Profile.Value.Notification }),
	fullField("owner_id", "profile.owner_id", func(r *groupRow) *string { return &r.Profile.Value.OwnerID }),
	fullField("create_time", "profile.create_time", func(r *groupRow) *int64 { return micros(&r.Profile.Value.CreateTime) }),
	fullField("member_count", "profile.member_count", func(r *groupRow) *uint64 { return &r.Profile.Value.MemberCount }),
	fullField("max_member_count", "profile.max_member_count", func(r *groupRow) *uint64 { return &r.Profile.Value.MaxMemberCount }),
	fullField("mute_all_members", "profile.mute_all_members", func(r *groupRow) *bool { return &r.Profile.Value.MuteAllMembers }),
	fullField("join_option", "profile.join_option", func(r *groupRow) *string { return &r.Profile.Value.JoinOption }),
	fullField("invite_option", "profile.invite_option", func(r *groupRow) *string { return &r.Profile.Value.InviteOption }),
	fullField("is_support_topic", "profile.is_support_topic", func(r *groupRow) *bool { return &r.Profile.Value.IsSupportTopic }),
	fullField("info_sequence", "profile.info_sequence", func(r *groupRow) *uint64 { return &r.Profile.Value.InfoSequence }),
	fullField("custom_keys", "profile.custom_field.key", func(r *groupRow) *[]string { return &r.keys }),
	fullField("custom_values", "profile.custom_field.value", func(r *groupRow) *[]string { return &r.values }),
)}

// planRow is a row of plans.
type planRow struct {
	App  string
	Plan projection.Plan
}

var plansTable = table[planRow]{into: "plans_in", from: "plans", columns: columns[planRow](
	field("app", "app", func(r *planRow) *string { return &r.App }),
	field("time", "plan.time", func(r *planRow) *int64 { return micros(&r.Plan.Time) }),
	field("id", "plan.id", func(r *planRow) *string { return &r.Plan.ID }),
	field("max_conversations", "plan.max_conversations", func(r *planRow) *uint32 { return &r.Plan.Value.MaxConversations }),
	field("retention", "plan.retention", func(r *planRow) *uint64 { return &r.Plan.Value.Retention }),
)}

var erasedTable = table[projection.UserKey]{into: "erased_users", from: "erased_users", columns: columns[projection.UserKey](
	field("app", "app", func(r *projection.UserKey) *string { return &r.App }),
	field("user_id", "user_id", func(r *projection.UserKey) *string { return &r.UserID }),
)}
