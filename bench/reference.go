package main

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"
)

// The reference of ingest: ClickHouse's Kafka engine and materialized views.
var (
	//go:embed reference.sql
	referenceViews string
	//go:embed reference_protobuf.sql
	referenceProtobuf string
	//go:embed reference.proto
	referenceSchema string
	//go:embed reference_json.sql
	referenceJSON string
)

// referenceTuning are the settings with which the engine is fastest: one thread for each
// topic, ….
const referenceTuning = "kafka_num_consumers = 1, kafka_thread_per_consumer = 1, kafka_flush_interval_ms = 1000, kafka_poll_timeout_ms = 100"

// referenceReaders are what reads the topics.
var referenceReaders = []string{"reference_messages_read", "reference_state_read", "reference_messages_queue", "reference_state_queue"}

// attach fills a generation by the engine itself.
func (b *bench) attach(ctx context.Context, s *stream, m *model) (f filled, err error) {
	messages, state := m.name+"-messages", m.name+"-state"
	replacer := strings.NewReplacer("{db}", m.db, "{broker}", b.stack.Ports.KafkaAddr(), "{tuning}", referenceTuning, "{schema}", referenceSchema,
		"{messages}", s.messages, "{messages_group}", messages, "{state}", s.state, "{state_group}", state)
	run := func(script string) error {
		for statement := range strings.SplitSeq(script, ";\n") {
			if statement = strings.TrimSpace(statement); statement == "" {
				continue
			}
			if err := b.engine.Exec(ctx, replacer.Replace(statement)); err != nil {
				return fmt.Errorf("attach the reference: %w", err)
			}
		}
		return nil
	}
	if err := run(referenceViews); err != nil {
		return f, err
	}
	f.begun = time.Now()
	if err := run(s.readers); err != nil {
		return f, err
	}
	for topic, group := range map[string]string{s.messages: messages, s.state: state} {
		at, err := b.exhausted(ctx, group, topic)
		if err != nil {
			return f, err
		}
		if at.After(f.visible) {
			f.visible = at
		}
	}
	for _, reader := range referenceReaders { // else it reads on when its tables are gone
		if err := b.engine.Exec(ctx, "DROP TABLE "+m.db+"."+reader+" SYNC"); err != nil {
			return f, fmt.Errorf("detach the reference: %w", err)
		}
	}
	return f, nil
}
