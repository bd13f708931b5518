#!/bin/sh
# Makes the topics of convoview where they are missing, and sets what they must be like.
# Needs Kafka's own commands, BOOTSTRAP_SERVER, PARTITIONS and REPLICATION_FACTOR.
# Partitions are only ever added to: PARTITIONS says how many a new topic gets.
set -eu

topic() {
	name=$1 config=$2
	kafka-topics.sh --bootstrap-server "$BOOTSTRAP_SERVER" --create --if-not-exists --topic "$name" \
		--partitions "$PARTITIONS" --replication-factor "$REPLICATION_FACTOR"
	kafka-configs.sh --bootstrap-server "$BOOTSTRAP_SERVER" --alter --entity-type topics --entity-name "$name" \
		--add-config "$config"
}

# Nine days: the retention of an app without a plan (7 days) and two more.
topic chat.messages cleanup.policy=delete,retention.ms=777600000,message.timestamp.type=LogAppendTime,max.message.bytes=1048588
topic chat.state cleanup.policy=compact,message.timestamp.type=LogAppendTime,max.message.bytes=1048588
# A dead letter is its record and why: 64 KB more.
topic chat.dead cleanup.policy=delete,retention.ms=2592000000,max.message.bytes=1114124
