package feed

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// losses is a Handler that counts them.
type losses int

func (*losses) Apply(*projection.Model, []events.Event) {}
func (l *losses) Lost()                                 { *l++ }

func newTestFollower(h Handler) *Follower {
	return NewFollower(DefaultConfig(), nil, h, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

func hear(t *testing.T, f *Follower, by string, now time.Time, a *feedpb.Announcement) {
	t.Helper()
	data, err := proto.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	f.take(&nats.Msg{Subject: SubjectPrefix + by, Data: data}, now)
}

// TestFollower_TellsWhatItMisses holds which losses are gaps: the handler hears of all, but not
// for each that speaks for the first time since the connection was away is there a gap more.
func TestFollower_TellsWhatItMisses(t *testing.T) {
	var l losses
	f := newTestFollower(&l)
	silence, number := f.config.Silence, uint64(0)
	misses := func(now time.Time) { // every other announcement of its projector
		t.Helper()
		number += 2
		hear(t, f, "p", now, &feedpb.Announcement{Number: number})
	}
	for i, step := range []struct {
		what string
		do   func()
		gaps float64
	}{
		{"settled", func() { misses(time.Now().Add(2 * silence)) }, 1},
		{"the connection is lost", func() { f.connection(nats.RECONNECTING) }, 2},
		{"it is tried again", func() { f.connection(nats.DISCONNECTED) }, 2},
		{"heard before it was lost, taken after", func() { misses(time.Now().Add(2 * silence)) }, 2},
		{"it is back", func() { f.connection(nats.CONNECTED) }, 2},
		{"the first that is heard", func() { misses(time.Now()) }, 2},
		{"settled again", func() { misses(time.Now().Add(2 * silence)) }, 3},
	} {
		step.do()
		if got := testutil.ToFloat64(f.metrics.gaps); got != step.gaps || int(l) != i+1 {
			t.Errorf("%s: %v gaps and %d losses, want %v and %d", step.what, got, l, step.gaps, i+1)
		}
	}
}

// TestFollower_TakesNothingBack has a projector that thinks it still owns a partition repeat
// what it has applied, which is less than others have: whoever waits for more has it.
func TestFollower_TakesNothingBack(t *testing.T) {
	f := newTestFollower(new(losses))
	begun := []*feedpb.Topic{{Name: "t", Partitions: 1}}
	hear(t, f, "a", begin, &feedpb.Announcement{Number: 1, Topics: begun, Ranges: ranges([3]int64{0, 0, 20})})
	hear(t, f, "b", begin, &feedpb.Announcement{Number: 1, Ranges: ranges([3]int64{0, 20, 40})})
	hear(t, f, "a", begin, &feedpb.Announcement{Number: 2, Ranges: ranges([3]int64{0, 20, 30})})
	over, end := context.WithCancel(t.Context())
	end()
	if err := f.Await(over, events.Partition{Topic: "t"}, 39); err != nil {
		t.Errorf("what was applied: got %v", err)
	}
	if err := f.Await(over, events.Partition{Topic: "t"}, 40); !errors.Is(err, context.Canceled) {
		t.Errorf("what was not: got %v", err)
	}
}
