-- The topics in Protobuf: {messages} and {state} of {broker}, in groups of these names,
-- with {tuning}. {schema} is the file of reference.proto. A nested message is columns of
-- its own, which reads faster than a tuple; all of one that is not there are empty.

CREATE TABLE {db}.reference_messages_queue
(
    id String, app String, `time.seconds` Int64, `time.nanos` Int32,
    `message_sent.from` String, `message_sent.to` String, `message_sent.group_id` String,
    `message_sent.message_id` String, `message_sent.sequence` UInt64, `message_sent.type` String,
    `message_sent.payload` String, `message_sent.message_for_show` String, `message_sent.nick` String,
    `message_sent.avatar` String, `message_sent.name_card` String, `message_sent.at_user_list` Array(String)
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{messages}', kafka_group_name = '{messages_group}', {tuning},
    kafka_format = 'ProtobufSingle', kafka_schema = '{schema}:Event';

CREATE MATERIALIZED VIEW {db}.reference_messages_read TO {db}.reference_messages AS
SELECT app, id, `time.seconds` * 1000000 + intDiv(`time.nanos`, 1000) AS time, toDate32(intDiv(`time.seconds`, 86400)) AS day,
    `message_sent.sequence` AS sequence,
    `message_sent.from` AS sender, `message_sent.to` AS recipient, `message_sent.group_id` AS group_id,
    `message_sent.message_id` AS message_id, `message_sent.type` AS message_type, `message_sent.message_for_show` AS text,
    arraySort(`message_sent.at_user_list`) AS mentions,
    concat(`message_sent.message_id`, '\0', `message_sent.from`, '\0', `message_sent.type`, '\0', `message_sent.message_for_show`, '\0',
        `message_sent.nick`, '\0', `message_sent.avatar`, '\0', `message_sent.name_card`, '\0\0',
        leftPad(toString(length(`message_sent.payload`)), 10, '0'), '\0', `message_sent.payload`, '\0') AS head
FROM {db}.reference_messages_queue;

CREATE TABLE {db}.reference_state_queue
(
    id String, app String, `time.seconds` Int64, `time.nanos` Int32,
    `conversation_read.user_id` String, `conversation_read.conversation_id` String, `conversation_read.sequence` UInt64,
    `conversation_pinned.user_id` String, `conversation_pinned.conversation_id` String, `conversation_pinned.is_pinned` UInt8,
    `conversation_draft_set.user_id` String, `conversation_draft_set.conversation_id` String, `conversation_draft_set.draft_text` String,
    `group_member_changed.group_id` String, `group_member_changed.user_id` String, `group_member_changed.status` String,
    `group_member_changed.role` String, `group_member_changed.join_sequence` UInt64,
    `group_member_changed.join_time.seconds` Int64, `group_member_changed.join_time.nanos` Int32
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{state}', kafka_group_name = '{state_group}', {tuning},
    kafka_format = 'ProtobufSingle', kafka_schema = '{schema}:Event';

CREATE MATERIALIZED VIEW {db}.reference_state_read TO {db}.reference_state AS
SELECT app, id, `time.seconds` * 1000000 + intDiv(`time.nanos`, 1000) AS time,
    concat(`conversation_read.user_id`, `conversation_pinned.user_id`, `conversation_draft_set.user_id`, `group_member_changed.user_id`) AS user_id,
    if(`group_member_changed.group_id` != '', concat('GROUP', `group_member_changed.group_id`),
        concat(`conversation_read.conversation_id`, `conversation_pinned.conversation_id`, `conversation_draft_set.conversation_id`)) AS conversation,
    multiIf(`conversation_read.user_id` != '', 'read', `conversation_pinned.user_id` != '', 'pinned', `conversation_draft_set.user_id` != '', 'draft', 'member') AS kind,
    `conversation_read.sequence` AS sequence,
    multiIf(kind = 'pinned', toString(`conversation_pinned.is_pinned`), kind = 'draft', `conversation_draft_set.draft_text`, kind = 'member',
        concat(`group_member_changed.status`, '\0', `group_member_changed.role`, '\0\0', leftPad(toString(`group_member_changed.join_sequence`), 20, '0'), '\0',
            leftPad(toString(bitXor(toUInt64(`group_member_changed.join_time.seconds` * 1000000 + intDiv(`group_member_changed.join_time.nanos`, 1000)), 9223372036854775808)), 20, '0'), '\0'),
        '') AS value
FROM {db}.reference_state_queue;
