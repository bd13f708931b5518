package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/convoview/convoview/internal/events"
)

// How the traffic is that the goals of the writing side read: who takes part, what is
// drawn, each conversation and each user as often as any other, and how fast it happened.
const (
	trafficApp    = "traffic"
	trafficPeople = 20_000
	trafficPairs  = 100_000
	trafficGroups = 2000

	trafficInGroups     = 0.7
	trafficInPairs      = 0.2
	trafficMentionEvery = 78   // a hundredth of all messages
	trafficRate         = 5000 // events a second, as their times have it
)

// newTraffic makes the people whose traffic it is.
func newTraffic(c *chat) *world {
	w := &world{
		shape: shape{app: trafficApp, people: trafficPeople}, mentionEvery: trafficMentionEvery,
		chat: c, rng: rand.New(rand.NewPCG(2, trafficPeople)),
	}
	for i := range trafficPeople {
		w.people = append(w.people, c.person(i).UserID)
	}
	for range trafficPairs {
		a := w.rng.IntN(trafficPeople)
		w.befriend(a, (a+1+w.rng.IntN(trafficPeople-1))%trafficPeople)
	}
	for i := range trafficGroups {
		g := group{id: c.group(i).GroupID}
		for _, member := range w.rng.Perm(trafficPeople)[:minMembers+w.rng.IntN(maxMembers-minMembers+1)] {
			g.members = append(g.members, int32(member))
		}
		w.groups = append(w.groups, g)
	}
	return w
}

// traffic is what happens from a time on: messages, numbered 1, 2, 3 in each
// conversation, and what users say of their conversations.
func (w *world) traffic(from events.Micros, n int) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		for i := range n {
			at := from + events.Micros(i)*events.Micros(time.Second/time.Microsecond)/trafficRate
			var e events.Event
			switch drawn := w.rng.Float64(); {
			case drawn < trafficInGroups:
				e = w.inGroup(w.rng.IntN(len(w.groups)), at)
			case drawn < trafficInGroups+trafficInPairs:
				e = w.inPair(w.rng.IntN(len(w.pairs)), at)
			default:
				e = w.stated(at)
			}
			if !yield(e) {
				return
			}
		}
	}
}

// stated is what a user says of a conversation: mostly, that it is read.
func (w *world) stated(at events.Micros) events.Event {
	g := &w.groups[w.rng.IntN(len(w.groups))]
	user, in, last := w.people[g.members[w.rng.IntN(len(g.members))]], events.Group(g.id), g.last
	if w.rng.IntN(2) == 0 {
		p := &w.pairs[w.rng.IntN(len(w.pairs))]
		user, in, last = w.people[p.a], events.C2C(w.people[p.a], w.people[p.b]), p.last
	}
	of := events.ConversationOf{UserID: user, ConversationID: in.IDFor(user)}
	switch w.rng.IntN(10) {
	case 0:
		return w.event(at, &events.ConversationPinned{ConversationOf: of, IsPinned: w.rng.IntN(2) == 0})
	case 1:
		return w.event(at, &events.ConversationDraftSet{ConversationOf: of, DraftText: w.chat.texts[w.rng.IntN(len(w.chat.texts))].shown})
	case 2:
		return w.event(at, &events.GroupMemberChanged{
			GroupID: g.id, UserID: user, Status: events.StatusJoined, Role: "Member", JoinSequence: g.last, JoinTime: at,
		})
	default:
		return w.reading(at, user, in, last)
	}
}

// encoding is one of those that events come in.
type encoding struct {
	name, contentType string
	encode            func(dst []byte, e events.Event) ([]byte, error)
	readers           string // what reads it in the reference
}

var (
	inProtobuf = encoding{"protobuf", events.ContentTypeProtobuf, events.AppendProtobuf, referenceProtobuf}
	inJSON     = encoding{"json", events.ContentTypeJSON, events.AppendJSON, referenceJSON}
)

func (e encoding) headers() []events.Header {
	return []events.Header{{Key: events.HeaderContentType, Value: []byte(e.contentType)}}
}

// stream is traffic as it is in topics of its own.
type stream struct {
	encoding
	messages, state string // the topics
	events          int
	from            events.Micros
	chat            *chat
}

// streamPartitions are the partitions of each topic.
const streamPartitions = 4

// stream gives the stream of that name, with so many events. It is published once, and
// streams of as many events have the same.
func (b *bench) stream(ctx context.Context, name string, e encoding, n int) (*stream, error) {
	if s := b.streams[name]; s != nil {
		return s, nil
	}
	s := &stream{e, name + ".messages", name + ".state", n, events.MicrosOf(b.begun) - hour, b.chat}
	b.note("publish %s: %d events", name, n)
	if err := s.publish(ctx, b.stack.Ports.KafkaAddr()); err != nil {
		return nil, fmt.Errorf("publish %s: %w", name, err)
	}
	b.streams[name] = s
	return s, nil
}

// traffic yields the events of the stream.
func (s *stream) traffic() iter.Seq[events.Event] {
	return newTraffic(s.chat).traffic(s.from, s.events)
}

// topics are both, as a list.
func (s *stream) topics() []string { return []string{s.messages, s.state} }

// publish makes the topics and fills them.
func (s *stream) publish(ctx context.Context, addr string) error {
	request := &kafka.CreateTopicsRequest{}
	for _, topic := range s.topics() {
		request.Topics = append(request.Topics, kafka.TopicConfig{
			Topic: topic, NumPartitions: streamPartitions, ReplicationFactor: 1,
			ConfigEntries: []kafka.ConfigEntry{{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"}},
		})
	}
	made, err := (&kafka.Client{Addr: kafka.TCP(addr)}).CreateTopics(ctx, request)
	if err != nil {
		return fmt.Errorf("make the topics: %w", err)
	}
	for topic, err := range made.Errors {
		if err != nil {
			return fmt.Errorf("make topic %s: %w", topic, err)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer client.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var headers []kgo.RecordHeader
	for _, h := range s.headers() {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	for event := range s.traffic() {
		value, err := s.encode(nil, event)
		if err != nil {
			return err
		}
		topic := s.messages
		if events.Topic(event.Body) == events.TopicState {
			topic = s.state
		}
		client.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(events.Key(event)), Value: value, Headers: headers}, func(_ *kgo.Record, err error) {
			if err != nil {
				fail(fmt.Errorf("write to %s: %w", topic, err))
			}
		})
	}
	return errors.Join(client.Flush(ctx), context.Cause(ctx))
}
