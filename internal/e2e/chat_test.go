package e2e_test

import (
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// kills is how often a projector is killed.
const kills = 5

// TestChat_AnyOrderAnyCrash plays a chat twice: in order, and shuffled, a fifth
// of it repeated, into other topics with other numbers of partitions and through
// two projectors, real processes, which are killed (-9) in turn while they
// work and started again. Everybody asks for their list meanwhile, so that query
// workers have it in memory and must hear of what comes. In the end every reply
// to every user is byte for byte the same, and what reading the raw events by
// the contract's letter gives.
func TestChat_AnyOrderAnyCrash(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	clock := func() time.Time { return now }
	people := peopleOf(chat)

	inOrder := newSystemOf(t, rng, messagePartitions, statePartitions)
	inOrder.serve(clock)
	inOrder.project()
	for portion := range portions(chat) {
		inOrder.send(portion...)
		inOrder.visit(people)
	}
	inOrder.settle()
	t.Logf("in order: %d events are projected", len(chat))

	sent := slices.Clone(chat)
	shuffle := func() { rng.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] }) }
	shuffle()
	sent = append(sent, sent[:len(sent)/5]...)
	shuffle()

	shuffled := newSystemOf(t, rng, 2*messagePartitions+1, 2*statePartitions+1)
	shuffled.serve(clock)
	projectors := shuffled.startProjectors(2, len(sent))
	for portion := range portions(sent) {
		shuffled.send(portion...)
		if projectors.killed < kills {
			projectors.kill()
		}
		shuffled.visit(people)
	}
	shuffled.settle()
	t.Logf("shuffled: %d events are projected", len(sent))

	compareAll(t, people, bruteforce.New(chat, events.MicrosOf(now)), inOrder, shuffled)
}

// portions are one more than there are kills.
func portions(list []events.Event) iter.Seq[[]events.Event] {
	return slices.Chunk(list, len(list)/(kills+1)+1)
}
