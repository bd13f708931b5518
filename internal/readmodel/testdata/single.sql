CREATE DATABASE IF NOT EXISTS convoview;

CREATE TABLE IF NOT EXISTS convoview.generations
(
    generation UInt32 COMMENT 'The number; its tables are in the database with _g and the number at the end of its name',
    state SimpleAggregateFunction(max, Enum8('filling' = 1, 'filled' = 2, 'dropped' = 3)) COMMENT 'filling: projectors write it, and a rebuild fills in what was before; filled: it has everything; dropped: it is gone',
    made SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'When it was made',
    options SimpleAggregateFunction(max, String) COMMENT 'How it is rebuilt, as JSON'
)
ENGINE = AggregatingMergeTree
ORDER BY generation
COMMENT 'The generations of the read model';

CREATE TABLE IF NOT EXISTS convoview.coverage
(
    generation UInt32 COMMENT 'The generation',
    topic String COMMENT 'The topic',
    partition Int32 COMMENT 'The partition',
    from_offset SimpleAggregateFunction(min, Int64) COMMENT 'Projectors write everything from this offset on to the generation; a rebuild what is before it'
)
ENGINE = AggregatingMergeTree
ORDER BY (generation, topic, partition)
COMMENT 'What projectors write: to generations that are being filled, and to the one that was read when they began a partition. Offsets that were committed of others are not of this read model';

CREATE TABLE IF NOT EXISTS convoview.copied
(
    generation UInt32 COMMENT 'The generation',
    name String COMMENT 'A table that has all rows of the generation''s base; empty: all have'
)
ENGINE = ReplacingMergeTree
ORDER BY (generation, name)
COMMENT 'What generations that begin with the rows of another one have of it';

CREATE TABLE IF NOT EXISTS convoview.left_out
(
    list String COMMENT 'Which list it is on: a checksum of all that is on it',
    id String COMMENT 'The ID of an event that generations with this list in their options leave out'
)
ENGINE = ReplacingMergeTree
ORDER BY (list, id)
COMMENT 'Events that some generations leave out';

CREATE TABLE IF NOT EXISTS convoview.sweeps
(
    generation UInt32 COMMENT 'The generation',
    begun SimpleAggregateFunction(max, DateTime64(6, 'UTC')) COMMENT 'When the last finished sweep of erased users began: nothing is left of who was erased in it before'
)
ENGINE = AggregatingMergeTree
ORDER BY generation
COMMENT 'When erased users were swept out of generations';

CREATE DATABASE IF NOT EXISTS convoview_g1;

CREATE TABLE IF NOT EXISTS convoview_g1.registers
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

CREATE TABLE IF NOT EXISTS convoview_g1.registers_in
(
    app String, owner String, conversation_id String,
    register Enum8(
        'head' = 1, 'last_sequence' = 2, 'edited_sequence' = 3, 'known' = 4, 'read' = 5, 'peer_read' = 6,
        'sent' = 7, 'peer_sent' = 8, 'deleted' = 9, 'cleared' = 10, 'pinned' = 11, 'remind_type' = 12,
        'marks' = 13, 'groups' = 14, 'custom_data' = 15, 'draft' = 16, 'remark' = 17, 'member' = 18),
    sequence UInt64, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.registers_mv TO convoview_g1.registers AS
SELECT app, owner, conversation_id, register, (sequence, time, id, value) AS greatest
FROM convoview_g1.registers_in;

CREATE TABLE IF NOT EXISTS convoview_g1.sequences
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

CREATE TABLE IF NOT EXISTS convoview_g1.sequences_in
(
    app String, owner String, conversation_id String, day Date32,
    kind Enum8('counted' = 1, 'uncounted' = 2, 'recalled' = 3, 'mentioning' = 4),
    sequences Array(UInt64)
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.sequences_mv TO convoview_g1.sequences AS
SELECT app, owner, conversation_id, day, kind, bitmapBuild(sequences) AS sequences
FROM convoview_g1.sequences_in;

CREATE TABLE IF NOT EXISTS convoview_g1.edits
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

CREATE TABLE IF NOT EXISTS convoview_g1.edits_in
(
    app String, type String, a String, b String, sequence UInt64,
    edit Enum8('recall' = 1, 'modification' = 2),
    version UInt64, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.edits_mv TO convoview_g1.edits AS
SELECT app, type, a, b, sequence, edit, (version, time, id, value) AS greatest
FROM convoview_g1.edits_in;

CREATE TABLE IF NOT EXISTS convoview_g1.messages
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

CREATE TABLE IF NOT EXISTS convoview_g1.activity
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

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.activity_mv TO convoview_g1.activity AS
SELECT app, day, type, toUInt8(cityHash64(a, b) % 64) AS slice,
    uniqExactState(a, b, sequence, time, id) AS messages,
    uniqExactStateIf(sender, sender NOT IN ('', '\xFF')) AS senders,
    uniqExactState(a, b) AS conversations
FROM convoview_g1.messages
GROUP BY app, day, type, slice;

CREATE TABLE IF NOT EXISTS convoview_g1.activity_users
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

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.activity_users_mv TO convoview_g1.activity_users AS
SELECT app, sender AS user_id, day,
    uniqExactState(type, a, b, sequence, time, id) AS messages,
    uniqExactState(type, a, b) AS conversations
FROM convoview_g1.messages
WHERE sender NOT IN ('', '\xFF')
GROUP BY app, user_id, day;

CREATE TABLE IF NOT EXISTS convoview_g1.user_profiles
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

CREATE TABLE IF NOT EXISTS convoview_g1.user_profiles_in
(
    app String, user_id String, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.user_profiles_mv TO convoview_g1.user_profiles AS
SELECT app, user_id, (time, id, value) AS profile
FROM convoview_g1.user_profiles_in;

CREATE TABLE IF NOT EXISTS convoview_g1.group_profiles
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

CREATE TABLE IF NOT EXISTS convoview_g1.group_profiles_in
(
    app String, group_id String, time Int64, id String, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.group_profiles_mv TO convoview_g1.group_profiles AS
SELECT app, group_id, (time, id, value) AS profile
FROM convoview_g1.group_profiles_in;

CREATE TABLE IF NOT EXISTS convoview_g1.plans
(
    app String COMMENT 'The tenant',
    plan SimpleAggregateFunction(max, Tuple(time Int64, id String, max_conversations UInt32, retention UInt64)) COMMENT 'appPlanChanged, the last writer; retention in seconds, 0 for ever'
)
ENGINE = AggregatingMergeTree
ORDER BY app
COMMENT 'Plans of apps';

CREATE TABLE IF NOT EXISTS convoview_g1.plans_in
(
    app String, time Int64, id String, max_conversations UInt32, retention UInt64
)
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS convoview_g1.plans_mv TO convoview_g1.plans AS
SELECT app, (time, id, max_conversations, retention) AS plan
FROM convoview_g1.plans_in;

CREATE TABLE IF NOT EXISTS convoview_g1.erased_users
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user whose data counts for nothing',
    id String COMMENT 'The event that says so; it names the row for who leaves the event out'
)
ENGINE = ReplacingMergeTree
ORDER BY (app, user_id, id)
COMMENT 'Users who were erased';

CREATE OR REPLACE VIEW convoview_g1.messages_view
(
    app String COMMENT 'The tenant',
    type String COMMENT 'The kind of the conversation: C2C, GROUP or SYSTEM',
    group_id String COMMENT 'The group that it was sent to; empty outside groups',
    from_user String COMMENT 'Who sent it; empty when they were erased, or when SYSTEM names nobody',
    to_user String COMMENT 'Whom it was sent to; empty in groups',
    sequence UInt64 COMMENT 'Its place in the conversation',
    message_id String COMMENT 'The chat backend''s name of it',
    message_type String COMMENT 'What it is, such as TIMTextElem',
    time DateTime64(6, 'UTC') COMMENT 'When it was sent',
    text String COMMENT 'The preview as a list would show it, modified if it was; empty when it is recalled',
    mentions Array(String) COMMENT 'The users whom it mentions, ascending; without those who were erased',
    mentions_all Bool COMMENT 'It mentions everyone',
    counted Bool COMMENT 'It counts as unread: it is neither onlineOnly nor excludedFromUnreadCount',
    shown Bool COMMENT 'Lists may show it as the last one: it is neither onlineOnly nor excludedFromLastMessage',
    is_recalled Bool COMMENT 'It was recalled, or its sender was erased',
    version UInt64 COMMENT 'The version of its modification; 0: it was never modified'
)
COMMENT 'Messages that are not expired, one row each'
AS
WITH
    t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped, (type, text) -> multiIf(type = 'TIMTextElem', text, type = 'TIMImageElem', '[Image]', type = 'TIMSoundElem', '[Voice]', type = 'TIMVideoFileElem', '[Video]', type = 'TIMFileElem', '[File]', type = 'TIMFaceElem', '[Sticker]', type = 'TIMLocationElem', '[Location]', type = 'TIMCustomElem', '[Custom]', type = 'TIMRelayElem', '[Chat History]', type = 'TIMGroupTipElem', '[Group Tip]', type = 'TIMGroupSystemNoticeElem', '[System Notice]', '[Message]') AS preview,
    (m.sender = '\xFF' OR (m.app, m.sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)) AS from_erased,
    splitByChar('\0', ifNull(e.modification.value, '')) AS modified
SELECT
    m.app AS app,
    m.type AS type,
    if(m.type = 'GROUP', m.a, '') AS group_id,
    if(from_erased, '', m.sender) AS from_user,
    m.recipient AS to_user,
    m.sequence AS sequence,
    m.message_id AS message_id,
    m.message_type AS message_type,
    fromUnixTimestamp64Micro(m.time, 'UTC') AS time,
    multiIf(
        is_recalled, '',
        modified[2] = '1', unescaped(modified[3]),
        modified[1] IN ('', '\xFF'), m.text,
        preview(m.message_type, unescaped(modified[4]))) AS text,
    arrayFilter(u -> (m.app, u) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users), m.mentions) AS mentions,
    m.mentions_all AS mentions_all,
    m.counted AS counted,
    m.shown AS shown,
    toBool(from_erased OR ifNull(e.recalled, 0)) AS is_recalled,
    ifNull(e.modification.version, 0) AS version
FROM convoview_g1.messages AS m FINAL
ALL LEFT JOIN
(
    SELECT app, type, a, b, sequence,
        countIf(edit = 'recall') > 0 AS recalled,
        maxIf(greatest, edit = 'modification') AS modification
    FROM convoview_g1.edits
    GROUP BY app, type, a, b, sequence
) AS e ON e.app = m.app AND e.type = m.type AND e.a = m.a AND e.b = m.b AND e.sequence = m.sequence
ALL LEFT JOIN (SELECT app, max(plan) AS plan FROM convoview_g1.plans GROUP BY app) AS p ON p.app = m.app
WHERE toInt32(m.day) >= multiIf(
        ifNull(p.plan.time, 0) = 0, intDiv(toUnixTimestamp(now()) - 604800, 86400),
        ifNull(p.plan.retention, 0) = 0, 0,
        intDiv(toInt64(toUnixTimestamp(now())) - toInt64(ifNull(p.plan.retention, 0)), 86400))
    AND (m.type = 'GROUP' OR (m.app, m.a) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users) AND (m.app, m.b) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users));

CREATE OR REPLACE VIEW convoview_g1.conversations_view
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'Whose list it is in',
    conversation_id String COMMENT 'The conversation from the user''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    type String COMMENT 'Its kind: C2C, GROUP or SYSTEM',
    unread_count UInt64 COMMENT 'How many messages the user has not read',
    last_time DateTime64(6, 'UTC') COMMENT 'When the last message was sent; 1970-01-01 when the user has cleared it, as all of the last message then is empty',
    last_sequence UInt64 COMMENT 'The sequence of the last message',
    last_from String COMMENT 'Who sent the last message',
    last_text String COMMENT 'The preview of the last message; empty when it is recalled',
    is_pinned Bool COMMENT 'The user has pinned it',
    is_hidden Bool COMMENT 'The user has hidden it, and no newer message came: lists leave it out',
    remind_type String COMMENT 'What the user wants to be told: AcceptAndNotify if never set',
    marks Array(UInt64) COMMENT 'The user''s marks, ascending: 1 star, 2 unread, 3 fold, 4 hide, or an app''s own',
    conversation_groups Array(String) COMMENT 'The user''s conversation groups that it is in, ascending'
)
COMMENT 'Conversations in the lists of users, as the API says now; filter by app and user_id, or it reads them all'
AS
WITH
    members AS
    (
        SELECT app, owner AS user_id, conversation_id
        FROM convoview_g1.registers
        WHERE owner != '' AND register = 'member'
        GROUP BY app, owner, conversation_id
        HAVING splitByChar('\0', max(greatest).value)[1] = 'joined'
    ),
    rows AS
    (
        SELECT app, owner AS user_id, conversation_id, toString(register) AS register, greatest
        FROM convoview_g1.registers
        WHERE owner != '' AND register IN ('head', 'read', 'sent', 'deleted', 'cleared', 'pinned', 'remind_type', 'marks', 'groups', 'member')
        UNION ALL
        SELECT r.app, m.user_id, r.conversation_id, 'head', r.greatest
        FROM convoview_g1.registers AS r
        ALL INNER JOIN members AS m ON m.app = r.app AND m.conversation_id = r.conversation_id
        WHERE r.owner = '' AND r.register = 'head'
        UNION ALL
        SELECT g.app, m.user_id, m.conversation_id, 'profile',
            CAST((0, g.profile.time, g.profile.id, g.profile.value), 'Tuple(sequence UInt64, time Int64, id String, value String)')
        FROM convoview_g1.group_profiles AS g
        ALL INNER JOIN members AS m ON m.app = g.app AND m.conversation_id = concat('GROUP', g.group_id)
    ),
    sets AS
    (
        SELECT app, owner AS user_id, conversation_id, day, kind, sequences
        FROM convoview_g1.sequences
        WHERE owner != '' AND kind != 'mentioning'
        UNION ALL
        SELECT s.app, m.user_id, s.conversation_id, s.day, s.kind, s.sequences
        FROM convoview_g1.sequences AS s
        ALL INNER JOIN members AS m ON m.app = s.app AND m.conversation_id = s.conversation_id
        WHERE s.owner = '' AND s.kind != 'mentioning'
    ),
    t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped, (type, text) -> multiIf(type = 'TIMTextElem', text, type = 'TIMImageElem', '[Image]', type = 'TIMSoundElem', '[Voice]', type = 'TIMVideoFileElem', '[Video]', type = 'TIMFileElem', '[File]', type = 'TIMFaceElem', '[Sticker]', type = 'TIMLocationElem', '[Location]', type = 'TIMCustomElem', '[Custom]', type = 'TIMRelayElem', '[Chat History]', type = 'TIMGroupTipElem', '[Group Tip]', type = 'TIMGroupSystemNoticeElem', '[System Notice]', '[Message]') AS preview,
    v -> arrayFilter(element -> element != '', splitByChar('\0', v)) AS elements,
    multiIf(startsWith(c.conversation_id, 'C2C'), 'C2C', startsWith(c.conversation_id, 'GROUP'), 'GROUP', 'SYSTEM') AS kind,
    if(kind = 'C2C', substring(c.conversation_id, 4), '') AS peer,
    splitByChar('\0', c.head.value) AS message,
    splitByChar('\0', ifNull(e.modification.value, '')) AS modified,
    c.head.sequence <= c.cleared AS is_cleared,
    -- bitmapSubsetInRange looks at 32 bits of a sequence in sets of up to 32 elements. So no
    -- set has so few when it is asked: these are beyond every sequence.
    bitmapBuild(range(9007199254740992, 9007199254741025)) AS beyond,
    (message[2] = '\xFF' OR (c.app, unescaped(message[2])) IN (SELECT app, user_id FROM convoview_g1.erased_users)) AS from_erased
SELECT
    c.app AS app,
    c.user_id AS user_id,
    c.conversation_id AS conversation_id,
    kind AS type,
    if(c.profile[3] IN ('ChatRoom', 'AVChatRoom'), 0, arraySum(
        d -> bitmapCardinality(bitmapSubsetInRange(bitmapOr(bitmapAndnot(d.2, u.recalled), beyond), c.read + 1, toUInt64(9007199254740992))),
        arrayFilter(d -> toInt32(d.1) >= multiIf(
        ifNull(p.plan.time, 0) = 0, intDiv(toUnixTimestamp(now()) - 604800, 86400),
        ifNull(p.plan.retention, 0) = 0, 0,
        intDiv(toInt64(toUnixTimestamp(now())) - toInt64(ifNull(p.plan.retention, 0)), 86400)), u.counted))) AS unread_count,
    fromUnixTimestamp64Micro(if(is_cleared, 0, c.head.time), 'UTC') AS last_time,
    if(is_cleared, 0, c.head.sequence) AS last_sequence,
    if(is_cleared OR from_erased, '', unescaped(message[2])) AS last_from,
    multiIf(
        is_cleared OR from_erased OR bitmapContains(u.recalled, c.head.sequence), '',
        modified[2] = '1', unescaped(modified[3]),
        modified[1] IN ('', '\xFF'), unescaped(message[4]),
        preview(unescaped(message[3]), unescaped(modified[4]))) AS last_text,
    c.pinned = '1' AS is_pinned,
    has(marks, 4) AND c.head.time <= c.marked.time AS is_hidden,
    if(c.remind = '', 'AcceptAndNotify', unescaped(c.remind)) AS remind_type,
    arrayMap(m -> toUInt64(m), elements(c.marked.value)) AS marks,
    arrayMap(g -> unescaped(g), elements(c.grouped)) AS conversation_groups
FROM
(
    SELECT app, user_id, conversation_id,
        maxIf(greatest, register = 'head') AS head,
        maxIf(greatest.sequence, register = 'deleted') AS deleted,
        maxIf(greatest.sequence, register = 'cleared') AS cleared,
        greatest(
            maxIf(greatest.sequence, register IN ('read', 'sent', 'deleted', 'cleared')),
            toUInt64OrZero(splitByChar('\0', maxIf(greatest, register = 'member').value)[4])) AS read,
        maxIf(greatest, register = 'pinned').value AS pinned,
        maxIf(greatest, register = 'remind_type').value AS remind,
        maxIf(greatest, register = 'marks') AS marked,
        maxIf(greatest, register = 'groups').value AS grouped,
        splitByChar('\0', maxIf(greatest, register = 'profile').value) AS profile
    FROM rows
    GROUP BY app, user_id, conversation_id
    HAVING head.sequence > deleted AND profile[4] != '1'
) AS c
ALL LEFT JOIN
(
    SELECT app, user_id, conversation_id,
        groupArray((day, bitmapAndnot(counted, uncounted))) AS counted,
        groupBitmapMergeState(recalled) AS recalled
    FROM
    (
        SELECT app, user_id, conversation_id, day,
            groupBitmapMergeStateIf(sequences, kind = 'counted') AS counted,
            groupBitmapMergeStateIf(sequences, kind = 'uncounted') AS uncounted,
            groupBitmapMergeStateIf(sequences, kind = 'recalled') AS recalled
        FROM sets
        GROUP BY app, user_id, conversation_id, day
    )
    GROUP BY app, user_id, conversation_id
) AS u ON u.app = c.app AND u.user_id = c.user_id AND u.conversation_id = c.conversation_id
ALL LEFT JOIN
(
    SELECT app, type, a, b, sequence, max(greatest) AS modification
    FROM convoview_g1.edits
    WHERE edit = 'modification'
    GROUP BY app, type, a, b, sequence
) AS e ON e.app = c.app AND e.type = kind
    AND e.a = multiIf(kind = 'C2C', least(c.user_id, peer), kind = 'GROUP', substring(c.conversation_id, 6), c.user_id)
    AND e.b = if(kind = 'C2C', greatest(c.user_id, peer), '')
    AND e.sequence = c.head.sequence
ALL LEFT JOIN (SELECT app, max(plan) AS plan FROM convoview_g1.plans GROUP BY app) AS p ON p.app = c.app
WHERE intDiv(c.head.time, 86400000000) >= multiIf(
        ifNull(p.plan.time, 0) = 0, intDiv(toUnixTimestamp(now()) - 604800, 86400),
        ifNull(p.plan.retention, 0) = 0, 0,
        intDiv(toInt64(toUnixTimestamp(now())) - toInt64(ifNull(p.plan.retention, 0)), 86400))
    AND (c.app, c.user_id) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users) AND (c.app, peer) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users);

CREATE OR REPLACE VIEW convoview_g1.reads_view
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'Who has read',
    conversation_id String COMMENT 'What, from the user''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    sequence UInt64 COMMENT 'Everything up to it is read, as the greatest conversationRead says',
    time DateTime64(6, 'UTC') COMMENT 'When that was; of several with this sequence the latest'
)
COMMENT 'How far users have said that they have read'
AS
WITH max(greatest) AS mark
SELECT app, owner AS user_id, conversation_id, mark.sequence AS sequence, fromUnixTimestamp64Micro(mark.time, 'UTC') AS time
FROM convoview_g1.registers
WHERE owner != '' AND register = 'read'
    AND (app, owner) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users)
    AND NOT (startsWith(conversation_id, 'C2C') AND (app, substring(conversation_id, 4)) IN (SELECT app, user_id FROM convoview_g1.erased_users))
GROUP BY app, owner, conversation_id;

CREATE OR REPLACE VIEW convoview_g1.group_members_view
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    user_id String COMMENT 'Who is in it, or was',
    status String COMMENT 'joined, left or kicked',
    role String COMMENT 'Owner, Admin, Member, Custom, or empty',
    name_card String COMMENT 'What the user is called there',
    join_sequence UInt64 COMMENT 'The sequence of the last message before they joined',
    time DateTime64(6, 'UTC') COMMENT 'When that last changed'
)
COMMENT 'Memberships, former ones included'
AS
WITH t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped, splitByChar('\0', max(greatest).value) AS field
SELECT app, substring(conversation_id, 6) AS group_id, owner AS user_id,
    unescaped(field[1]) AS status,
    unescaped(field[2]) AS role,
    unescaped(field[3]) AS name_card,
    toUInt64(field[4]) AS join_sequence,
    fromUnixTimestamp64Micro(max(greatest).time, 'UTC') AS time
FROM convoview_g1.registers
WHERE owner != '' AND register = 'member' AND (app, owner) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users)
GROUP BY app, owner, conversation_id;

CREATE OR REPLACE VIEW convoview_g1.group_profiles_view
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    name String COMMENT 'Its name',
    avatar String COMMENT 'The address of its picture',
    type String COMMENT 'Private, Public, ChatRoom, AVChatRoom, Community, or empty',
    introduction String COMMENT 'What it is about',
    notification String COMMENT 'Its notice',
    owner_id String COMMENT 'Who owns it; empty when they were erased',
    create_time DateTime64(6, 'UTC') COMMENT 'When it was made, as the chat backend says; 1970-01-01: not said; what is before 1900 or after 2299 is shown as the first or the last moment of these',
    member_count UInt64 COMMENT 'How many members it has, as the chat backend says: see group_members for those that are known',
    max_member_count UInt64 COMMENT 'How many it may have',
    mute_all_members Bool COMMENT 'Only some may write',
    join_option String COMMENT 'Who may join',
    invite_option String COMMENT 'Who may invite',
    is_support_topic Bool COMMENT 'The community has topics',
    info_sequence UInt64 COMMENT 'The chat backend''s count of changes',
    group_custom_field Array(Tuple(key String, value String)) COMMENT 'The app''s own fields',
    dismissed Bool COMMENT 'It is no more: nobody lists it',
    time DateTime64(6, 'UTC') COMMENT 'When the profile last changed'
)
COMMENT 'Profiles of groups'
AS
WITH t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped, arrayMap(f -> unescaped(f), splitByChar('\0', max(profile).value)) AS field
SELECT app, group_id,
    field[1] AS name,
    field[2] AS avatar,
    field[3] AS type,
    field[5] AS introduction,
    field[6] AS notification,
    if(field[7] = '\xFF' OR (app, field[7]) IN (SELECT app, user_id FROM convoview_g1.erased_users), '', field[7]) AS owner_id,
    fromUnixTimestamp64Micro(
        greatest(-2208988800000000, least(10413791999999999, reinterpretAsInt64(bitXor(toUInt64(field[8]), toUInt64(9223372036854775808))))),
        'UTC') AS create_time,
    toUInt64(field[9]) AS member_count,
    toUInt64(field[10]) AS max_member_count,
    toBool(field[11] = '1') AS mute_all_members,
    field[12] AS join_option,
    field[13] AS invite_option,
    toBool(field[14] = '1') AS is_support_topic,
    toUInt64(field[15]) AS info_sequence,
    arrayMap(n -> CAST((field[n], field[n + 1]), 'Tuple(key String, value String)'), range(16, length(field), 2)) AS group_custom_field,
    toBool(field[4] = '1') AS dismissed,
    fromUnixTimestamp64Micro(max(profile).time, 'UTC') AS time
FROM convoview_g1.group_profiles
GROUP BY app, group_id;

CREATE OR REPLACE VIEW convoview_g1.user_profiles_view
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user',
    nick String COMMENT 'What they are called',
    avatar String COMMENT 'The address of their picture',
    gender String COMMENT 'Gender_Type_Unknown unless they say',
    birthday UInt32 COMMENT 'As the chat backend counts it, mostly 20001231',
    location String COMMENT 'Where they are',
    self_signature String COMMENT 'What they say of themselves',
    allow_type String COMMENT 'Who may befriend them: AllowType_Type_AllowAny by default',
    language UInt32 COMMENT 'Their language, as the chat backend numbers it',
    message_settings UInt32 COMMENT 'Their settings, as the chat backend numbers them',
    admin_forbid_type String COMMENT 'Whether they may be befriended: AdminForbid_Type_None by default',
    level UInt32 COMMENT 'Their level',
    role UInt32 COMMENT 'Their role',
    profile_custom_field Array(Tuple(key String, value String)) COMMENT 'The app''s own fields',
    time DateTime64(6, 'UTC') COMMENT 'When the profile last changed'
)
COMMENT 'Profiles of users'
AS
WITH t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped, arrayMap(f -> unescaped(f), splitByChar('\0', max(profile).value)) AS field
SELECT app, user_id,
    field[1] AS nick,
    field[2] AS avatar,
    field[3] AS gender,
    toUInt32(field[4]) AS birthday,
    field[5] AS location,
    field[6] AS self_signature,
    field[7] AS allow_type,
    toUInt32(field[8]) AS language,
    toUInt32(field[9]) AS message_settings,
    field[10] AS admin_forbid_type,
    toUInt32(field[11]) AS level,
    toUInt32(field[12]) AS role,
    arrayMap(n -> CAST((field[n], field[n + 1]), 'Tuple(key String, value String)'), range(13, length(field), 2)) AS profile_custom_field,
    fromUnixTimestamp64Micro(max(profile).time, 'UTC') AS time
FROM convoview_g1.user_profiles
WHERE (app, user_id) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users)
GROUP BY app, user_id;

CREATE OR REPLACE VIEW convoview_g1.activity_daily_view
(
    app String COMMENT 'The tenant',
    day Date32 COMMENT 'The UTC day',
    type String COMMENT 'The kind of the conversations: C2C, GROUP or SYSTEM',
    messages UInt64 COMMENT 'How many messages were sent, recalled, expired and erased ones included',
    senders UInt64 COMMENT 'How many users sent them',
    conversations UInt64 COMMENT 'How many conversations they are in'
)
COMMENT 'Messages, senders and conversations by day and type; it outlives the messages'
AS
SELECT app, day, type, sum(m) AS messages, uniqExactMerge(s) AS senders, sum(c) AS conversations
FROM
(
    SELECT app, day, type, slice, uniqExactMerge(messages) AS m, uniqExactMergeState(senders) AS s, uniqExactMerge(conversations) AS c
    FROM convoview_g1.activity
    GROUP BY app, day, type, slice
)
GROUP BY app, day, type;

CREATE OR REPLACE VIEW convoview_g1.activity_user_daily_view
(
    app String COMMENT 'The tenant',
    day Date32 COMMENT 'The UTC day',
    user_id String COMMENT 'Who sent messages',
    messages UInt64 COMMENT 'How many they sent, recalled and expired ones included',
    conversations UInt64 COMMENT 'How many conversations they sent them to'
)
COMMENT 'Sent messages and their conversations by day and user; it outlives the messages, but not the user'
AS
SELECT app, day, user_id, uniqExactMerge(a.messages) AS messages, uniqExactMerge(a.conversations) AS conversations
FROM convoview_g1.activity_users AS a
WHERE (app, user_id) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users)
GROUP BY app, day, user_id;

CREATE OR REPLACE VIEW convoview.messages
(
    app String COMMENT 'The tenant',
    type String COMMENT 'The kind of the conversation: C2C, GROUP or SYSTEM',
    group_id String COMMENT 'The group that it was sent to; empty outside groups',
    from_user String COMMENT 'Who sent it; empty when they were erased, or when SYSTEM names nobody',
    to_user String COMMENT 'Whom it was sent to; empty in groups',
    sequence UInt64 COMMENT 'Its place in the conversation',
    message_id String COMMENT 'The chat backend''s name of it',
    message_type String COMMENT 'What it is, such as TIMTextElem',
    time DateTime64(6, 'UTC') COMMENT 'When it was sent',
    text String COMMENT 'The preview as a list would show it, modified if it was; empty when it is recalled',
    mentions Array(String) COMMENT 'The users whom it mentions, ascending; without those who were erased',
    mentions_all Bool COMMENT 'It mentions everyone',
    counted Bool COMMENT 'It counts as unread: it is neither onlineOnly nor excludedFromUnreadCount',
    shown Bool COMMENT 'Lists may show it as the last one: it is neither onlineOnly nor excludedFromLastMessage',
    is_recalled Bool COMMENT 'It was recalled, or its sender was erased',
    version UInt64 COMMENT 'The version of its modification; 0: it was never modified'
)
SQL SECURITY DEFINER
COMMENT 'Messages that are not expired, one row each'
AS
SELECT app, type, group_id, from_user, to_user, sequence, message_id, message_type, time, text, mentions, mentions_all, counted, shown, is_recalled, version
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^messages_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.conversations
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'Whose list it is in',
    conversation_id String COMMENT 'The conversation from the user''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    type String COMMENT 'Its kind: C2C, GROUP or SYSTEM',
    unread_count UInt64 COMMENT 'How many messages the user has not read',
    last_time DateTime64(6, 'UTC') COMMENT 'When the last message was sent; 1970-01-01 when the user has cleared it, as all of the last message then is empty',
    last_sequence UInt64 COMMENT 'The sequence of the last message',
    last_from String COMMENT 'Who sent the last message',
    last_text String COMMENT 'The preview of the last message; empty when it is recalled',
    is_pinned Bool COMMENT 'The user has pinned it',
    is_hidden Bool COMMENT 'The user has hidden it, and no newer message came: lists leave it out',
    remind_type String COMMENT 'What the user wants to be told: AcceptAndNotify if never set',
    marks Array(UInt64) COMMENT 'The user''s marks, ascending: 1 star, 2 unread, 3 fold, 4 hide, or an app''s own',
    conversation_groups Array(String) COMMENT 'The user''s conversation groups that it is in, ascending'
)
SQL SECURITY DEFINER
COMMENT 'Conversations in the lists of users, as the API says now; filter by app and user_id, or it reads them all'
AS
SELECT app, user_id, conversation_id, type, unread_count, last_time, last_sequence, last_from, last_text, is_pinned, is_hidden, remind_type, marks, conversation_groups
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^conversations_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.reads
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'Who has read',
    conversation_id String COMMENT 'What, from the user''s point of view: C2C<peer>, GROUP<group> or @TIM#SYSTEM',
    sequence UInt64 COMMENT 'Everything up to it is read, as the greatest conversationRead says',
    time DateTime64(6, 'UTC') COMMENT 'When that was; of several with this sequence the latest'
)
SQL SECURITY DEFINER
COMMENT 'How far users have said that they have read'
AS
SELECT app, user_id, conversation_id, sequence, time
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^reads_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.group_members
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    user_id String COMMENT 'Who is in it, or was',
    status String COMMENT 'joined, left or kicked',
    role String COMMENT 'Owner, Admin, Member, Custom, or empty',
    name_card String COMMENT 'What the user is called there',
    join_sequence UInt64 COMMENT 'The sequence of the last message before they joined',
    time DateTime64(6, 'UTC') COMMENT 'When that last changed'
)
SQL SECURITY DEFINER
COMMENT 'Memberships, former ones included'
AS
SELECT app, group_id, user_id, status, role, name_card, join_sequence, time
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^group_members_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.group_profiles
(
    app String COMMENT 'The tenant',
    group_id String COMMENT 'The group',
    name String COMMENT 'Its name',
    avatar String COMMENT 'The address of its picture',
    type String COMMENT 'Private, Public, ChatRoom, AVChatRoom, Community, or empty',
    introduction String COMMENT 'What it is about',
    notification String COMMENT 'Its notice',
    owner_id String COMMENT 'Who owns it; empty when they were erased',
    create_time DateTime64(6, 'UTC') COMMENT 'When it was made, as the chat backend says; 1970-01-01: not said; what is before 1900 or after 2299 is shown as the first or the last moment of these',
    member_count UInt64 COMMENT 'How many members it has, as the chat backend says: see group_members for those that are known',
    max_member_count UInt64 COMMENT 'How many it may have',
    mute_all_members Bool COMMENT 'Only some may write',
    join_option String COMMENT 'Who may join',
    invite_option String COMMENT 'Who may invite',
    is_support_topic Bool COMMENT 'The community has topics',
    info_sequence UInt64 COMMENT 'The chat backend''s count of changes',
    group_custom_field Array(Tuple(key String, value String)) COMMENT 'The app''s own fields',
    dismissed Bool COMMENT 'It is no more: nobody lists it',
    time DateTime64(6, 'UTC') COMMENT 'When the profile last changed'
)
SQL SECURITY DEFINER
COMMENT 'Profiles of groups'
AS
SELECT app, group_id, name, avatar, type, introduction, notification, owner_id, create_time, member_count, max_member_count, mute_all_members, join_option, invite_option, is_support_topic, info_sequence, group_custom_field, dismissed, time
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^group_profiles_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.user_profiles
(
    app String COMMENT 'The tenant',
    user_id String COMMENT 'The user',
    nick String COMMENT 'What they are called',
    avatar String COMMENT 'The address of their picture',
    gender String COMMENT 'Gender_Type_Unknown unless they say',
    birthday UInt32 COMMENT 'As the chat backend counts it, mostly 20001231',
    location String COMMENT 'Where they are',
    self_signature String COMMENT 'What they say of themselves',
    allow_type String COMMENT 'Who may befriend them: AllowType_Type_AllowAny by default',
    language UInt32 COMMENT 'Their language, as the chat backend numbers it',
    message_settings UInt32 COMMENT 'Their settings, as the chat backend numbers them',
    admin_forbid_type String COMMENT 'Whether they may be befriended: AdminForbid_Type_None by default',
    level UInt32 COMMENT 'Their level',
    role UInt32 COMMENT 'Their role',
    profile_custom_field Array(Tuple(key String, value String)) COMMENT 'The app''s own fields',
    time DateTime64(6, 'UTC') COMMENT 'When the profile last changed'
)
SQL SECURITY DEFINER
COMMENT 'Profiles of users'
AS
SELECT app, user_id, nick, avatar, gender, birthday, location, self_signature, allow_type, language, message_settings, admin_forbid_type, level, role, profile_custom_field, time
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^user_profiles_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.activity_daily
(
    app String COMMENT 'The tenant',
    day Date32 COMMENT 'The UTC day',
    type String COMMENT 'The kind of the conversations: C2C, GROUP or SYSTEM',
    messages UInt64 COMMENT 'How many messages were sent, recalled, expired and erased ones included',
    senders UInt64 COMMENT 'How many users sent them',
    conversations UInt64 COMMENT 'How many conversations they are in'
)
SQL SECURITY DEFINER
COMMENT 'Messages, senders and conversations by day and type; it outlives the messages'
AS
SELECT app, day, type, messages, senders, conversations
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^activity_daily_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE OR REPLACE VIEW convoview.activity_user_daily
(
    app String COMMENT 'The tenant',
    day Date32 COMMENT 'The UTC day',
    user_id String COMMENT 'Who sent messages',
    messages UInt64 COMMENT 'How many they sent, recalled and expired ones included',
    conversations UInt64 COMMENT 'How many conversations they sent them to'
)
SQL SECURITY DEFINER
COMMENT 'Sent messages and their conversations by day and user; it outlives the messages, but not the user'
AS
SELECT app, day, user_id, messages, conversations
FROM merge(REGEXP('^convoview_g[0-9]+$'), '^activity_user_daily_view$')
WHERE _database =
(
    SELECT concat('convoview_g', argMax(JSONExtractString(comment, 'generation'), toUInt64(substring(name, 8))))
    FROM system.tables
    WHERE database = 'convoview' AND match(name, '^switch_[0-9]+$')
);

CREATE ROLE IF NOT EXISTS projector;

GRANT SELECT, INSERT, ALTER UPDATE, ALTER DELETE ON convoview_g*.* TO projector;

GRANT SELECT ON convoview.generations, SELECT, INSERT ON convoview.coverage, SELECT ON convoview.left_out, SELECT, INSERT ON convoview.sweeps, SHOW TABLES ON convoview.* TO projector;

GRANT SELECT ON system.parts, SELECT ON system.mutations TO projector;

CREATE ROLE IF NOT EXISTS query;

GRANT SELECT ON convoview_g*.* TO query;

GRANT SELECT ON convoview.generations, SELECT ON convoview.left_out, SHOW TABLES ON convoview.* TO query;

CREATE ROLE IF NOT EXISTS operator;

GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP DATABASE, DROP TABLE, DROP VIEW ON convoview_g*.* TO operator;

GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP VIEW ON convoview.*, DROP TABLE ON convoview._tmp_replace_* TO operator;

GRANT CREATE DATABASE, CREATE TABLE, SHOW TABLES ON convoview.* TO operator;

GRANT TABLE ENGINE ON Null, TABLE ENGINE ON AggregatingMergeTree, TABLE ENGINE ON ReplacingMergeTree TO operator;

GRANT SELECT ON system.parts TO operator;

CREATE ROLE IF NOT EXISTS analyst;

GRANT SELECT ON convoview.messages, SELECT ON convoview.conversations, SELECT ON convoview.reads, SELECT ON convoview.group_members, SELECT ON convoview.group_profiles, SELECT ON convoview.user_profiles, SELECT ON convoview.activity_daily, SELECT ON convoview.activity_user_daily TO analyst;

ALTER TABLE convoview_g1.registers DELETE WHERE ((app, owner) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR startsWith(conversation_id, 'C2C') AND (app, substring(conversation_id, 4)) IN (SELECT app, user_id FROM convoview_g1.erased_users)), UPDATE greatest = (greatest.sequence, greatest.time, greatest.id, multiIf(register = 'head', concat(splitByChar('\0', greatest.value)[1], '\0\xFF\0', splitByChar('\0', greatest.value)[3], '\0\0\0\0\0\0', '0000000000', '\0\0'), concat(arrayStringConcat(arraySlice(splitByChar('\0', greatest.value), 1, 5), '\0'), '\0\xFF'))) WHERE (register = 'head' AND (app, splitByChar('\0', greatest.value)[2]) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR register = 'member' AND (app, splitByChar('\0', greatest.value)[6]) IN (SELECT app, user_id FROM convoview_g1.erased_users));

ALTER TABLE convoview_g1.sequences DELETE WHERE ((app, owner) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR startsWith(conversation_id, 'C2C') AND (app, substring(conversation_id, 4)) IN (SELECT app, user_id FROM convoview_g1.erased_users));

ALTER TABLE convoview_g1.edits DELETE WHERE (type IN ('C2C', 'SYSTEM') AND (app, a) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR type = 'C2C' AND (app, b) IN (SELECT app, user_id FROM convoview_g1.erased_users)), UPDATE greatest = (greatest.version, greatest.time, greatest.id, multiIf(edit = 'modification' AND ((app, type, a, b, sequence) IN (
		SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (app, type, a, b, sequence) IN (
			SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))
		GROUP BY app, type, a, b, sequence HAVING min((sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))) OR cityHash64(app, type, a, b, sequence) IN (7)), '\xFF\0' || '0\0\0\0' || '0\0\0', edit = 'modification', concat(arrayStringConcat(arraySlice(splitByChar('\0', greatest.value), 1, 6), '\0'), '\0\xFF'), (app, type, a, b, sequence) IN (
		SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (app, type, a, b, sequence) IN (
			SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))
		GROUP BY app, type, a, b, sequence HAVING min((sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))), '\xFF\0', concat('\xFF\0', splitByChar('\0', greatest.value)[2]))) WHERE (edit = 'recall' AND (app, splitByChar('\0', greatest.value)[1]) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR edit = 'modification' AND (app, splitByChar('\0', greatest.value)[7]) IN (SELECT app, user_id FROM convoview_g1.erased_users) AND cityHash64(app, type, a, b, sequence) IN (7, 8) OR greatest.value != if(edit = 'recall', '\xFF\0', '\xFF\0' || '0\0\0\0' || '0\0\0') AND (app, type, a, b, sequence) IN (
		SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (app, type, a, b, sequence) IN (
			SELECT app, type, a, b, sequence FROM convoview_g1.messages WHERE type != 'C2C' AND (sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))
		GROUP BY app, type, a, b, sequence HAVING min((sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users)))));

ALTER TABLE convoview_g1.messages DELETE WHERE (type IN ('C2C', 'SYSTEM') AND (app, a) IN (SELECT app, user_id FROM convoview_g1.erased_users) OR type = 'C2C' AND (app, b) IN (SELECT app, user_id FROM convoview_g1.erased_users)), UPDATE text = '' WHERE (text != '' AND (sender = '\xFF' OR (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users))), UPDATE mentions = arrayFilter(u -> (app, u) NOT IN (SELECT app, user_id FROM convoview_g1.erased_users), mentions) WHERE arrayExists(u -> (app, u) IN (SELECT app, user_id FROM convoview_g1.erased_users), mentions), UPDATE sender = '\xFF' WHERE (app, sender) IN (SELECT app, user_id FROM convoview_g1.erased_users);

ALTER TABLE convoview_g1.activity_users DELETE WHERE (app, user_id) IN (SELECT app, user_id FROM convoview_g1.erased_users);

ALTER TABLE convoview_g1.user_profiles DELETE WHERE (app, user_id) IN (SELECT app, user_id FROM convoview_g1.erased_users);

ALTER TABLE convoview_g1.group_profiles UPDATE profile = (profile.time, profile.id, concat(arrayStringConcat(arraySlice(splitByChar('\0', profile.value), 1, 6), '\0'), '\0\xFF\0', arrayStringConcat(arraySlice(splitByChar('\0', profile.value), 8), '\0'))) WHERE (app, splitByChar('\0', profile.value)[7]) IN (SELECT app, user_id FROM convoview_g1.erased_users);

ALTER TABLE convoview_g1.messages DELETE WHERE (type = 'C2C' AND app IN ('demo') AND toInt64(toInt32(day)) < transform(app, ['demo'], [toInt64(11560)], toInt64(0)));

ALTER TABLE convoview_g1.sequences DELETE WHERE (day != '1970-01-01' AND app IN ('demo') AND toInt64(toInt32(day)) < transform(app, ['demo'], [toInt64(11560)], toInt64(0)));

DROP DATABASE IF EXISTS convoview_g1 SYNC;
