package projection_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestState_Compact holds that the compact form keeps all but large payloads and operators.
func TestState_Compact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for k, want := range fold(projectiontest.Events(t, 60)...).States {
			compact := string(want.AppendCompact([]byte("before"))[len("before"):])
			var got projection.State
			if err := got.DecodeCompact(compact); err != nil {
				t.Fatal(err)
			}
			light := *want
			light.Head = light.Head.Light()
			if light.Set != nil {
				set := *light.Set
				set.Member.Value.OperatorID = ""
				light.Set = &set
			}
			wantSame(t, "state of "+k.Owner+" "+k.ConversationID, &light, &got)

			for n := range compact {
				if got.DecodeCompact(compact[:n]) == nil {
					t.Fatalf("%d of %d bytes are taken for a whole", n, len(compact))
				}
			}
			if got.DecodeCompact(compact+"\x00") == nil {
				t.Fatal("a byte too many is taken")
			}
		}
	})
}

// TestState_CompactIsSmall holds a usual conversation to the bound that memory is planned with.
func TestState_CompactIsSmall(t *testing.T) {
	text := strings.Repeat("x", 60)
	m := projection.NewModel()
	m.Fold(events.Event{ID: "01JD3W8G7Q0000000000000000", App: "demo", Time: projectiontest.Now, Body: &events.MessageSent{
		Conversation: events.C2C("user-000001", "user-000002"), From: "user-000001", MessageID: "144115198371610486-1700000000-1234567",
		Sequence: 1234, Type: events.TypeText, Payload: []byte(`{"text":"` + text + `"}`), MessageForShow: text,
		Nick: "Somebody", Avatar: "https://example.com/a/user-000001.png",
	}})
	for k, s := range m.States {
		if n := len(s.AppendCompact(nil)); n > 400 {
			t.Errorf("%v takes %d bytes", k, n)
		}
	}
}
