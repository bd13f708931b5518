package projection_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// The tables of a batch are not written atomically together: for a moment, or
// until the batch is repeated after a crash, one may be without the other.

func profileOf(t *testing.T, own *projection.State) projection.LastMessage {
	t.Helper()
	c, ok := projection.NewConversation("ann", "C2Cbob", own, nil, nil)
	if !ok {
		t.Fatal("no conversation")
	}
	rules := projection.NewRules(projection.Plan{}, projectiontest.Now, func(string) bool { return false })
	item := c.Profile(projection.Details{}, rules)
	if _, err := json.Marshal(item); err != nil {
		t.Fatal(err)
	}
	return item.LastMessage
}

func TestItem_RecalledWithoutItsEditShowsNoText(t *testing.T) {
	last := profileOf(t, &projection.State{
		Head:     projection.Head{Sequence: 3, Time: projectiontest.Now, From: "bob", Type: events.TypeText, Preview: "secret"},
		Recalled: projection.SequencesOf(3),
	})
	if !last.IsRevoked || last.MessageForShow != "" || last.Revoker != nil {
		t.Errorf("got %+v", last)
	}
}

func TestItem_LargePayloadThatIsMissingIsNull(t *testing.T) {
	last := profileOf(t, &projection.State{
		Head: projection.Head{Sequence: 3, Time: projectiontest.Now, From: "bob", Type: "TIMCustomElem", PayloadBytes: 5000},
	})
	if last.Payload != nil {
		t.Errorf("got %s", last.Payload)
	}
	with := profileOf(t, &projection.State{
		Head: projection.Head{
			Sequence: 3, Time: projectiontest.Now, From: "bob", Type: "TIMCustomElem",
			PayloadBytes: 5000, LargePayload: `{"data":"` + strings.Repeat("x", 4989) + `"}`,
		},
	})
	if len(with.Payload) != 5000 {
		t.Errorf("got %d bytes", len(with.Payload))
	}
}
