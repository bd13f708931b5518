package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

// TestRebuild_From begins in the middle, is broken off, and goes on without being told
// again where it began: the new generation has what comes after, and nothing else but who
// was erased before.
func TestRebuild_From(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.project()
	third := len(chat) / 3
	var erasures []events.Event
	for i, e := range chat {
		if _, is := e.Body.(*events.UserErased); is {
			early := rng.IntN(third)
			chat[early], chat[i] = chat[i], chat[early]
		}
	}
	for _, e := range chat[:third] {
		if _, is := e.Body.(*events.UserErased); is {
			erasures = append(erasures, e)
		}
	}
	if len(erasures) == 0 {
		t.Fatal("nobody is erased")
	}
	s.send(chat[:third]...)
	s.settle()
	var from []string
	done := int64(0)
	for p, end := range s.ends() {
		from = append(from, fmt.Sprintf("%s=%d", p, end))
		done += end
	}
	s.send(chat[third : 2*third]...)
	s.settle()
	offsets := func(c *rebuild.Config) {
		c.Incomplete = true
		if err := c.From.Set(strings.Join(from, ",")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.rebuild(func(p rebuild.Progress) bool { return p.Done > done }, offsets); !errors.Is(err, context.Canceled) {
		t.Fatalf("broken off: %v", err)
	}
	s.send(chat[2*third:]...)
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	s.settle()
	compareAll(t, peopleOf(chat), bruteforce.New(chat, events.MicrosOf(now)), s)
	s.switchTo(2)
	compareAll(t, peopleOf(chat), bruteforce.New(append(erasures, chat[third:]...), events.MicrosOf(now)), s)
}

// based is a rebuild that begins with the rows of the live generation.
func based(c *rebuild.Config) { c.Base = true }

// TestRebuild_Base begins with what the live generation has, of which half is gone from
// the topics, while the chat goes on. It is broken off while it copies and while it reads.
func TestRebuild_Base(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	people := peopleOf(chat)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.project()
	half := len(chat) / 2
	s.send(chat[:half]...)
	s.settle()
	s.forget()
	gone := int64(0)
	for _, end := range s.ends() {
		gone += end
	}
	s.send(chat[half : half+half/2]...)
	s.settle() // else projectors may write all of it to the new generation, which then reads nothing
	var lacking *rebuild.IncompleteError
	if err := s.rebuild(toTheEnd); !errors.As(err, &lacking) {
		t.Fatalf("from the topics alone: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	copying := func(line string) {
		if strings.Contains(line, "msg=copying") && strings.Contains(line, "table=registers") {
			cancel()
		}
	}
	if err := s.rebuildHeard(ctx, copying, toTheEnd, based); !errors.Is(err, context.Canceled) {
		t.Fatalf("broken off while it copies: %v", err)
	}
	s.send(chat[half+half/2:]...)
	if err := s.rebuild(func(p rebuild.Progress) bool { return p.Done > gone }); !errors.Is(err, context.Canceled) {
		t.Fatalf("broken off while it reads: %v", err)
	}
	s.settle()
	copied := 0
	if err := s.rebuildHeard(t.Context(), func(line string) { copied += strings.Count(line, "msg=copying") }, toTheEnd, based); err != nil || copied > 0 {
		t.Fatalf("%v, copied again: %d tables", err, copied)
	}
	if found := s.verify(now, true, 10); len(found.Differences) > 0 || !found.Whole {
		t.Errorf("differences: %+v", found)
	}
	s.switchTo(2)
	want := bruteforce.New(chat, events.MicrosOf(now))
	compareAll(t, people, want, s)
	if err := s.readModel.DropGeneration(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	compareAll(t, people, want, s)
}

// TestRebuild_BaseWaitsForProjectors begins at the end of the topics while a projector is
// behind, and writes to the live generation alone until it looks again: what it writes
// meanwhile must be copied.
func TestRebuild_BaseWaitsForProjectors(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.send(chat...)
	var from []string
	for p, end := range s.ends() {
		from = append(from, fmt.Sprintf("%s=%d", p, end))
	}
	sink := &held{Live: readmodel.NewLive(s.readModel), came: make(chan struct{}), open: make(chan struct{})}
	s.projectTo(sink)
	<-sink.came
	held := true
	err := s.rebuild(func(p rebuild.Progress) bool {
		if held && len(p.Waiting) > 0 {
			held = false
			close(sink.open)
		}
		return false
	}, based, func(c *rebuild.Config) {
		if err := c.From.Set(strings.Join(from, ",")); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	s.settle()
	s.switchTo(2)
	compareAll(t, peopleOf(chat), bruteforce.New(chat, events.MicrosOf(now)), s)
}

// held is a sink whose first write is held back.
type held struct {
	*readmodel.Live
	came, open chan struct{} // closed when it has come, and to let it go
	once       sync.Once
}

func (h *held) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	h.once.Do(func() { close(h.came) })
	<-h.open
	return h.Live.Insert(ctx, batches)
}

// TestRebuild_IsDropped ends when somebody drops the generation that is being filled.
func TestRebuild_IsDropped(t *testing.T) {
	for name, options := range map[string][]func(*rebuild.Config){"from the topics": nil, "with a base": {based}} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t) // no projector: it waits
			dropped := false
			err := s.rebuild(func(p rebuild.Progress) bool {
				if !dropped && len(p.Waiting) > 0 {
					dropped = true
					if err := s.readModel.DropGeneration(t.Context(), p.Generation, 0); err != nil {
						t.Error(err)
					}
				}
				return false
			}, options...)
			var gone *readmodel.GoneError
			if !errors.As(err, &gone) || gone.Generation != 2 {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestRebuild_Without leaves out what has poisoned registers for good, and some events of
// every kind besides: a generation has none of them, however often and whenever they are
// sent again, and the other one has them all. The rebuild is broken off, and another
// projector takes partitions over meanwhile.
func TestRebuild_Without(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	people := peopleOf(chat)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.project()

	var left []events.Event
	ids := map[string]struct{}{}
	leave := func(e events.Event) {
		left = append(left, e)
		ids[e.ID] = struct{}{}
	}
	for i, p := range people {
		for j, conversation := range p.conversationIDs {
			of := events.ConversationOf{UserID: p.id, ConversationID: conversation}
			switch id := fmt.Sprintf("poison-%d-%d", i, j); rng.IntN(10) {
			case 0:
				leave(events.Event{ID: id, App: p.app, Time: chat[0].Time, Body: &events.ConversationRead{ConversationOf: of, Sequence: events.MaxSequence}})
			case 1:
				ahead := time.Now().Add(events.MaxAhead - time.Minute)
				leave(events.Event{ID: id, App: p.app, Time: events.MicrosOf(ahead), Body: &events.ConversationPinned{ConversationOf: of, IsPinned: true}})
			}
		}
	}
	poison := slices.Clone(left)
	for _, e := range chat {
		if rng.IntN(50) == 0 {
			leave(e)
		}
	}
	var rest []events.Event
	for _, e := range chat {
		if _, is := ids[e.ID]; !is {
			rest = append(rest, e)
		}
	}
	everything := bruteforce.New(append(slices.Clone(chat), poison...), events.MicrosOf(now))
	without := bruteforce.New(rest, events.MicrosOf(now))

	third := len(chat) / 3
	s.send(chat[:third]...)
	s.send(poison...)
	s.settle()
	rebuilt := make(chan error, 1)
	go func() {
		rebuilt <- s.rebuild(func(p rebuild.Progress) bool { return p.Done > 0 }, func(c *rebuild.Config) { c.Without = ids })
	}()
	for portion := range slices.Chunk(chat[third:2*third], 100) {
		s.send(portion...)
		s.send(left[rng.IntN(len(left))], left[rng.IntN(len(left))])
		s.visit(people)
	}
	if err := <-rebuilt; !errors.Is(err, context.Canceled) {
		t.Fatalf("broken off: %v", err)
	}
	go func() { rebuilt <- s.rebuild(toTheEnd) }()
	s.project()
	s.send(left...)
	for portion := range slices.Chunk(chat[2*third:], 100) {
		s.send(portion...)
		s.send(left[rng.IntN(len(left))], left[rng.IntN(len(left))])
		s.visit(people)
	}
	if err := <-rebuilt; err != nil {
		t.Fatal(err)
	}
	s.settle()
	compareAll(t, people, everything, s)
	for _, generation := range []int{1, 2} {
		if found := s.sampleOf(generation, now, 1<<30); len(found.Differences) > 0 || !found.Whole || found.Conversations == 0 {
			t.Errorf("generation %d and the topics: %d differences: %+v", generation, len(found.Differences), found.Differences[:min(1, len(found.Differences))])
		}
	}
	s.switchTo(2)
	compareAll(t, people, without, s)
	s.send(left...) // to those who have it all in memory
	s.settle()
	compareAll(t, people, without, s)
	s.switchTo(1)
	compareAll(t, people, everything, s)
	s.switchTo(2)
	compareAll(t, people, without, s)
	s.switchTo(1)
	if err := s.readModel.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	s.send(left...)
	s.settle()
	compareAll(t, people, everything, s)
}

// forget deletes all records that are in the topics.
func (s *system) forget() {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	for p, end := range s.ends() {
		partition := kmsg.NewDeleteRecordsRequestTopicPartition()
		partition.Partition, partition.Offset = int32(p.ID), end
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic, topic.Partitions = p.Topic, append(topic.Partitions, partition)
		req.Topics = append(req.Topics, topic)
	}
	if _, err := req.RequestWith(s.t.Context(), client); err != nil {
		s.t.Fatal(err)
	}
}

// lines gives each line of a log to a function.
type lines func(string)

func (l lines) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}
