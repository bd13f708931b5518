-- The tables of one generation of the read model. {db} is the generation's database.
--
-- Every row is a partial one: rows of equal key merge by the merge law (greatest
-- tuple, union of sets), in any order and any number of times. Readers merge the
-- rows that the engine has not merged yet; nothing needs FINAL.
--
-- A table that the writer cannot fill directly (tuples, bitmap states) has a
-- Null table NAME_in in front, with flat columns, and a materialized view
-- NAME_mv that builds its rows.
--
-- No table has a TTL or a PARTITION BY: a partial row that misses its partner
-- would lose a register. Times are microseconds since 1970-01-01 UTC, 0 absent.

CREATE TABLE IF NOT EXISTS {db}.inbox
(
    app String COMMENT 'The tenant',
    owner String COMMENT 'The user whose registers these are; empty: what all members of a group share',
    conversation_id String COMMENT 'The conversation from the owner''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    head SimpleAggregateFunction(max, Tuple(
        sequence UInt64, time Int64, id String,
        message_id String, sender String, type String, preview String,
        nick String, avatar String, name_card String, cloud_custom_data String,
        payload_bytes UInt32, payload String, large_payload String))
        COMMENT 'The greatest message that may be the last one shown; a payload over 1 KB is in large_payload, which lists do not read',
    last_sequence SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest sequence of any message ever seen',
    edited_sequence SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest sequence that any recall or modification names',
    known SimpleAggregateFunction(max, Bool) COMMENT 'The owner has set a register of this conversation',
    read SimpleAggregateFunction(max, Tuple(sequence UInt64, time Int64)) COMMENT 'The owner''s greatest conversationRead',
    peer_read SimpleAggregateFunction(max, Tuple(sequence UInt64, time Int64)) COMMENT 'The C2C peer''s greatest conversationRead',
    sent SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest sequence that the owner has sent',
    peer_sent SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest sequence that the C2C peer has sent',
    deleted SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest throughSequence of a conversationDeleted',
    cleared SimpleAggregateFunction(max, UInt64) COMMENT 'The greatest throughSequence of a conversationCleared',
    pinned SimpleAggregateFunction(max, Tuple(time Int64, id String, value Bool)) COMMENT 'conversationPinned, the last writer',
    remind_type SimpleAggregateFunction(max, Tuple(time Int64, id String, value String)) COMMENT 'conversationRemindTypeSet, the last writer',
    marks SimpleAggregateFunction(max, Tuple(time Int64, id String, value Array(UInt64))) COMMENT 'conversationMarked, the last writer; ascending',
    groups SimpleAggregateFunction(max, Tuple(time Int64, id String, value Array(String))) COMMENT 'conversationGroupsSet, the last writer; ascending',
    custom_data SimpleAggregateFunction(max, Tuple(time Int64, id String, value String)) COMMENT 'conversationCustomDataSet, the last writer',
    draft SimpleAggregateFunction(max, Tuple(time Int64, id String, value String)) COMMENT 'conversationDraftSet, the last writer',
    remark SimpleAggregateFunction(max, Tuple(time Int64, id String, value String)) COMMENT 'friendRemarkSet for the C2C peer, the last writer',
    member SimpleAggregateFunction(max, Tuple(
        time Int64, id String, status String, role String, name_card String,
        join_sequence UInt64, join_time Int64, operator_id String))
        COMMENT 'groupMemberChanged of the owner, the last writer'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, owner, conversation_id)
SETTINGS index_granularity = 512
COMMENT 'Registers of conversations, by owner';

CREATE TABLE IF NOT EXISTS {db}.inbox_in
(
    app String, owner String, conversation_id String,
    head_sequence UInt64, head_time Int64, head_id String,
    head_message_id String, head_sender String, head_type String, head_preview String,
    head_nick String, head_avatar String, head_name_card String, head_cloud_custom_data String,
    head_payload_bytes UInt32, head_payload String, head_large_payload String,
    last_sequence UInt64, edited_sequence UInt64, known Bool,
    read_sequence UInt64, read_time Int64, peer_read_sequence UInt64, peer_read_time Int64,
    sent UInt64, peer_sent UInt64, deleted UInt64, cleared UInt64,
    pinned_time Int64, pinned_id String, pinned_value Bool,
    remind_type_time Int64, remind_type_id String, remind_type_value String,
    marks_time Int64, marks_id String, marks_value Array(UInt64),
    groups_time Int64, groups_id String, groups_value Array(String),
    custom_data_time Int64, custom_data_id String, custom_data_value String,
    draft_time Int64, draft_id String, draft_value String,
    remark_time Int64, remark_id String, remark_value String,
    member_time Int64, member_id String, member_status String, member_role String, member_name_card String,
    member_join_sequence UInt64, member_join_time Int64, member_operator_id String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.inbox_mv TO {db}.inbox AS
SELECT
    app, owner, conversation_id,
    (head_sequence, head_time, head_id,
     head_message_id, head_sender, head_type, head_preview,
     head_nick, head_avatar, head_name_card, head_cloud_custom_data,
     head_payload_bytes, head_payload, head_large_payload) AS head,
    last_sequence, edited_sequence, known,
    (read_sequence, read_time) AS read,
    (peer_read_sequence, peer_read_time) AS peer_read,
    sent, peer_sent, deleted, cleared,
    (pinned_time, pinned_id, pinned_value) AS pinned,
    (remind_type_time, remind_type_id, remind_type_value) AS remind_type,
    (marks_time, marks_id, marks_value) AS marks,
    (groups_time, groups_id, groups_value) AS groups,
    (custom_data_time, custom_data_id, custom_data_value) AS custom_data,
    (draft_time, draft_id, draft_value) AS draft,
    (remark_time, remark_id, remark_value) AS remark,
    (member_time, member_id, member_status, member_role, member_name_card,
     member_join_sequence, member_join_time, member_operator_id) AS member
FROM {db}.inbox_in;

CREATE TABLE IF NOT EXISTS {db}.sequences
(
    app String COMMENT 'The tenant',
    owner String COMMENT 'As in inbox',
    conversation_id String COMMENT 'As in inbox',
    day Date32 COMMENT 'The UTC day of the messages; 1970-01-01 for recalls, which do not know it',
    kind Enum8('counted' = 1, 'uncounted' = 2, 'recalled' = 3) COMMENT 'What the sequences are: messages that count as unread, messages that do not (it wins), recalled messages',
    sequences AggregateFunction(groupBitmap, UInt64) COMMENT 'The set of sequences'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, owner, conversation_id, day, kind)
SETTINGS index_granularity = 512
COMMENT 'Which messages there are, by owner, conversation and day: what unread is counted from';

CREATE TABLE IF NOT EXISTS {db}.sequences_in
(
    app String, owner String, conversation_id String, day Date32,
    kind Enum8('counted' = 1, 'uncounted' = 2, 'recalled' = 3),
    sequences Array(UInt64)
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.sequences_mv TO {db}.sequences AS
SELECT app, owner, conversation_id, day, kind, bitmapBuild(sequences) AS sequences
FROM {db}.sequences_in;

CREATE TABLE IF NOT EXISTS {db}.mentions
(
    app String COMMENT 'The tenant',
    owner String COMMENT 'The mentioned user; empty: everyone in the group',
    group_id String COMMENT 'The group',
    day Date32 COMMENT 'The UTC day of the message',
    sequence UInt64 COMMENT 'The sequence of the message'
)
ENGINE = ReplacingMergeTree
ORDER BY (app, owner, group_id, day, sequence)
SETTINGS index_granularity = 512
COMMENT 'Messages in groups that mention somebody';

CREATE TABLE IF NOT EXISTS {db}.edits
(
    app String COMMENT 'The tenant',
    type String COMMENT 'The kind of the conversation: C2C, GROUP or SYSTEM',
    a String COMMENT 'C2C: the lesser user, bytewise; GROUP: the group; SYSTEM: the user',
    b String COMMENT 'C2C: the greater user; else empty',
    sequence UInt64 COMMENT 'The sequence of the message',
    recall SimpleAggregateFunction(max, Tuple(time Int64, id String, revoker String, reason String)) COMMENT 'The latest messageRecalled',
    modification SimpleAggregateFunction(max, Tuple(
        number UInt64, time Int64, id String, payload String,
        has_message_for_show Bool, message_for_show String, payload_text String,
        has_cloud_custom_data Bool, cloud_custom_data String))
        COMMENT 'The messageModified of the highest version'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, type, a, b, sequence)
SETTINGS index_granularity = 512
COMMENT 'What happened to messages after they were sent';

CREATE TABLE IF NOT EXISTS {db}.edits_in
(
    app String, type String, a String, b String, sequence UInt64,
    recall_time Int64, recall_id String, recall_revoker String, recall_reason String,
    modification_number UInt64, modification_time Int64, modification_id String, modification_payload String,
    modification_has_message_for_show Bool, modification_message_for_show String, modification_payload_text String,
    modification_has_cloud_custom_data Bool, modification_cloud_custom_data String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.edits_mv TO {db}.edits AS
SELECT
    app, type, a, b, sequence,
    (recall_time, recall_id, recall_revoker, recall_reason) AS recall,
    (modification_number, modification_time, modification_id, modification_payload,
     modification_has_message_for_show, modification_message_for_show, modification_payload_text,
     modification_has_cloud_custom_data, modification_cloud_custom_data) AS modification
FROM {db}.edits_in;

CREATE TABLE IF NOT EXISTS {db}.messages
(
    app String COMMENT 'The tenant',
    type String COMMENT 'The kind of the conversation: C2C, GROUP or SYSTEM',
    a String COMMENT 'As in edits',
    b String COMMENT 'As in edits',
    day Date32 COMMENT 'The UTC day of the message',
    sequence UInt64 COMMENT 'The message''s place in the conversation',
    time Int64 COMMENT 'The event''s time',
    id String COMMENT 'The event''s ID',
    sender SimpleAggregateFunction(max, String) COMMENT 'The user who sent it; may be empty in SYSTEM',
    recipient SimpleAggregateFunction(max, String) COMMENT 'The user it was sent to; empty in groups',
    message_id SimpleAggregateFunction(max, String) COMMENT 'The producer''s name of the message',
    message_type SimpleAggregateFunction(max, String) COMMENT 'The element type, such as TIMTextElem',
    text SimpleAggregateFunction(max, String) COMMENT 'The preview, before any modification',
    mentions SimpleAggregateFunction(max, Array(String)) COMMENT 'The mentioned users, ascending',
    mentions_all SimpleAggregateFunction(max, Bool) COMMENT 'Everyone is mentioned',
    counted SimpleAggregateFunction(max, Bool) COMMENT 'It counts as unread',
    shown SimpleAggregateFunction(max, Bool) COMMENT 'It may be the last message shown'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, type, a, b, day, sequence, time, id)
COMMENT 'Messages, one row each';

CREATE TABLE IF NOT EXISTS {db}.user_profiles
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user',
    profile SimpleAggregateFunction(max, Tuple(
        time Int64, id String, nick String, avatar String,
        gender String, birthday UInt32, location String, self_signature String,
        allow_type String, language UInt32, message_settings UInt32, admin_forbid_type String,
        level UInt32, role UInt32, custom_field Array(Tuple(key String, value String))))
        COMMENT 'userProfileChanged, the last writer'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, user_id)
SETTINGS index_granularity = 512
COMMENT 'Profiles of users';

CREATE TABLE IF NOT EXISTS {db}.user_profiles_in
(
    app String, user_id String,
    time Int64, id String, nick String, avatar String,
    gender String, birthday UInt32, location String, self_signature String,
    allow_type String, language UInt32, message_settings UInt32, admin_forbid_type String,
    level UInt32, role UInt32, custom_keys Array(String), custom_values Array(String)
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.user_profiles_mv TO {db}.user_profiles AS
SELECT
    app, user_id,
    (time, id, nick, avatar, gender, birthday, location, self_signature,
     allow_type, language, message_settings, admin_forbid_type,
     level, role, arrayZip(custom_keys, custom_values)) AS profile
FROM {db}.user_profiles_in;

CREATE TABLE IF NOT EXISTS {db}.group_profiles
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    profile SimpleAggregateFunction(max, Tuple(
        time Int64, id String, name String, avatar String, type String, dismissed Bool,
        introduction String, notification String, owner_id String, create_time Int64,
        member_count UInt64, max_member_count UInt64, mute_all_members Bool,
        join_option String, invite_option String, is_support_topic Bool, info_sequence UInt64,
        custom_field Array(Tuple(key String, value String))))
        COMMENT 'groupProfileChanged, the last writer'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, group_id)
SETTINGS index_granularity = 512
COMMENT 'Profiles of groups';

CREATE TABLE IF NOT EXISTS {db}.group_profiles_in
(
    app String, group_id String,
    time Int64, id String, name String, avatar String, type String, dismissed Bool,
    introduction String, notification String, owner_id String, create_time Int64,
    member_count UInt64, max_member_count UInt64, mute_all_members Bool,
    join_option String, invite_option String, is_support_topic Bool, info_sequence UInt64,
    custom_keys Array(String), custom_values Array(String)
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.group_profiles_mv TO {db}.group_profiles AS
SELECT
    app, group_id,
    (time, id, name, avatar, type, dismissed, introduction, notification, owner_id, create_time,
     member_count, max_member_count, mute_all_members, join_option, invite_option, is_support_topic,
     info_sequence, arrayZip(custom_keys, custom_values)) AS profile
FROM {db}.group_profiles_in;

CREATE TABLE IF NOT EXISTS {db}.plans
(
    app String COMMENT 'The tenant',
    plan SimpleAggregateFunction(max, Tuple(time Int64, id String, max_conversations UInt32, retention UInt64)) COMMENT 'appPlanChanged, the last writer; retention in seconds, 0 for ever'
)
ENGINE = AggregatingMergeTree
ORDER BY app
COMMENT 'Plans of apps';

CREATE TABLE IF NOT EXISTS {db}.plans_in
(
    app String, time Int64, id String, max_conversations UInt32, retention UInt64
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.plans_mv TO {db}.plans AS
SELECT app, (time, id, max_conversations, retention) AS plan
FROM {db}.plans_in;

CREATE TABLE IF NOT EXISTS {db}.erased_users
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user whose data counts for nothing'
)
ENGINE = ReplacingMergeTree
ORDER BY (app, user_id)
COMMENT 'Users who were erased';
