-- The read model filled by ClickHouse itself: its Kafka engine reads the topics of the
-- traffic, and materialized views make of it the rows that our projector makes. {db} is
-- the database of the generation's tables. It does what the traffic needs and no more: no
-- flags, no other events, no escapes, no two messages with one sequence.
--
-- This part is the same for both encodings. What all views need of a message is made
-- once and passes through a Null table.
CREATE TABLE {db}.reference_messages
(
    app String, id String, time Int64, day Date32, sequence UInt64,
    sender String, recipient String, group_id String,
    message_id String, message_type String, text String, mentions Array(String), head String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW {db}.reference_groups TO {db}.registers AS
SELECT app, '' AS owner, conversation_id, made.1 AS register, made.2 AS greatest
FROM
(
    SELECT app, concat('GROUP', group_id) AS conversation_id, max(sequence) AS last,
        argMax(time, sequence) AS last_time, argMax(id, sequence) AS last_id, argMax(head, sequence) AS last_head
    FROM {db}.reference_messages
    WHERE group_id != ''
    GROUP BY app, group_id
)
ARRAY JOIN [('head', (last, last_time, last_id, last_head)), ('last_sequence', (last, 0, '', ''))] AS made;

CREATE MATERIALIZED VIEW {db}.reference_members TO {db}.registers AS
SELECT app, sender AS owner, concat('GROUP', group_id) AS conversation_id, 'sent' AS register, (max(sequence), 0, '', '') AS greatest
FROM {db}.reference_messages
WHERE group_id != ''
GROUP BY app, sender, group_id;

CREATE MATERIALIZED VIEW {db}.reference_pairs TO {db}.registers AS
SELECT app, made.1 AS owner, made.2 AS conversation_id, made.3 AS register, made.4 AS greatest
FROM {db}.reference_messages
ARRAY JOIN [
    (sender, concat('C2C', recipient), 'head', (sequence, time, id, head)),
    (recipient, concat('C2C', sender), 'head', (sequence, time, id, head)),
    (sender, concat('C2C', recipient), 'sent', (sequence, 0, '', '')),
    (recipient, concat('C2C', sender), 'peer_sent', (sequence, 0, '', ''))] AS made
WHERE recipient != '';

CREATE MATERIALIZED VIEW {db}.reference_group_sequences TO {db}.sequences AS
SELECT app, '' AS owner, concat('GROUP', group_id) AS conversation_id, day, 'counted' AS kind, groupBitmapState(sequence) AS sequences
FROM {db}.reference_messages
WHERE group_id != ''
GROUP BY app, group_id, day;

CREATE MATERIALIZED VIEW {db}.reference_pair_sequences TO {db}.sequences AS
SELECT app, made.1 AS owner, made.2 AS conversation_id, day, 'counted' AS kind, bitmapBuild(made.3) AS sequences
FROM {db}.reference_messages
ARRAY JOIN [(recipient, concat('C2C', sender), [sequence]), (sender, concat('C2C', recipient), emptyArrayUInt64())] AS made
WHERE recipient != '';

CREATE MATERIALIZED VIEW {db}.reference_mentions TO {db}.sequences AS
SELECT app, owner, concat('GROUP', group_id) AS conversation_id, day, 'mentioning' AS kind, groupBitmapState(sequence) AS sequences
FROM {db}.reference_messages
ARRAY JOIN mentions AS owner
GROUP BY app, owner, group_id, day;

CREATE MATERIALIZED VIEW {db}.reference_all TO {db}.messages AS
SELECT app, if(group_id != '', 'GROUP', 'C2C') AS type,
    if(group_id != '', group_id, least(sender, recipient)) AS a, if(group_id != '', '', greatest(sender, recipient)) AS b,
    day, sequence, time, id, sender, recipient, message_id, message_type, text, mentions,
    false AS mentions_all, true AS counted, true AS shown
FROM {db}.reference_messages;

CREATE TABLE {db}.reference_state
(
    app String, id String, time Int64, user_id String, conversation String,
    kind Enum8('read' = 5, 'pinned' = 11, 'draft' = 16, 'member' = 18), sequence UInt64, value String
)
ENGINE = Null;

CREATE MATERIALIZED VIEW {db}.reference_own TO {db}.registers AS
SELECT app, made.1 AS owner, made.2 AS conversation_id, made.3 AS register, made.4 AS greatest
FROM {db}.reference_state
ARRAY JOIN [
    (user_id, conversation, toString(kind), (sequence, time, if(kind = 'read', '', id), value)),
    (if(kind = 'member', '', user_id), conversation, 'known', (0, 0, '', '')),
    (if(kind = 'read' AND startsWith(conversation, 'C2C'), substring(conversation, 4), ''), concat('C2C', user_id), 'peer_read',
        (sequence, time, '', ''))] AS made
WHERE made.1 != '';
