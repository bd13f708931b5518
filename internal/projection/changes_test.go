package projection_test

import (
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestChanges_NameRegistersBesideOthers holds that of whatever was set it is said that
// something was, also where a conversation has other news.
func TestChanges_NameRegistersBesideOthers(t *testing.T) {
	of := events.ConversationOf{UserID: "ann", ConversationID: "C2Cbob"}
	for _, body := range []events.Body{
		&events.ConversationPinned{ConversationOf: of},
		&events.ConversationRemindTypeSet{ConversationOf: of, MessageRemindType: events.RemindDiscard},
		&events.ConversationMarked{ConversationOf: of},
		&events.ConversationGroupsSet{ConversationOf: of},
		&events.ConversationCustomDataSet{ConversationOf: of},
		&events.ConversationDraftSet{ConversationOf: of},
		&events.ConversationDeleted{ConversationOf: of, ThroughSequence: 1},
		&events.ConversationCleared{ConversationOf: of, ThroughSequence: 1},
		&events.FriendRemarkSet{UserID: "ann", FriendID: "bob"},
	} {
		changes := projection.Changes{}
		changes.Add(fold(
			events.Event{ID: "e", App: "demo", Time: projectiontest.Now, Body: &events.ConversationRead{ConversationOf: of, Sequence: 1}},
			events.Event{ID: "f", App: "demo", Time: projectiontest.Now, Body: body},
		))
		change := changes[projection.Whose{App: "demo", UserID: "ann"}]
		if change == nil || change.Kinds != projection.KindRead|projection.KindRegister {
			t.Errorf("%s: got %+v, want a read and a register", body.Kind(), change)
		}
	}
}
