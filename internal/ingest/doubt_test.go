package ingest

import (
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestConsumer_CommitInDoubt has the first commit of each member vanish with its
// connection. It may still get there when its member has joined again, and must then be of
// a generation that is over: else it puts back what was committed since.
func TestConsumer_CommitInDoubt(t *testing.T) {
	h := newEmbedded(t, 2)
	var mu sync.Mutex
	vanished := map[string]int32{} // the generation, by member
	h.cluster.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		req := r.(*kmsg.OffsetCommitRequest)
		mu.Lock()
		defer mu.Unlock()
		generation, has := vanished[req.MemberID]
		if !has {
			vanished[req.MemberID] = req.Generation
			return nil, errSink, true
		}
		if req.Generation <= generation {
			t.Errorf("%s commits in generation %d, in which a commit may be under way", req.MemberID, req.Generation)
		}
		return nil, nil, false
	})
	first, second := h.run(h.config(), h.sink), h.run(h.config(), h.sink)
	h.awaitMembers(2, 4)
	for p := range 2 {
		h.produce(messagesTopic, p, h.messages(5)...)
		h.produce(stateTopic, p, h.messages(5)...)
	}
	h.awaitAll()
	h.checkModel()

	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	g, err := offsets.Group(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range g.Members {
		if m.Process != first.Process() && m.Process != second.Process() {
			t.Errorf("process %q is in the group, and none that was started", m.Process)
		}
	}
	first.mustStop()
	second.mustStop()
	if len(vanished) < 2 {
		t.Errorf("commits of %d members vanished, want 2", len(vanished))
	}
}

// TestBalancer_InDoubt says something new with each doubt, not with the first alone, and
// nothing new without.
func TestBalancer_InDoubt(t *testing.T) {
	b := &balancer{process: "p"}
	join := func() string {
		t.Helper()
		data, err := b.UserData()
		if err != nil || processOf(data) != "p" {
			t.Errorf("%q is of process %q, %v", data, processOf(data), err)
		}
		return string(data)
	}
	for before, n := join(), 1; n <= 3; n++ {
		if now := join(); now != before {
			t.Errorf("%q after %q, and no doubt", now, before)
		}
		b.inDoubt(true)
		now := join()
		if now == before {
			t.Errorf("%q again with doubt %d", now, n)
		}
		before = now
	}
}
