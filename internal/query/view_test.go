package query

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// TestView_WhatFallsOutOfAList has a conversation fall out of a list that is kept where the one
// before lay, in which its item was: who asks for it by its ID is shown the same as ever.
func TestView_WhatFallsOutOfAList(t *testing.T) {
	m := some()
	m.fold(ago(time.Hour), plan(3))
	const whole, out = `{"userID":"ann"}`, `{"userID":"ann","conversationIDList":["C2Cben"]}`
	w, ask := lister(t, m)
	ask(whole)
	said := c2c("cid", "ann", 10, "me, too")
	m.fold(ago(time.Minute), said)
	w.Apply(modelOf(ago(time.Minute), said), nil)
	for range settledAfter + 1 {
		ask(whole)
	}
	_, askAnother := lister(t, m)
	if got, want := ask(out), askAnother(out); got != want {
		t.Errorf("want %s\ngot  %s", want, got)
	}
}

// remembering gives a worker that has ann's list in memory, and another query for it.
func remembering(t *testing.T) (*Worker, *query) {
	t.Helper()
	w := New(DefaultConfig(), nil, Only(some()), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	w.Follow(always{})
	newQuery := func() *query {
		return &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
	}
	if _, err := w.answered(t.Context(), w.list, newQuery(), 1<<20); err != nil {
		t.Fatal(err)
	}
	return w, newQuery()
}

// TestView_WhatChangesWhileAListIsMade has something change after the items were made that
// show it, and before the list is kept: it is not sent again.
func TestView_WhatChangesWhileAListIsMade(t *testing.T) {
	for _, c := range []struct {
		name string
		body events.Body
	}{
		{"a peer", &events.UserProfileChanged{UserID: "ben", Nick: "Benny"}},
		{"a group", &events.GroupProfileChanged{GroupID: "g1", Name: "Another"}},
	} {
		w, q := remembering(t)
		v := w.cache().view(q)
		list := v.selected()
		var reply bytes.Buffer
		changes := changes{list: list}
		if fits, err := replyWith(&reply, q, list, true, &changes, 1<<20); err != nil || !fits {
			t.Fatal(fits, err)
		}
		v.inbox.page = nil
		w.Apply(modelOf(ago(0), c.body), nil)
		v.keep(reply.Bytes(), list)
		if p := v.inbox.page; p != nil && v.sends(p, 1<<20) {
			t.Errorf("%s: the list is sent again as it was", c.name)
		}
		v.close()
		w.cache().done(q)
	}
}

// TestView_FreezesNoListThatIsAnother has a group change after its row was judged: the query
// goes on with the list as it is in memory, and nothing is held for the one that it gave up.
func TestView_FreezesNoListThatIsAnother(t *testing.T) {
	w, q := remembering(t)
	c := w.cache()
	holders := func() int {
		g, _ := c.groups.find(projection.GroupKey{App: "demo", GroupID: "g1"})
		return g.holders
	}
	v := c.view(q)
	before := holders()
	w.Apply(modelOf(ago(0), &events.GroupProfileChanged{GroupID: "g1", Name: "Another"}), nil)
	v.freeze(v.selected())
	if q.inbox != v.entry {
		t.Error("the query goes on with a list that is another by now")
	}
	if after := holders(); after != before {
		t.Errorf("the group is held %d times, expected %d", after, before)
	}
	v.close()
	c.done(q)
}
