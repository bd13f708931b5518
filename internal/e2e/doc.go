// Package e2e holds tests that go the whole way: events on Kafka in, replies
// over NATS out, on the real engines.
package e2e
