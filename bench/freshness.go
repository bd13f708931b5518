package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// fresh are those whose messages are waited for, while others chat.
var fresh = shape{app: "fresh", people: 200, conversations: 20}

// How messages are waited for.
const (
	freshRate  = 20 // messages per second
	freshRound = 10 * time.Second
	freshPoll  = 3 * time.Millisecond
	freshBound = 500.0 // ms
)

// freshness measures the time from Kafka's acknowledgement of a message to the
// first list that shows it, by asking over and over, and by asking once with after.
func freshness(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, hot[0], fresh)
	if err != nil {
		return err
	}
	others, w := worlds[0], worlds[1]
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	if _, err := b.whole(ctx, w); err != nil {
		return err
	}
	var samples [][]sample
	err = b.during(ctx, others, func() error {
		samples, err = b.rounds(ctx, "freshness",
			side{"asked over and over", func(int) (sample, error) { return b.wait(ctx, w, b.poll) }},
			side{"asked with after", func(int) (sample, error) { return b.wait(ctx, w, b.askAfter) }},
		)
		return err
	})
	if err != nil {
		return err
	}
	polled, after := median(samples[0], sample.p99), median(samples[1], sample.p99)
	if err := f.compare("p99", polled, freshBound); err != nil {
		return err
	}
	return f.compare("after/p99", after, polled)
}

// sent is a message that Kafka has acknowledged.
type sent struct {
	user, conversationID string // who is to see it where
	sequence             uint64
	at                   written
}

// wait sends messages at a rate and has each of them waited for.
func (b *bench) wait(ctx context.Context, w *world, seen func(context.Context, sent) error) (sample, error) {
	var mu sync.Mutex
	var took []time.Duration
	var errs []error
	var wg sync.WaitGroup
	p := pacer{rate: freshRate, start: time.Now()}
	for range int(freshRate * freshRound.Seconds()) {
		if _, err := p.wait(ctx); err != nil {
			break
		}
		pair := w.rng.IntN(len(w.pairs))
		e := w.inPair(pair, events.MicrosOf(time.Now()))
		message := e.Body.(*events.MessageSent)
		to := message.Conversation.Peer(message.From)
		s := sent{user: to, conversationID: message.Conversation.IDFor(to), sequence: message.Sequence}
		wg.Go(func() {
			var err error
			if s.at, err = b.kafka.write(ctx, e); err == nil {
				acknowledged := time.Now()
				err = seen(ctx, s)
				mu.Lock()
				took = append(took, time.Since(acknowledged))
				mu.Unlock()
			}
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return newSample(took, time.Since(p.start)), firstOf(ctx, errs)
}

// poll asks until the message is there.
func (b *bench) poll(ctx context.Context, s sent) error {
	return b.eventually(ctx, "a message is seen", freshPoll, func() (bool, error) {
		return b.shows(s, map[string]any{"userID": s.user, "conversationIDList": []string{s.conversationID}})
	})
}

// askAfter asks once; the message must be there.
func (b *bench) askAfter(_ context.Context, s sent) error {
	is, err := b.shows(s, map[string]any{"userID": s.user, "conversationIDList": []string{s.conversationID}, "after": s.at.after()})
	if err == nil && !is {
		err = fmt.Errorf("%s of %s does not show message %d, which was asked for with after", s.conversationID, s.user, s.sequence)
	}
	return err
}

// shows reports whether the reply to a request shows a message, or a later one.
func (b *bench) shows(s sent, ask any) (bool, error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return false, err
	}
	r, _, err := askList(b.conns[s.sequence%connections], fresh.app, body)
	if err != nil {
		return false, err
	}
	if n := len(r.Data.ConversationList); n != 1 {
		return false, fmt.Errorf("the reply to %s has %d conversations, expected 1", body, n)
	}
	return r.Data.ConversationList[0].LastMessage.LastSequence >= s.sequence, nil
}
