package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
)

// partition is one of a topic's.
type partition struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
}

// written are the greatest offsets that were acknowledged.
type written map[partition]int64

// producer writes events to Kafka as a chat backend does.
type producer struct {
	client     *kafka.Client
	partitions map[string][]int // by topic
}

func newProducer(ctx context.Context, addr string) (*producer, error) {
	p := &producer{
		client:     &kafka.Client{Addr: kafka.TCP(addr), Timeout: 10 * time.Second, Transport: &kafka.Transport{ClientID: "bench"}},
		partitions: map[string][]int{},
	}
	answer, err := p.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{events.TopicMessages, events.TopicState}})
	if err != nil {
		return nil, fmt.Errorf("ask for the topics: %w", err)
	}
	for _, topic := range answer.Topics {
		if topic.Error != nil {
			return nil, fmt.Errorf("topic %s: %w", topic.Name, topic.Error)
		}
		for _, part := range topic.Partitions {
			p.partitions[topic.Name] = append(p.partitions[topic.Name], part.ID)
		}
	}
	return p, nil
}

// write writes events, in the order of each key, and returns when all are acknowledged.
func (p *producer) write(ctx context.Context, list ...events.Event) (written, error) {
	records := map[partition][]kafka.Record{}
	now := time.Now()
	for _, e := range list {
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			return nil, err
		}
		topic, key := events.Topic(e.Body), []byte(events.Key(e))
		to := partition{topic, (&kafka.Hash{}).Balance(kafka.Message{Key: key}, p.partitions[topic]...)}
		records[to] = append(records[to], kafka.Record{Time: now, Key: kafka.NewBytes(key), Value: kafka.NewBytes(value)})
	}
	var mu sync.Mutex
	w := written{}
	g, ctx := errgroup.WithContext(ctx)
	for to, records := range records {
		g.Go(func() error {
			answer, err := p.client.Produce(ctx, &kafka.ProduceRequest{
				Topic: to.Topic, Partition: to.Partition, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(records...),
			})
			if err == nil {
				err = answer.Error
			}
			if err != nil {
				return fmt.Errorf("write %d records to %s/%d: %w", len(records), to.Topic, to.Partition, err)
			}
			mu.Lock()
			defer mu.Unlock()
			w[to] = answer.BaseOffset + int64(len(records)) - 1
			return nil
		})
	}
	return w, g.Wait()
}

// writeAll writes many events, some of them at a time.
func (p *producer) writeAll(ctx context.Context, list []events.Event) (written, error) {
	done := written{}
	for part := range slices.Chunk(list, 1000) {
		offsets, err := p.write(ctx, part...)
		if err != nil {
			return nil, err
		}
		done.add(offsets)
	}
	return done, nil
}

// after is the field of a request that waits for what was written.
func (w written) after() []any {
	var list []any
	for p, offset := range w {
		list = append(list, map[string]any{"topic": p.Topic, "partition": p.Partition, "offset": offset})
	}
	return list
}

// add notes what was written later.
func (w written) add(later written) {
	for p, offset := range later {
		w[p] = max(w[p], offset)
	}
}

// applied waits until the query worker has heard of everything that was written.
func (b *bench) applied(ctx context.Context, app, user string, w written) error {
	body, err := json.Marshal(map[string]any{"userID": user, "after": w.after(), "conversationIDList": []string{}})
	if err != nil {
		return err
	}
	return b.eventually(ctx, "everything is projected", seldom, func() (bool, error) {
		_, err := request(b.conns[0], subjectOf(app, "list"), body)
		if isRefused(err, codeTimeout) {
			return false, nil
		}
		return err == nil, err
	})
}
