package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/events"
)

// ledger says what lists may show while a world's chat goes on: of each conversation no
// message that was not sent, none older than was to be seen when the list was asked for,
// and as many unread as there are between what is shown and what was read.
type ledger struct {
	world *world

	mu       sync.Mutex
	talks    map[events.Conversation]*talk
	accounts map[string]map[string]*account // by user and conversation ID
	acked    written
	writes   int // that Kafka has acknowledged
	applied  int // of these, as many as a reply was asked after: whoever asks then is shown no less
}

// talk is a conversation, whoever sees it.
type talk struct {
	messages  map[uint64]string // their IDs by sequence, as far as a list may show them
	countless bool              // nothing is ever unread
	accounts  []*account
}

// account is what happens in one of a user's conversations.
type account struct {
	user    string
	talk    *talk
	begun   place // to be written: nobody is shown more
	acked   []acked
	applied place
}

// acked is a place that Kafka has acknowledged, in which write.
type acked struct {
	write int
	place
}

// reached is the place that whoever asks after a number of writes is shown at least.
func (a *account) reached(writes, applied int) place {
	for len(a.acked) > 0 && a.acked[0].write <= applied {
		a.applied.reach(a.acked[0].place)
		a.acked = a.acked[1:]
	}
	p := a.applied
	for _, later := range a.acked {
		if later.write <= writes {
			p.reach(later.place)
		}
	}
	return p
}

// place is where a user is in a conversation: the sequences of the last message, and of
// the one up to which all are read.
type place struct{ last, read uint64 }

func (p *place) reach(o place) { p.last, p.read = max(p.last, o.last), max(p.read, o.read) }

// newLedger makes the ledger of a world in which nothing happens, of what its lists show.
func (b *bench) newLedger(w *world) (*ledger, error) {
	l := &ledger{world: w, talks: map[events.Conversation]*talk{}, accounts: map[string]map[string]*account{}, acked: written{}}
	for _, user := range w.people {
		l.accounts[user] = map[string]*account{}
	}
	for _, p := range w.pairs {
		l.open(events.C2C(w.people[p.a], w.people[p.b]), p.a, p.b)
	}
	for i, g := range w.groups {
		t := l.open(events.Group(g.id), g.members...)
		kind := w.chat.group(i).Type
		t.countless = kind == events.GroupTypeChatRoom || kind == events.GroupTypeAVChatRoom
	}
	for user, accounts := range l.accounts {
		r, err := l.list(b.conns[0], user, nil)
		if err != nil {
			return nil, err
		}
		for _, c := range r {
			a := accounts[c.id]
			if a == nil {
				return nil, fmt.Errorf("user %s has a conversation %s, which is not theirs", user, c.id)
			}
			a.applied = place{c.last, c.last - c.unread}
			a.begun = a.applied
			a.talk.messages[c.last] = c.messageID
		}
	}
	return l, nil
}

func (l *ledger) open(c events.Conversation, people ...int32) *talk {
	t := &talk{messages: map[uint64]string{}}
	l.talks[c] = t
	for _, person := range people {
		user := l.world.people[person]
		a := &account{user: user, talk: t}
		t.accounts, l.accounts[user][c.IDFor(user)] = append(t.accounts, a), a
	}
	return t
}

// begin notes events that are about to be written.
func (l *ledger) begin(list []events.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range list {
		if message, ok := e.Body.(*events.MessageSent); ok {
			l.talks[message.Conversation].messages[message.Sequence] = message.MessageID
		}
		l.each(e, func(a *account, p place) { a.begun.reach(p) })
	}
}

// end notes events that Kafka has acknowledged.
func (l *ledger) end(list []events.Event, at written) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes++
	for _, e := range list {
		l.each(e, func(a *account, p place) { a.acked = append(a.acked, acked{l.writes, p}) })
	}
	l.acked.add(at)
}

// each gives those whom an event concerns, and the place that it brings them to. Who
// sends has read what is before.
func (l *ledger) each(e events.Event, yield func(*account, place)) {
	switch body := e.Body.(type) {
	case *events.MessageSent:
		for _, a := range l.talks[body.Conversation].accounts {
			p := place{last: body.Sequence}
			if a.user == body.From {
				p.read = body.Sequence
			}
			yield(a, p)
		}
	case *events.ConversationRead:
		yield(l.accounts[body.UserID][body.ConversationID], place{read: body.Sequence})
	}
}

// ask asks for somebody's list, every now and then after all that is acknowledged, and
// compares the reply.
func (l *ledger) ask(nc *nats.Conn, n int) error {
	user := l.world.people[rand.IntN(len(l.world.people))]
	var after []any
	l.mu.Lock()
	writes := l.applied
	if n%afterEvery == 0 {
		writes, after = l.writes, l.acked.after()
	}
	least := make(map[string]place, len(l.accounts[user]))
	for id, a := range l.accounts[user] {
		least[id] = a.reached(writes, l.applied)
	}
	l.mu.Unlock()
	r, err := l.list(nc, user, after)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = max(l.applied, writes)
	if err := l.compare(user, r, least); err != nil {
		return fmt.Errorf("the list of %s, after %v: %w", user, after, err)
	}
	return nil
}

// afterEvery is how many requests there are to one that waits for what was written. With
// fewer that wait, 64 in flight take all that the machine has, and it is not 5,000 events/s.
const afterEvery = 4

// list asks for a user's list, after something or at once.
func (l *ledger) list(nc *nats.Conn, user string, after []any) ([]shown, error) {
	body, err := json.Marshal(struct {
		UserID string `json:"userID"`
		After  []any  `json:"after,omitempty"`
	}{user, after})
	if err != nil {
		return nil, err
	}
	reply, err := request(nc, subjectOf(l.world.app, "list"), body)
	if err != nil {
		return nil, err
	}
	return shownIn(reply.Data)
}

// compare compares a reply to what may be shown: at least what was to be seen when it was
// asked for, at most what is under way.
func (l *ledger) compare(user string, list []shown, least map[string]place) error {
	if len(list) != len(least) {
		return fmt.Errorf("%d conversations, expected %d", len(list), len(least))
	}
	for _, c := range list {
		from, there := least[c.id]
		if !there {
			return fmt.Errorf("%s is there twice, or not theirs", c.id)
		}
		delete(least, c.id)
		a := l.accounts[user][c.id]
		if c.last < from.last || c.last > a.begun.last || a.talk.messages[c.last] != c.messageID {
			return fmt.Errorf("%s shows message %d, %q, expected one of %d, which was to be seen, to %d, which is under way",
				c.id, c.last, c.messageID, from.last, a.begun.last)
		}
		// The last message of the past may be recalled, and then does not count.
		fewest, most := c.last-min(c.last, a.begun.read+1), c.last-min(c.last, from.read)
		if a.talk.countless {
			fewest, most = 0, 0
		}
		if c.unread < fewest || c.unread > most {
			return fmt.Errorf("%s has %d unread up to message %d, expected %d to %d", c.id, c.unread, c.last, fewest, most)
		}
	}
	return nil
}

// shown is what matters of a conversation in a list.
type shown struct {
	id, messageID string
	last, unread  uint64
}

// shownIn reads a whole list. It looks for the fields alone, in the order in which the
// worker writes them: to decode it all takes longer than the worker takes to answer.
func shownIn(reply []byte) (list []shown, err error) {
	if !bytes.HasSuffix(reply, wholeTail) {
		return nil, fmt.Errorf("a reply ends with %.100q, expected %q", reply[max(0, len(reply)-100):], wholeTail)
	}
	next := func(before string) {
		var found bool
		if _, reply, found = bytes.Cut(reply, []byte(before)); !found {
			err = fmt.Errorf("conversation %d has no %s", len(list), before)
		}
	}
	text := func(before string) string {
		next(before)
		end := 0
		for end < len(reply) && (reply[end] != '"' || end > 0 && reply[end-1] == '\\') {
			end++
		}
		s, failed := strconv.Unquote(`"` + string(reply[:end]) + `"`)
		err = errors.Join(err, failed)
		return s
	}
	number := func(before string) uint64 {
		next(before)
		n, failed := strconv.ParseUint(string(reply[:max(0, bytes.IndexByte(reply, ','))]), 10, 64)
		err = errors.Join(err, failed)
		return n
	}
	for bytes.Contains(reply, item) && err == nil {
		c := shown{id: text(string(item))}
		c.unread = number(`"unreadCount":`)
		c.messageID = text(`"messageID":"`)
		c.last = number(`"lastSequence":`)
		list = append(list, c)
	}
	return list, err
}
