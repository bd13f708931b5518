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
--
-- What lists read is read at a thousand places, a few rows each. What that costs
-- is columns and granules, not bytes: so registers are rows and not columns, their
-- values have their fields in one text, granules are small, and parts stay compact
-- (all columns of a granule side by side) however large they grow.
--
-- A value is its fields with a zero byte between them; in a field \0 is written
-- \1\1, and \1 is written \1\2. Numbers have leading zeros; a signed one has its
-- first bit flipped; a boolean is 0 or 1. So the order of values is that of their fields,
-- one after the other. splitByChar('\0', value)[n] is the n-th field.
--
-- Where something of an erased user was swept, there is \xFF: as sender, recaller, owner
-- or operator, and as the payload of a modification. It is greater than any text, so that
-- the merge keeps it.

CREATE TABLE IF NOT EXISTS {db}.registers
(
    app String COMMENT 'The tenant',
    owner String COMMENT 'The user whose register it is; empty: what all members of a group share',
    conversation_id String COMMENT 'The conversation from the owner''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    register Enum8(
        'head' = 1, 'last_sequence' = 2, 'edited_sequence' = 3, 'known' = 4, 'read' = 5, 'peer_read' = 6,
        'sent' = 7, 'peer_sent' = 8, 'deleted' = 9, 'cleared' = 10, 'pinned' = 11, 'remind_type' = 12,
        'marks' = 13, 'groups' = 14, 'custom_data' = 15, 'draft' = 16, 'remark' = 17, 'member' = 18)
        COMMENT 'Which register it is. head: the greatest message that may be the last one shown; last_sequence: the greatest of a group''s messages ever; edited_sequence: the greatest that a recall or modification names; known: the owner has set a register of this conversation; read, peer_read: the greatest conversationRead of the owner and of the C2C peer; sent, peer_sent: the greatest that they have sent; deleted, cleared: the greatest throughSequence; the others: the last writer of the event of that name',
    greatest SimpleAggregateFunction(max, Tuple(sequence UInt64, time Int64, id String, value String))
        COMMENT 'The register: sequence 0 where the last writer wins; time 0 where only the sequence counts; fields of value in this order: head: message_id, sender, type, preview, nick, avatar, name_card, cloud_custom_data, payload_bytes, payload, large_payload; member: status, role, name_card, join_sequence, join_time, operator_id; else the value, or each of the set'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, owner, conversation_id, register)
SETTINGS index_granularity = 256, index_granularity_bytes = 131072, min_bytes_for_wide_part = 1099511627776
COMMENT 'Registers of conversations, by owner';

CREATE TABLE IF NOT EXISTS {db}.registers_in
(
    app String, owner String, conversation_id String,
    register Enum8(
        'head' = 1, 'last_sequence' = 2, 'edited_sequence' = 3, 'known' = 4, 'read' = 5, 'peer_read' = 6,
        'sent' = 7, 'peer_sent' = 8, 'deleted' = 9, 'cleared' = 10, 'pinned' = 11, 'remind_type' = 12,
        'marks' = 13, 'groups' = 14, 'custom_data' = 15, 'draft' = 16, 'remark' = 17, 'member' = 18),
    sequence UInt64, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.registers_mv TO {db}.registers AS
SELECT app, owner, conversation_id, register, (sequence, time, id, value) AS greatest
FROM {db}.registers_in;

CREATE TABLE IF NOT EXISTS {db}.sequences
(
    app String COMMENT 'The tenant',
    owner String COMMENT 'As in registers',
    conversation_id String COMMENT 'As in registers',
    day Date32 COMMENT 'The UTC day of the messages; 1970-01-01 for recalls, which do not know it',
    kind Enum8('counted' = 1, 'uncounted' = 2, 'recalled' = 3, 'mentioning' = 4) COMMENT 'What the sequences are: messages that count as unread, messages that do not (it wins), recalled messages, and in groups those that mention the owner, or everyone when that is empty',
    sequences AggregateFunction(groupBitmap, UInt64) COMMENT 'The set of sequences'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, owner, conversation_id, day, kind)
SETTINGS index_granularity = 256, index_granularity_bytes = 131072, min_bytes_for_wide_part = 1099511627776
COMMENT 'Which messages there are, by owner, conversation and day: what unread is counted from';

CREATE TABLE IF NOT EXISTS {db}.sequences_in
(
    app String, owner String, conversation_id String, day Date32,
    kind Enum8('counted' = 1, 'uncounted' = 2, 'recalled' = 3, 'mentioning' = 4),
    sequences Array(UInt64)
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.sequences_mv TO {db}.sequences AS
SELECT app, owner, conversation_id, day, kind, bitmapBuild(sequences) AS sequences
FROM {db}.sequences_in;

CREATE TABLE IF NOT EXISTS {db}.edits
(
    app String COMMENT 'The tenant',
    type String COMMENT 'The kind of the conversation: C2C, GROUP or SYSTEM',
    a String COMMENT 'C2C: the lesser user, bytewise; GROUP: the group; SYSTEM: the user',
    b String COMMENT 'C2C: the greater user; else empty',
    sequence UInt64 COMMENT 'The sequence of the message',
    edit Enum8('recall' = 1, 'modification' = 2) COMMENT 'The latest messageRecalled, or the messageModified of the highest version',
    greatest SimpleAggregateFunction(max, Tuple(version UInt64, time Int64, id String, value String))
        COMMENT 'The register: version 0 for recalls; fields of value in this order: recall: revoker, reason; modification: payload, has_message_for_show, message_for_show, payload_text, has_cloud_custom_data, cloud_custom_data'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, type, a, b, sequence, edit)
SETTINGS index_granularity = 128, index_granularity_bytes = 131072, min_bytes_for_wide_part = 1099511627776
COMMENT 'What happened to messages after they were sent';

CREATE TABLE IF NOT EXISTS {db}.edits_in
(
    app String, type String, a String, b String, sequence UInt64,
    edit Enum8('recall' = 1, 'modification' = 2),
    version UInt64, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.edits_mv TO {db}.edits AS
SELECT app, type, a, b, sequence, edit, (version, time, id, value) AS greatest
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
    sender SimpleAggregateFunction(max, String) COMMENT 'The user who sent it; may be empty in SYSTEM; \\xFF: an erased user',
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
SETTINGS index_granularity = 512
COMMENT 'Messages, one row each';

-- Who wrote how much, for longer than there are the messages, made of what is inserted
-- into messages. It is sets and no counts: they have a message once, however often and
-- late it comes. uniqExact keeps 16 bytes of each element, its hash. Erased users are no
-- senders here: a copy of swept messages comes with the activity that they had.

CREATE TABLE IF NOT EXISTS {db}.activity
(
    app String COMMENT 'The tenant',
    day Date32 COMMENT 'The UTC day of the messages',
    type String COMMENT 'The kind of the conversations: C2C, GROUP or SYSTEM',
    slice UInt8 COMMENT 'One of 64 parts of the conversations, by a hash: it bounds how much is one row, and says nothing',
    messages AggregateFunction(uniqExact, String, String, UInt64, Int64, String) COMMENT 'The set of messages, recalled ones included: a, b, sequence, time and id, as in messages',
    senders AggregateFunction(uniqExact, String) COMMENT 'The set of users who sent them; those of several slices meet',
    conversations AggregateFunction(uniqExact, String, String) COMMENT 'The set of conversations that they are in: a and b, as in messages'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, day, type, slice)
COMMENT 'Messages, senders and conversations, by day and type; it outlives the messages';

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.activity_mv TO {db}.activity AS
SELECT app, day, type, toUInt8(cityHash64(a, b) % 64) AS slice,
    uniqExactState(a, b, sequence, time, id) AS messages,
    uniqExactStateIf(sender, sender NOT IN ('', '\xFF')) AS senders,
    uniqExactState(a, b) AS conversations
FROM {db}.messages
GROUP BY app, day, type, slice;

-- A user's days are together, since their conversations are mostly the same ones, and
-- since erasing a user must find them; but only those of a month, so that reading a
-- day need not read all of them. The primary key leaves the day out, else the engine
-- does not see that a condition on it is one on the month.
CREATE TABLE IF NOT EXISTS {db}.activity_users
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user who sent the messages',
    day Date32 COMMENT 'The UTC day of the messages',
    messages AggregateFunction(uniqExact, String, String, String, UInt64, Int64, String) COMMENT 'The set of messages, recalled ones included: type, a, b, sequence, time and id, as in messages',
    conversations AggregateFunction(uniqExact, String, String, String) COMMENT 'The set of conversations that they are in: type, a and b, as in messages'
)
ENGINE = AggregatingMergeTree
PRIMARY KEY (app, toYYYYMM(day), user_id)
ORDER BY (app, toYYYYMM(day), user_id, day)
COMMENT 'Sent messages and their conversations, by user and day; it outlives the messages, but not the user';

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.activity_users_mv TO {db}.activity_users AS
SELECT app, sender AS user_id, day,
    uniqExactState(type, a, b, sequence, time, id) AS messages,
    uniqExactState(type, a, b) AS conversations
FROM {db}.messages
WHERE sender NOT IN ('', '\xFF')
GROUP BY app, user_id, day;

CREATE TABLE IF NOT EXISTS {db}.user_profiles
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user',
    profile SimpleAggregateFunction(max, Tuple(time Int64, id String, value String))
        COMMENT 'userProfileChanged, the last writer; fields of value in this order: nick, avatar, gender, birthday, location, self_signature, allow_type, language, message_settings, admin_forbid_type, level, role, and then each custom key and its value'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, user_id)
SETTINGS index_granularity = 128, index_granularity_bytes = 131072, min_bytes_for_wide_part = 1099511627776
COMMENT 'Profiles of users';

CREATE TABLE IF NOT EXISTS {db}.user_profiles_in
(
    app String, user_id String, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.user_profiles_mv TO {db}.user_profiles AS
SELECT app, user_id, (time, id, value) AS profile
FROM {db}.user_profiles_in;

CREATE TABLE IF NOT EXISTS {db}.group_profiles
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    profile SimpleAggregateFunction(max, Tuple(time Int64, id String, value String))
        COMMENT 'groupProfileChanged, the last writer; fields of value in this order: name, avatar, type, dismissed, introduction, notification, owner_id, create_time, member_count, max_member_count, mute_all_members, join_option, invite_option, is_support_topic, info_sequence, and then each custom key and its value'
)
ENGINE = AggregatingMergeTree
ORDER BY (app, group_id)
SETTINGS index_granularity = 128, index_granularity_bytes = 131072, min_bytes_for_wide_part = 1099511627776
COMMENT 'Profiles of groups';

CREATE TABLE IF NOT EXISTS {db}.group_profiles_in
(
    app String, group_id String, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS {db}.group_profiles_mv TO {db}.group_profiles AS
SELECT app, group_id, (time, id, value) AS profile
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
    user_id String COMMENT 'The user whose data counts for nothing',
    id String COMMENT 'The event that says so; it names the row for who leaves the event out'
)
ENGINE = ReplacingMergeTree
ORDER BY (app, user_id, id)
COMMENT 'Users who were erased';
