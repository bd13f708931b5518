package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/client"
)

// crier publishes notices as a projector does.
type crier struct {
	t   *testing.T
	nc  *nats.Conn
	app string
}

func (c crier) cry(subject, notice string) {
	c.t.Helper()
	if err := c.nc.Publish("convoview.v1."+c.app+".changed."+subject, []byte(notice)); err != nil {
		c.t.Fatal(err)
	}
	if err := c.nc.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// hear subscribes, and has the server know of it.
func hear(t *testing.T, config client.Config, whose ...client.Whose) (*client.Subscription, *nats.Conn, crier) {
	t.Helper()
	config.App = app(t)
	nc := dial(t)
	c, err := client.New(nc, config)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Subscribe(whose...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	flush(t, nc)
	return s, nc, crier{t, dial(t), config.App}
}

func flush(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// next gives the next notice, as its time says it, or "missed".
func next(t *testing.T, s *client.Subscription) string {
	t.Helper()
	n, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n.Missed {
		return "missed"
	}
	return n.UserID + n.GroupID
}

func want(t *testing.T, s *client.Subscription, names ...string) {
	t.Helper()
	for _, name := range names {
		if got := next(t, s); got != name {
			t.Errorf("the next notice is %q, want %q", got, name)
		}
	}
}

func TestSubscription_Notices(t *testing.T) {
	s, nc, c := hear(t, client.Config{}, client.OfUser("a.b"), client.OfGroup("hi ke"), client.OfUser("a.b"))
	want(t, s, "missed")
	c.cry("user.ann", `{"userID":"ann"}`) // of nobody who is meant
	c.cry("user.a%2Eb", `{"app":"x","userID":"a.b","conversationIDList":["C2Cbob"],"kinds":["message","read"],"time":"2026-11-23T03:02:00.123456789Z"}`)
	n, err := s.Next(t.Context())
	if err != nil || n.Missed || n.UserID != "a.b" || n.GroupID != "" || !slices.Equal(n.ConversationIDList, []string{"C2Cbob"}) ||
		!slices.Equal(n.Kinds, []string{client.KindMessage, client.KindRead}) || !n.Time.Equal(time.Date(2026, 11, 23, 3, 2, 0, 123456789, time.UTC)) {
		t.Errorf("%+v, %v", n, err)
	}
	c.cry("group.hi%20ke", `{"groupID":"hi ke"}`)
	want(t, s, "hi ke")

	if err := s.Add(client.OfUser("eve")); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(client.OfUser("a.b"), client.OfUser("nobody")); err != nil {
		t.Fatal(err)
	}
	flush(t, nc)
	c.cry("user.a%2Eb", `{"userID":"a.b"}`)
	c.cry("user.eve", `{"userID":"eve"}`)
	want(t, s, "eve")

	c.cry("user.eve", `no JSON`) // something was said
	want(t, s, "missed")
}

func TestSubscription_OfEverybody(t *testing.T) {
	s, _, c := hear(t, client.Config{}, client.OfEverybody())
	want(t, s, "missed")
	c.cry("user.ann", `{"userID":"ann"}`)
	c.cry("group.hike", `{"groupID":"hike"}`)
	var got []string
	for n, err := range s.Notices(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, n.UserID+n.GroupID); len(got) == 2 {
			break
		}
	}
	if !slices.Equal(got, []string{"ann", "hike"}) {
		t.Errorf("%q", got)
	}
}

// Who is too far behind is told so in place of what was kept, and goes on.
func TestSubscription_ReaderIsBehind(t *testing.T) {
	s, nc, c := hear(t, client.Config{Buffer: 3}, client.OfEverybody())
	want(t, s, "missed")
	for i := range 3 {
		c.cry("user.ann", fmt.Sprintf(`{"userID":"%d"}`, i))
	}
	heardBy(t, nc, c)
	want(t, s, "0", "1", "2")
	for i := range 5 {
		c.cry("user.ann", fmt.Sprintf(`{"userID":"%d"}`, i))
	}
	heardBy(t, nc, c)
	want(t, s, "missed")
	c.cry("user.ann", `{"userID":"again"}`)
	want(t, s, "again")
}

// heardBy waits until a connection has handed over all that was published before.
func heardBy(t *testing.T, nc *nats.Conn, c crier) {
	t.Helper()
	flush(t, c.nc)
	flush(t, nc)
	over := make(chan struct{})
	if err := nc.Barrier(func() { close(over) }); err != nil {
		t.Fatal(err)
	}
	<-over
}

func TestSubscription_ConnectsAgain(t *testing.T) {
	s, nc, c := hear(t, client.Config{}, client.OfUser("ann"))
	want(t, s, "missed")
	for range 3 {
		back := nc.StatusChanged(nats.CONNECTED)
		if err := nc.ForceReconnect(); err != nil {
			t.Fatal(err)
		}
		<-back
		want(t, s, "missed")
		flush(t, nc)
		c.cry("user.ann", `{"userID":"ann"}`)
		want(t, s, "ann")
	}
}

func TestSubscription_Ends(t *testing.T) {
	t.Run("with its connection", func(t *testing.T) {
		s, nc, _ := hear(t, client.Config{}, client.OfUser("ann"))
		want(t, s, "missed")
		ended := make(chan error, 1)
		go func() { _, err := s.Next(context.Background()); ended <- err }()
		nc.Close()
		if err := <-ended; !errors.Is(err, client.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("with a busy connection", func(t *testing.T) {
		s, nc, _ := hear(t, client.Config{}, client.OfUser("ann"))
		for range 12 { // more than the connection keeps for a listener
			back := nc.StatusChanged(nats.CONNECTED)
			if err := nc.ForceReconnect(); err != nil {
				t.Fatal(err)
			}
			<-back
			nc.RemoveStatusListener(back)
		}
		nc.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := s.Next(ctx)
		for err == nil && n.Missed {
			n, err = s.Next(ctx)
		}
		if !errors.Is(err, client.ErrClosed) {
			t.Error(n, err)
		}
	})
	t.Run("when it is closed", func(t *testing.T) {
		nc := dial(t)
		c, err := client.New(nc, client.Config{App: app(t)})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 { // in some of them the reader waits before it is closed
			s, err := c.Subscribe(client.OfUser("ann"))
			if err != nil {
				t.Fatal(err)
			}
			want(t, s, "missed")
			ended := make(chan error, 1)
			go func() { _, err := s.Next(context.Background()); ended <- err }()
			flush(t, nc)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, client.ErrClosed) {
				t.Error(err)
			}
			if err := s.Add(client.OfUser("bob")); !errors.Is(err, client.ErrClosed) {
				t.Error(err)
			}
		}
	})
	t.Run("after its connection", func(t *testing.T) {
		s, nc, _ := hear(t, client.Config{}, client.OfUser("ann"))
		nc.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("with the context", func(t *testing.T) {
		s, _, _ := hear(t, client.Config{}, client.OfUser("ann"))
		want(t, s, "missed")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		for _, err := range s.Notices(ctx) {
			if !errors.Is(err, gone) {
				t.Error(err)
			}
		}
	})
	t.Run("with the context though there are notices", func(t *testing.T) {
		s, nc, c := hear(t, client.Config{}, client.OfUser("ann"))
		want(t, s, "missed")
		c.cry("user.ann", `{"userID":"ann"}`)
		heardBy(t, nc, c)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for n, err := range s.Notices(ctx) {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(n, err)
			}
		}
		want(t, s, "ann") // it is kept for who asks again
	})
	t.Run("before it begins", func(t *testing.T) {
		nc := dial(t)
		nc.Close()
		c, err := client.New(nc, client.Config{App: "demo"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Subscribe(client.OfUser("ann")); !errors.Is(err, nats.ErrConnectionClosed) {
			t.Error(err)
		}
	})
}
