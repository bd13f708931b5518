package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
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

// referenceTuning are the settings with which the engine was fastest: a thread for each
// partition. One for all of them took half as long again, blocks of twice the size and longer
// intervals changed little.
var referenceTuning = fmt.Sprintf("kafka_num_consumers = %d, kafka_thread_per_consumer = 1, "+
	"kafka_max_block_size = 65536, kafka_poll_timeout_ms = 100, kafka_flush_interval_ms = 500", streamPartitions)

// referenceReaders are what reads the topics. The queues come first when they are dropped:
// without its view an idle one is busy for seconds before it notices.
var referenceReaders = []string{"reference_messages_queue", "reference_state_queue", "reference_messages_read", "reference_state_read"}

// referenceFile is a file of the schema, where the embedded engine finds it. It would take the
// text as well, but leaves a copy of that in its working directory.
func referenceFile() (string, error) {
	file, err := os.CreateTemp("", "reference-*.proto")
	if err != nil {
		return "", err
	}
	_, err = file.WriteString(referenceSchema)
	return file.Name(), errors.Join(err, file.Close())
}

// attach fills a generation by the engine itself.
func (b *bench) attach(ctx context.Context, s *stream, m *model) (f filled, err error) {
	schema, err := referenceFile()
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.Remove(schema)) }()
	messages, state := m.name+"-messages", m.name+"-state"
	replacer := strings.NewReplacer("{db}", m.db, "{broker}", b.stack.Ports.KafkaAddr(), "{tuning}", referenceTuning, "{schema}", schema,
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
	before, err := b.worked()
	if err != nil {
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
	after, err := b.worked()
	f.worked = after - before
	if err != nil {
		return f, err
	}
	for _, reader := range referenceReaders { // else it reads on when its tables are gone
		if err := b.engine.Exec(ctx, "DROP TABLE "+m.db+"."+reader+" SYNC"); err != nil {
			return f, fmt.Errorf("detach the reference: %w", err)
		}
	}
	return f, nil
}
