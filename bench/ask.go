package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// requestTimeout is above the time within which a query worker always answers.
const requestTimeout = 10 * time.Second

// request sends one request. An error reply is an error.
func request(nc *nats.Conn, subject string, body []byte) (*nats.Msg, error) {
	reply, err := nc.Request(subject, body, requestTimeout)
	if err != nil {
		return nil, fmt.Errorf("ask %s %.100s: %w", subject, body, err)
	}
	if code := reply.Header.Get(micro.ErrorCodeHeader); code != "" {
		return nil, fmt.Errorf("ask %s %.100s: %w", subject, body, &refusal{code, reply.Header.Get(micro.ErrorHeader)})
	}
	return reply, nil
}

// refusal is an error reply.
type refusal struct{ code, message string }

func (e *refusal) Error() string { return e.code + " " + e.message }

// The codes of a request that is one too many, and of a reply that was not there in time.
const (
	codeOverloaded = "429"
	codeTimeout    = "504"
)

// isRefused reports whether an error is a reply of that code.
func isRefused(err error, code string) bool {
	var refused *refusal
	return errors.As(err, &refused) && refused.code == code
}

// patient repeats what was not answered in time: what is only prepared may
// take as long as it takes.
func patient(do ask) ask {
	return func(nc *nats.Conn, n int) (err error) {
		for range 5 {
			err = do(nc, n)
			if !isRefused(err, codeTimeout) {
				break
			}
		}
		return err
	}
}

// subjectOf is where an operation of an app is asked for.
func subjectOf(app, operation string) string {
	return "convoview.v1." + app + ".conversation." + operation
}

// listReply is what matters here of a list.
type listReply struct {
	Code int `json:"code"`
	Data struct {
		ConversationList []struct {
			ConversationID string `json:"conversationID"`
			LastMessage    struct {
				LastSequence uint64 `json:"lastSequence"`
			} `json:"lastMessage"`
		} `json:"conversationList"`
		Removed []string `json:"removed"`
		Reset   bool     `json:"reset"`
	} `json:"data"`
	NextCursor string `json:"nextCursor"`
	SyncToken  string `json:"syncToken"`
}

// askList asks for a list and reads it.
func askList(nc *nats.Conn, app string, body []byte) (r listReply, size int, err error) {
	reply, err := request(nc, subjectOf(app, "list"), body)
	if err != nil {
		return r, 0, err
	}
	if err := json.Unmarshal(reply.Data, &r); err != nil {
		return r, 0, fmt.Errorf("read a list of %d bytes: %w", len(reply.Data), err)
	}
	return r, len(reply.Data), nil
}

// item begins each item of a list: a text has its quotes escaped.
var item = []byte(`"conversationID":"`)

// checkList reports what is wrong with a reply by its size and its items.
func checkList(reply []byte, items, size int) error {
	if n := bytes.Count(reply, item); n != items || len(reply) != size {
		return fmt.Errorf("a reply of %d conversations and %d bytes, expected %d and %d", n, len(reply), items, size)
	}
	return nil
}

// checkItems reports what is wrong with a reply of which only its items are known.
func checkItems(reply []byte, items int) error {
	if n := bytes.Count(reply, item); n != items || !bytes.Contains(reply, lastPage) {
		return fmt.Errorf("a reply of %d conversations, expected %d and no more pages", n, items)
	}
	return nil
}

// lastPage is in the reply after which there is no more.
var lastPage = []byte(`"nextCursor":""`)

// lists are requests whose replies are known.
type lists struct {
	subject  string
	items    int      // in each reply
	requests [][]byte // one per user
	sizes    []int    // of the replies
}

// learn asks for a list of each user once, and so has them all in memory. body
// is the n-th user's request. It reads every reply: the right size is the size
// of a right reply.
func (b *bench) learn(ctx context.Context, app string, users, items int, body func(n int) any) (*lists, error) {
	l := &lists{subject: subjectOf(app, "list"), items: items, requests: make([][]byte, users), sizes: make([]int, users)}
	begin := time.Now()
	_, err := closedLoop(ctx, b.conns, 64, time.Hour, users, patient(func(nc *nats.Conn, n int) (err error) {
		if l.requests[n], err = json.Marshal(body(n)); err != nil {
			return err
		}
		var r listReply
		if r, l.sizes[n], err = askList(nc, app, l.requests[n]); err != nil {
			return err
		}
		different := map[string]struct{}{}
		for _, c := range r.Data.ConversationList {
			different[c.ConversationID] = struct{}{}
		}
		if len(different) != items || len(r.Data.Removed) > 0 || r.Data.Reset || r.NextCursor != "" {
			return fmt.Errorf("the reply to %.100s has %d conversations, %d removed, reset %t and cursor %q, expected %d conversations alone",
				l.requests[n], len(different), len(r.Data.Removed), r.Data.Reset, r.NextCursor, items)
		}
		return nil
	}))
	if err != nil {
		return nil, err
	}
	b.note("%s: %d lists of %d conversations, %d bytes each, read in %v",
		app, users, items, l.meanSize(), time.Since(begin).Round(100*time.Millisecond))
	return l, nil
}

// whole learns the whole lists of all who are asked for.
func (b *bench) whole(ctx context.Context, w *world) (*lists, error) {
	return b.learn(ctx, w.app, w.shape.people, w.conversations, func(n int) any {
		return map[string]any{"userID": w.people[n]}
	})
}

func (l *lists) meanSize() int {
	sum := 0
	for _, size := range l.sizes {
		sum += size
	}
	return sum / len(l.sizes)
}

// ask asks for the list of one of the users, drawn at random.
func (l *lists) ask(nc *nats.Conn, _ int) error {
	n := rand.IntN(len(l.requests))
	reply, err := request(nc, l.subject, l.requests[n])
	if err != nil {
		return err
	}
	return checkList(reply.Data, l.items, l.sizes[n])
}

// askAny is ask for lists that change: nothing is known of them but their items.
// These are counted in some of the replies, as counting them all takes as long as
// it takes the worker to answer.
func (l *lists) askAny(nc *nats.Conn, n int) error {
	reply, err := request(nc, l.subject, l.requests[rand.IntN(len(l.requests))])
	if err != nil {
		return err
	}
	if n%countEvery == 0 {
		return checkItems(reply.Data, l.items)
	}
	if !bytes.HasSuffix(reply.Data, wholeTail) {
		return fmt.Errorf("a reply ends with %.100q, expected %q", reply.Data[max(0, len(reply.Data)-100):], wholeTail)
	}
	return nil
}

// countEvery is how many replies there are to one whose items are counted.
const countEvery = 16

// wholeTail ends the reply of a whole list.
var wholeTail = []byte(`],"isSyncCompleted":true,"removed":[],"reset":false},"nextCursor":"","syncToken":""}`)

// echo prepares the echo with a reply of the mean size, and gives what asks for it.
func (l *lists) echo(nc *nats.Conn) (ask, error) {
	mean := l.meanSize()
	n, nearest := 0, l.sizes[0]
	for i, size := range l.sizes {
		if abs(size-mean) < abs(nearest-mean) {
			n, nearest = i, size
		}
	}
	reply, err := request(nc, l.subject, l.requests[n])
	if err != nil {
		return nil, err
	}
	if err := prepareEcho(nc, reply.Data); err != nil {
		return nil, err
	}
	return func(nc *nats.Conn, _ int) error {
		reply, err := request(nc, echoSubject, l.requests[n])
		if err != nil {
			return err
		}
		return checkList(reply.Data, l.items, nearest)
	}, nil
}

func abs(n int) int { return max(n, -n) }
