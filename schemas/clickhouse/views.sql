-- What analysts read, of one generation: {db} is the generation's database. They read each
-- of these views through one of its name without _view in the registry's database, which
-- shows that of the generation that is read (view.sql).
--
-- Partial rows are merged; expired messages are left out, and so is what was erased,
-- whether it is still there or has been swept, and \xFF stands in its place.
-- What several of them need is written once, in Go (internal/readmodel/views.go): {erased},
-- the users who were erased; {first_day}, the first UTC day whose messages are not expired,
-- by the plan p.plan; unescaped(field), the text of a field; preview(type, text), what a
-- message shows that nobody gave a preview.
--
-- A filter on columns of a key reaches the tables through everything below. So what a
-- group's members share is joined to each of them before rows are merged, not after it.
--
-- What readers have set goes into views. So joins say ALL, times say UTC, and what a
-- LEFT JOIN does not find may be null. Nothing is set here: readers with readonly may not.

CREATE OR REPLACE VIEW {db}.messages_view
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
    {unescaped}, {preview},
    (m.sender = '\xFF' OR (m.app, m.sender) IN {erased}) AS from_erased,
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
    arrayFilter(u -> (m.app, u) NOT IN {erased}, m.mentions) AS mentions,
    m.mentions_all AS mentions_all,
    m.counted AS counted,
    m.shown AS shown,
    toBool(from_erased OR ifNull(e.recalled, 0)) AS is_recalled,
    ifNull(e.modification.version, 0) AS version
FROM {db}.messages AS m FINAL
ALL LEFT JOIN
(
    SELECT app, type, a, b, sequence,
        countIf(edit = 'recall') > 0 AS recalled,
        maxIf(greatest, edit = 'modification') AS modification
    FROM {db}.edits
    GROUP BY app, type, a, b, sequence
) AS e ON e.app = m.app AND e.type = m.type AND e.a = m.a AND e.b = m.b AND e.sequence = m.sequence
ALL LEFT JOIN (SELECT app, max(plan) AS plan FROM {db}.plans GROUP BY app) AS p ON p.app = m.app
WHERE toInt32(m.day) >= {first_day}
    AND (m.type = 'GROUP' OR (m.app, m.a) NOT IN {erased} AND (m.app, m.b) NOT IN {erased});

CREATE OR REPLACE VIEW {db}.conversations_view
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
        FROM {db}.registers
        WHERE owner != '' AND register = 'member'
        GROUP BY app, owner, conversation_id
        HAVING splitByChar('\0', max(greatest).value)[1] = 'joined'
    ),
    rows AS
    (
        SELECT app, owner AS user_id, conversation_id, toString(register) AS register, greatest
        FROM {db}.registers
        WHERE owner != '' AND register IN ('head', 'read', 'sent', 'deleted', 'cleared', 'pinned', 'remind_type', 'marks', 'groups', 'member')
        UNION ALL
        SELECT r.app, m.user_id, r.conversation_id, 'head', r.greatest
        FROM {db}.registers AS r
        ALL INNER JOIN members AS m ON m.app = r.app AND m.conversation_id = r.conversation_id
        WHERE r.owner = '' AND r.register = 'head'
        UNION ALL
        SELECT g.app, m.user_id, m.conversation_id, 'profile',
            CAST((0, g.profile.time, g.profile.id, g.profile.value), 'Tuple(sequence UInt64, time Int64, id String, value String)')
        FROM {db}.group_profiles AS g
        ALL INNER JOIN members AS m ON m.app = g.app AND m.conversation_id = concat('GROUP', g.group_id)
    ),
    sets AS
    (
        SELECT app, owner AS user_id, conversation_id, day, kind, sequences
        FROM {db}.sequences
        WHERE owner != '' AND kind != 'mentioning'
        UNION ALL
        SELECT s.app, m.user_id, s.conversation_id, s.day, s.kind, s.sequences
        FROM {db}.sequences AS s
        ALL INNER JOIN members AS m ON m.app = s.app AND m.conversation_id = s.conversation_id
        WHERE s.owner = '' AND s.kind != 'mentioning'
    ),
    {unescaped}, {preview},
    v -> arrayFilter(element -> element != '', splitByChar('\0', v)) AS elements,
    multiIf(startsWith(c.conversation_id, 'C2C'), 'C2C', startsWith(c.conversation_id, 'GROUP'), 'GROUP', 'SYSTEM') AS kind,
    if(kind = 'C2C', substring(c.conversation_id, 4), '') AS peer,
    splitByChar('\0', c.head.value) AS message,
    splitByChar('\0', ifNull(e.modification.value, '')) AS modified,
    c.head.sequence <= c.cleared AS is_cleared,
    -- bitmapSubsetInRange looks at 32 bits of a sequence in sets of up to 32 elements. So no
    -- set has so few when it is asked: these are beyond every sequence.
    bitmapBuild(range(9007199254740992, 9007199254741025)) AS beyond,
    (message[2] = '\xFF' OR (c.app, unescaped(message[2])) IN {erased}) AS from_erased
SELECT
    c.app AS app,
    c.user_id AS user_id,
    c.conversation_id AS conversation_id,
    kind AS type,
    if(c.profile[3] IN ('ChatRoom', 'AVChatRoom'), 0, arraySum(
        d -> bitmapCardinality(bitmapSubsetInRange(bitmapOr(bitmapAndnot(d.2, u.recalled), beyond), c.read + 1, toUInt64(9007199254740992))),
        arrayFilter(d -> toInt32(d.1) >= {first_day}, u.counted))) AS unread_count,
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
    FROM {db}.edits
    WHERE edit = 'modification'
    GROUP BY app, type, a, b, sequence
) AS e ON e.app = c.app AND e.type = kind
    AND e.a = multiIf(kind = 'C2C', least(c.user_id, peer), kind = 'GROUP', substring(c.conversation_id, 6), c.user_id)
    AND e.b = if(kind = 'C2C', greatest(c.user_id, peer), '')
    AND e.sequence = c.head.sequence
ALL LEFT JOIN (SELECT app, max(plan) AS plan FROM {db}.plans GROUP BY app) AS p ON p.app = c.app
WHERE intDiv(c.head.time, 86400000000) >= {first_day}
    AND (c.app, c.user_id) NOT IN {erased} AND (c.app, peer) NOT IN {erased};

CREATE OR REPLACE VIEW {db}.reads_view
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
FROM {db}.registers
WHERE owner != '' AND register = 'read'
    AND (app, owner) NOT IN {erased}
    AND NOT (startsWith(conversation_id, 'C2C') AND (app, substring(conversation_id, 4)) IN {erased})
GROUP BY app, owner, conversation_id;

CREATE OR REPLACE VIEW {db}.group_members_view
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
WITH {unescaped}, splitByChar('\0', max(greatest).value) AS field
SELECT app, substring(conversation_id, 6) AS group_id, owner AS user_id,
    unescaped(field[1]) AS status,
    unescaped(field[2]) AS role,
    unescaped(field[3]) AS name_card,
    toUInt64(field[4]) AS join_sequence,
    fromUnixTimestamp64Micro(max(greatest).time, 'UTC') AS time
FROM {db}.registers
WHERE owner != '' AND register = 'member' AND (app, owner) NOT IN {erased}
GROUP BY app, owner, conversation_id;

CREATE OR REPLACE VIEW {db}.group_profiles_view
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
WITH {unescaped}, arrayMap(f -> unescaped(f), splitByChar('\0', max(profile).value)) AS field
SELECT app, group_id,
    field[1] AS name,
    field[2] AS avatar,
    field[3] AS type,
    field[5] AS introduction,
    field[6] AS notification,
    if(field[7] = '\xFF' OR (app, field[7]) IN {erased}, '', field[7]) AS owner_id,
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
FROM {db}.group_profiles
GROUP BY app, group_id;

CREATE OR REPLACE VIEW {db}.user_profiles_view
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
WITH {unescaped}, arrayMap(f -> unescaped(f), splitByChar('\0', max(profile).value)) AS field
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
FROM {db}.user_profiles
WHERE (app, user_id) NOT IN {erased}
GROUP BY app, user_id;

CREATE OR REPLACE VIEW {db}.activity_daily_view
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
    FROM {db}.activity
    GROUP BY app, day, type, slice
)
GROUP BY app, day, type;

CREATE OR REPLACE VIEW {db}.activity_user_daily_view
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
FROM {db}.activity_users AS a
WHERE (app, user_id) NOT IN {erased}
GROUP BY app, day, user_id
