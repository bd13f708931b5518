package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/events"
)

// The two groups, and how many members of the great one are in memory.
const (
	groupApp     = "groups"
	greatMembers = 100_000
	smallMembers = 10
	greatCached  = 1000
)

// What is said: by as many people in both groups, since a sender's register is
// a cost of the sender's, and not of the group's.
const (
	groupMessages = 5000
	groupSpeakers = 10
)

// crowd is one of the groups.
type crowd struct {
	id      string
	first   int // of its members
	members int
	last    uint64 // the sequence of its last message
}

// bigGroup compares a message to a great group with one to a small one.
func bigGroup(ctx context.Context, b *bench, f *figures) error {
	great := &crowd{id: "great", members: greatMembers}
	small := &crowd{id: "small", first: greatMembers, members: smallMembers}
	if err := b.write(ctx, groupApp, b.gather(great, small)); err != nil {
		return err
	}
	if err := b.serve(ctx); err != nil {
		return err
	}
	for _, c := range []*crowd{great, small} {
		if err := b.visit(ctx, c, 64); err != nil {
			return err
		}
	}
	costs := map[*crowd][]cost{}
	for round := range b.config.rounds {
		order := []*crowd{small, great}
		if round%2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		for _, c := range order {
			paid, err := b.speak(ctx, c)
			if err != nil {
				return err
			}
			b.note("big_group, round %d: each message to %d members costs %v", round+1, c.members, paid)
			costs[c] = append(costs[c], paid)
		}
	}
	for _, figure := range []struct {
		name string
		of   func(cost) float64
	}{
		{"feed_bytes", func(c cost) float64 { return c.feedBytes }},
		{"inserted_rows", func(c cost) float64 { return c.rows }},
		{"inserted_bytes", func(c cost) float64 { return c.bytes }},
		{"cpu", func(c cost) float64 { return c.cpu }},
	} {
		if err := f.compare(figure.name, median(costs[great], figure.of), median(costs[small], figure.of)); err != nil {
			return err
		}
	}

	var loads []float64
	for range b.config.rounds {
		n, err := b.headLoads(ctx, great)
		if err != nil {
			return err
		}
		loads = append(loads, n)
	}
	return f.compare("head_loads", middle(loads), 1)
}

// gather are the events of which the groups and their members are made.
func (b *bench) gather(crowds ...*crowd) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		at, n := events.MicrosOf(time.Now())-24*hour, 0
		happen := func(body events.Body) bool {
			n++
			return yield(events.Event{ID: numbered(groupApp, 'g', n), App: groupApp, Time: at, Body: body})
		}
		for i, c := range crowds {
			profile := b.chat.group(i)
			profile.GroupID, profile.Type = c.id, "Community"
			if !happen(profile) || !happen(b.say(c)) {
				return
			}
			for m := range c.members {
				who := b.chat.person(c.first + m)
				if !happen(who) || !happen(&events.GroupMemberChanged{GroupID: c.id, UserID: who.UserID, Status: events.StatusJoined, Role: "Member", JoinTime: at}) {
					return
				}
			}
		}
	}
}

// say is the next message to a group.
func (b *bench) say(c *crowd) *events.MessageSent {
	c.last++
	speaker := c.first + int(c.last%groupSpeakers)
	return b.chat.say(rand.New(rand.NewPCG(1, c.last)), events.Group(c.id), speaker, b.chat.person(speaker).UserID, c.last, numbered(c.id, 'm', int(c.last)))
}

// visit asks for the lists of members, no more than are to be in memory.
func (b *bench) visit(ctx context.Context, c *crowd, inFlight int) error {
	_, err := closedLoop(ctx, b.conns, inFlight, time.Hour, min(c.members, greatCached), patient(func(nc *nats.Conn, n int) error {
		body, err := json.Marshal(map[string]any{"userID": b.chat.person(c.first + n).UserID})
		if err != nil {
			return err
		}
		r, _, err := askList(nc, groupApp, body)
		if err == nil && (len(r.Data.ConversationList) != 1 || r.Data.ConversationList[0].LastMessage.LastSequence != c.last) {
			err = fmt.Errorf("%s shows %+v, expected the one group at %d", body, r.Data.ConversationList, c.last)
		}
		return err
	}))
	return err
}

// cost is what one message costs.
type cost struct {
	feedBytes, rows, bytes float64
	cpu                    float64 // of the query worker, in microseconds
}

func (c cost) String() string {
	return fmt.Sprintf("%.0f bytes on the feed, %.2f rows and %.0f bytes in ClickHouse, %.0f µs of the query worker", c.feedBytes, c.rows, c.bytes, c.cpu)
}

// speak has messages said in a group and gives what each of them costs.
func (b *bench) speak(ctx context.Context, c *crowd) (cost, error) {
	var announced atomic.Int64
	sub, err := b.conns[0].Subscribe("convoview.feed.v1.>", func(m *nats.Msg) { announced.Add(int64(len(m.Data))) })
	if err != nil {
		return cost{}, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	before, err := b.counters(ctx)
	if err != nil {
		return cost{}, err
	}
	now := events.MicrosOf(time.Now())
	var said []events.Event
	for range groupMessages {
		m := b.say(c)
		said = append(said, events.Event{ID: m.MessageID, App: groupApp, Time: now, Body: m})
	}
	done, err := b.kafka.writeAll(ctx, said)
	if err != nil {
		return cost{}, err
	}
	if err := b.applied(ctx, groupApp, "nobody", done); err != nil {
		return cost{}, err
	}
	after, err := b.counters(ctx)
	if err != nil {
		return cost{}, err
	}
	if err := b.visit(ctx, c, 64); err != nil { // everybody sees the last one
		return cost{}, err
	}
	return cost{
		feedBytes: float64(announced.Load()) / groupMessages,
		rows:      (after.rows - before.rows) / groupMessages,
		bytes:     (after.bytes - before.bytes) / groupMessages,
		cpu:       (after.cpu - before.cpu) / groupMessages,
	}, nil
}

// counters are what ClickHouse has inserted and the query worker has worked until now.
func (b *bench) counters(ctx context.Context) (c cost, err error) {
	var rows, bytes uint64
	row := b.engine.QueryRow(ctx, "SELECT sumIf(value, event = 'InsertedRows'), sumIf(value, event = 'InsertedBytes') FROM system.events")
	if err := row.Scan(&rows, &bytes); err != nil {
		return c, fmt.Errorf("ask what was inserted: %w", err)
	}
	worked, err := cpuTime(b.stack.QueryPID())
	return cost{rows: float64(rows), bytes: float64(bytes), cpu: float64(worked.Microseconds())}, err
}

// headLoads asks a query worker that knows nothing for lists of many members at
// once and gives how many heads it loaded.
func (b *bench) headLoads(ctx context.Context, c *crowd) (float64, error) {
	if err := b.serve(ctx); err != nil {
		return 0, err
	}
	const loadedHeads = `convoview_query_load_keys_sum{load="states"}`
	before, err := b.queryMetric(ctx, loadedHeads)
	if err != nil {
		return 0, err
	}
	if err := b.visit(ctx, c, greatCached); err != nil {
		return 0, err
	}
	after, err := b.queryMetric(ctx, loadedHeads)
	return after - before, err
}
