package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// The kinds of changes.
const (
	KindMessage  = "message"
	KindRead     = "read"
	KindRegister = "register"
	KindMember   = "member"
	KindProfile  = "profile"
	KindErased   = "erased"
)

// Notice is a hint that something has changed, to look at with [Client.Sync] or
// any other request. It may come twice, stand for several changes, or be late.
type Notice struct {
	// Missed says that notices may have been lost, all of those before this one:
	// sync every list that you keep. The other fields are then empty.
	Missed bool `json:"-"`
	// UserID or GroupID says whose conversations have changed; a group's are those
	// of all its members.
	UserID  string `json:"userID,omitempty"`
	GroupID string `json:"groupID,omitempty"`
	// ConversationIDList is what has changed; empty for a user's profile or erasure.
	ConversationIDList []string `json:"conversationIDList"`
	// Kinds are those that apply: KindMessage, …, ascending.
	Kinds []string `json:"kinds"`
	// Time is when the change was stored, by the projector's clock.
	Time time.Time `json:"time"`
}

// Whose says whose notices are meant.
type Whose struct{ subject string }

// OfUser means the notices to one user.
func OfUser(userID string) Whose { return Whose{"user." + SubjectToken(userID)} }

// OfGroup means the notices to everybody in one group.
func OfGroup(groupID string) Whose { return Whose{"group." + SubjectToken(groupID)} }

// OfEverybody means all notices of the app.
func OfEverybody() Whose { return Whose{"*.*"} }

// ErrClosed is the end of a subscription: it or its connection was closed.
var ErrClosed = errors.New("the subscription is closed")

// Subscription hears of changes. Its methods may be called at the same time, but
// notices are for one reader.
type Subscription struct {
	client *Client
	status chan nats.Status // of the connection
	wake   chan struct{}    // full when there may be something to read

	mu     sync.Mutex
	heard  map[Whose]*nats.Subscription
	queue  []Notice
	missed bool // to be said next, in place of what is in the queue
	closed bool
}

// Subscribe hears of changes until Close. The first notice is Missed: what a
// request asks for from then on is noticed when it changes. So it is again after
// each loss: when the connection was lost and is there again, and when the reader
// is more than Config.Buffer notices behind.
//
// A query worker may hear of a change a moment after the notice has come: where a
// sync does not find it, one that is a little later does. And notices may be lost
// without a sign, between servers for instance; a sync every few minutes costs
// little. Whether NATS permits the subjects is told to the connection's error
// handler.
func (c *Client) Subscribe(whose ...Whose) (*Subscription, error) {
	s := &Subscription{
		client: c,
		status: c.nc.StatusChanged(nats.CONNECTED, nats.CLOSED),
		wake:   make(chan struct{}, 1),
		heard:  map[Whose]*nats.Subscription{},
		missed: true,
	}
	if err := s.Add(whose...); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Add hears of others as well. List them afterwards: what changed before is not noticed.
func (s *Subscription) Add(whose ...Whose) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for _, w := range whose {
		if _, ok := s.heard[w]; ok {
			continue
		}
		subject := "convoview.v1." + s.client.cfg.App + ".changed." + w.subject
		var dropped int
		heard, err := s.client.nc.Subscribe(subject, func(m *nats.Msg) {
			before := dropped
			dropped, _ = m.Sub.Dropped() // fails only for one that is closed
			var n Notice
			if err := json.Unmarshal(m.Data, &n); err != nil || dropped != before {
				n = Notice{Missed: true}
			}
			s.push(n)
		})
		if err != nil {
			return fmt.Errorf("subscribe to %q: %w", subject, err)
		}
		s.heard[w] = heard
	}
	return nil
}

// Remove hears of some no more. Notices of theirs that have come are still read.
func (s *Subscription) Remove(whose ...Whose) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, w := range whose {
		if heard, ok := s.heard[w]; ok {
			delete(s.heard, w)
			errs = append(errs, heard.Unsubscribe())
		}
	}
	return errors.Join(errs...)
}

// Next waits for a notice. The error is ErrClosed, or that of ctx once it is done, however
// many notices are there still.
func (s *Subscription) Next(ctx context.Context) (Notice, error) {
	for {
		if ctx.Err() != nil {
			return Notice{}, context.Cause(ctx)
		}
		select {
		case status := <-s.status:
			s.follow(status)
		default: // nothing has happened to the connection
		}
		if n, ok, err := s.pop(); ok || err != nil {
			return n, err
		}
		if s.client.nc.IsClosed() { // what has become of it is not told to who is far behind
			_ = s.Close()
			continue
		}
		select {
		case <-s.wake:
		case status := <-s.status:
			s.follow(status)
		case <-ctx.Done():
			return Notice{}, context.Cause(ctx)
		}
	}
}

// follow notes what has become of the connection: one that is connected again was
// away, and one that is anything else here is closed.
func (s *Subscription) follow(status nats.Status) {
	if status == nats.CONNECTED {
		s.push(Notice{Missed: true})
	} else {
		_ = s.Close() // nothing is left to unsubscribe from
	}
}

// Notices gives one notice after the other. It ends with the error of [Subscription.Next].
func (s *Subscription) Notices(ctx context.Context) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		for {
			n, err := s.Next(ctx)
			if !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the subscription.
func (s *Subscription) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed, s.queue, s.missed = true, nil, false
	s.client.nc.RemoveStatusListener(s.status) // closes it, which a reader sees
	var errs []error
	for _, heard := range s.heard {
		if err := heard.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// push keeps a notice for the reader.
func (s *Subscription) push(n Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.missed {
		return // whoever has been told to sync everything then sees this, too
	}
	if n.Missed || len(s.queue) == s.client.cfg.Buffer {
		s.queue, s.missed = nil, true
	} else {
		s.queue = append(s.queue, n)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pop gives the next notice, if there is one, and ErrClosed after the end.
func (s *Subscription) pop() (n Notice, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return Notice{}, false, ErrClosed
	case s.missed:
		s.missed = false
		return Notice{Missed: true}, true, nil
	case len(s.queue) > 0:
		n, s.queue = s.queue[0], s.queue[1:]
		return n, true, nil
	default:
		return Notice{}, false, nil
	}
}
