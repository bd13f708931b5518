-- The topics in JSON; see reference_protobuf.sql.

CREATE TABLE {db}.reference_messages_queue
(
    id String, app String, time DateTime64(6, 'UTC'),
    messageSent Tuple(`from` String, `to` String, groupID String, messageID String, sequence UInt64, type String,
        payload String, messageForShow String, nick String, avatar String, nameCard String, atUserList Array(String))
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{messages}', kafka_group_name = '{messages_group}', {tuning},
    kafka_format = 'JSONEachRow', date_time_input_format = 'best_effort';

CREATE MATERIALIZED VIEW {db}.reference_messages_read TO {db}.reference_messages AS
SELECT app, id, toUnixTimestamp64Micro(queue.time) AS time, toDate32(queue.time) AS day, messageSent.sequence AS sequence,
    messageSent.from AS sender, messageSent.to AS recipient, messageSent.groupID AS group_id,
    messageSent.messageID AS message_id, messageSent.type AS message_type, messageSent.messageForShow AS text,
    arraySort(messageSent.atUserList) AS mentions,
    concat(messageSent.messageID, '\0', messageSent.from, '\0', messageSent.type, '\0', messageSent.messageForShow, '\0',
        messageSent.nick, '\0', messageSent.avatar, '\0', messageSent.nameCard, '\0\0',
        leftPad(toString(length(messageSent.payload)), 10, '0'), '\0', messageSent.payload, '\0') AS head
FROM {db}.reference_messages_queue AS queue;

CREATE TABLE {db}.reference_state_queue
(
    id String, app String, time DateTime64(6, 'UTC'),
    conversationRead Tuple(userID String, conversationID String, sequence UInt64),
    conversationPinned Tuple(userID String, conversationID String, isPinned Bool),
    conversationDraftSet Tuple(userID String, conversationID String, draftText String),
    groupMemberChanged Tuple(groupID String, userID String, status String, role String, joinSequence UInt64, joinTime DateTime64(6, 'UTC'))
)
ENGINE = Kafka
SETTINGS kafka_broker_list = '{broker}', kafka_topic_list = '{state}', kafka_group_name = '{state_group}', {tuning},
    kafka_format = 'JSONEachRow', date_time_input_format = 'best_effort';

CREATE MATERIALIZED VIEW {db}.reference_state_read TO {db}.reference_state AS
SELECT app, id, toUnixTimestamp64Micro(queue.time) AS time,
    concat(conversationRead.userID, conversationPinned.userID, conversationDraftSet.userID, groupMemberChanged.userID) AS user_id,
    if(groupMemberChanged.groupID != '', concat('GROUP', groupMemberChanged.groupID),
        concat(conversationRead.conversationID, conversationPinned.conversationID, conversationDraftSet.conversationID)) AS conversation,
    multiIf(conversationRead.userID != '', 'read', conversationPinned.userID != '', 'pinned', conversationDraftSet.userID != '', 'draft', 'member') AS kind,
    conversationRead.sequence AS sequence,
    multiIf(kind = 'pinned', if(conversationPinned.isPinned, '1', '0'), kind = 'draft', conversationDraftSet.draftText, kind = 'member',
        concat(groupMemberChanged.status, '\0', groupMemberChanged.role, '\0\0', leftPad(toString(groupMemberChanged.joinSequence), 20, '0'), '\0',
            leftPad(toString(bitXor(toUInt64(toUnixTimestamp64Micro(groupMemberChanged.joinTime)), 9223372036854775808)), 20, '0'), '\0'),
        '') AS value
FROM {db}.reference_state_queue AS queue;
