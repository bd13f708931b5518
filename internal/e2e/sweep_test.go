package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/readmodel"
)

// TestSweep_BesideTheLiveSystem sweeps all the time while a chat goes on in which users
// were erased from early on, so that most of what is of them comes late. Every reply is
// that of the brute force, and so it is after a last sweep, which leaves nothing; and a
// generation that is rebuilt, and never swept, is found equal.
func TestSweep_BesideTheLiveSystem(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	people := peopleOf(chat)
	for i, e := range chat {
		if _, ok := e.Body.(*events.UserErased); ok {
			early := rng.IntN(len(chat) / 4)
			chat[early], chat[i] = chat[i], chat[early]
		}
	}
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.serve(func() time.Time { return now })
	s.project()
	store := s.readModel.Generation(1)
	sweep := func(ctx context.Context) (rows uint64, err error) {
		swept, err := store.Sweep(ctx, func(readmodel.Sweeping) {})
		for _, u := range swept {
			rows += u.Deleted + u.Blanked
		}
		return rows, err
	}
	swept := uint64(0)
	stop := s.run("sweep", func(ctx context.Context) error {
		for ctx.Err() == nil {
			rows, err := sweep(context.WithoutCancel(ctx))
			if err != nil {
				return err
			}
			swept += rows
		}
		return nil
	})
	for list := range portions(chat) {
		s.send(list...)
		s.settle()
		s.visit(people)
	}
	stop()
	t.Logf("swept %d rows meanwhile", swept)

	want := bruteforce.New(chat, events.MicrosOf(now))
	compareAll(t, people, want, s)
	if _, err := sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows, err := sweep(t.Context()); err != nil || rows > 0 {
		t.Errorf("%d rows are left after a sweep (%v)", rows, err)
	}
	compareAll(t, people, want, s)
	if err := s.rebuild(toTheEnd); err != nil {
		t.Fatal(err)
	}
	if found := s.verify(now, true, 10); len(found.Differences) > 0 || !found.Whole {
		t.Errorf("a swept generation differs from one that is not: %+v", found)
	}
	s.switchTo(2)
	compareAll(t, people, want, s)
}
