package projection_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// The tables of a batch are not written atomically together: for a moment, or
// until the batch is repeated after a crash, one may be without the other.

func profileOf(t *testing.T, own *projection.State, edit projection.Edit) projection.LastMessage {
	t.Helper()
	c, ok := projection.NewConversation("ann", "C2Cbob", own, nil, nil)
	if !ok {
		t.Fatal("no conversation")
	}
	rules := projection.NewRules(projection.Plan{}, projectiontest.Now, func(string) bool { return false })
	item := c.Profile(projection.Details{Edit: edit}, rules)
	if _, err := json.Marshal(item); err != nil {
		t.Fatal(err)
	}
	return item.LastMessage
}

func TestItem_RecalledShowsNoText(t *testing.T) {
	edit := projection.Edit{Recall: projection.Register[projection.Recall]{
		Version: projection.Version{Time: projectiontest.Now, ID: "1"}, Value: projection.Recall{Revoker: "bob"},
	}}
	for _, c := range []struct {
		name     string
		recalled projection.Sequences
		edit     projection.Edit
		revoker  string
	}{
		{"with its edit", projection.SequencesOf(3), edit, "bob"},
		{"without its edit", projection.SequencesOf(3), projection.Edit{}, ""},
		{"by its edit alone", nil, edit, "bob"},
	} {
		last := profileOf(t, &projection.State{
			Head:     &projection.Head{Sequence: 3, Time: projectiontest.Now, From: "bob", Type: events.TypeText, Preview: "secret"},
			Recalled: c.recalled, EditedSequence: 3,
		}, c.edit)
		revoker := ""
		if last.Revoker != nil {
			revoker = *last.Revoker
		}
		if !last.IsRevoked || last.MessageForShow != "" || revoker != c.revoker {
			t.Errorf("%s: got %+v", c.name, last)
		}
	}
}

func TestItem_LargePayloadThatIsMissingIsNull(t *testing.T) {
	last := profileOf(t, &projection.State{
		Head: &projection.Head{Sequence: 3, Time: projectiontest.Now, From: "bob", Type: "TIMCustomElem", PayloadBytes: 5000},
	}, projection.Edit{})
	if last.Payload != nil {
		t.Errorf("got %s", last.Payload)
	}
	with := profileOf(t, &projection.State{
		Head: &projection.Head{
			Sequence: 3, Time: projectiontest.Now, From: "bob", Type: "TIMCustomElem",
			PayloadBytes: 5000, LargePayload: `{"data":"` + strings.Repeat("x", 4989) + `"}`,
		},
	}, projection.Edit{})
	if len(with.Payload) != 5000 {
		t.Errorf("got %d bytes", len(with.Payload))
	}
}

func TestModel_ConflictsNameThePlace(t *testing.T) {
	sent := func(id, from, to string) events.Event {
		return events.Event{ID: id, App: "demo", Time: projectiontest.Now, Body: &events.MessageSent{
			Conversation: events.C2C(from, to), From: from, MessageID: id, Sequence: 5, Type: events.TypeText,
		}}
	}
	place := projection.EditKey{App: "demo", Conversation: events.C2C("ann", "bob"), Sequence: 5}

	one := projection.NewModel()
	one.Fold(sent("1", "ann", "bob"))
	one.Fold(sent("1", "ann", "bob")) // a repeat is none
	if len(one.Conflicts) != 0 {
		t.Errorf("a repeat: got %v", one.Conflicts)
	}
	one.Fold(sent("2", "bob", "ann")) // both ends count by themselves
	if diff := cmp.Diff([]projection.EditKey{place}, one.Conflicts); diff != "" {
		t.Errorf("within a batch (-want +got):\n%s", diff)
	}

	next, elsewhere := sent("3", "ann", "bob"), sent("4", "ann", "carol")
	next.Body.(*events.MessageSent).Sequence++
	one.Fold(next)
	one.Fold(elsewhere)
	if diff := cmp.Diff([]projection.EditKey{place}, one.Conflicts); diff != "" {
		t.Errorf("with messages in other places (-want +got):\n%s", diff)
	}

	whole := projection.NewModel()
	whole.Merge(one)
	if diff := cmp.Diff([]projection.EditKey{place}, whole.Conflicts); diff != "" {
		t.Errorf("of a part (-want +got):\n%s", diff)
	}

	days, later := projection.NewModel(), sent("3", "ann", "bob")
	later.Time += events.Micros(24 * time.Hour / time.Microsecond)
	later.Body.(*events.MessageSent).ExcludedFromUnread = true
	days.Fold(later)
	days.Fold(sent("1", "ann", "bob"))
	if diff := cmp.Diff([]projection.EditKey{place}, days.Conflicts); diff != "" {
		t.Errorf("on two days (-want +got):\n%s", diff)
	}
}
