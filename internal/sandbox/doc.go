// Package sandbox starts Kafka, NATS and ClickHouse in this process.
package sandbox
