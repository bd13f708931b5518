// Package sandbox runs Kafka, NATS and ClickHouse on loopback, in this process,
// for development and for tests.
//
//   - Kafka is kfake, a broker that speaks Kafka's protocol: groups, commits,
//     transactions, topic settings and their limits. One broker, no replicas. It
//     keeps the times that producers give, whatever message.timestamp.type
//     says; Apache Kafka does not.
//   - Or it is Apache Kafka itself, one broker or several with replicas, in
//     child processes (package apachekafka). It takes seconds to start.
//   - NATS is the NATS server itself.
//   - ClickHouse is the engine itself, behind a front (package clickhouse).
//
// With a data directory, topics, records, group offsets, databases and tables
// are there again at the next start. What was acknowledged survives kill -9 of
// the process; a crash of the machine may lose the last seconds, since neither
// Kafka nor MergeTree syncs every write to the disk. NATS keeps nothing.
//
// Tests use package sandboxtest, which starts one sandbox per test process
// (the engine holds one data directory at a time) and gives every test a
// database and topics of its own. `make test-kafka` gives them Apache Kafka.
package sandbox
