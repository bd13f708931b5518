package projection_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// TestState_Compact holds that the compact form keeps all but large payloads, operators, and
// what the owner has read.
func TestState_Compact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var decoder projection.CompactDecoder
		for k, want := range fold(projectiontest.Events(t, 60)...).States {
			compact := string(want.AppendCompact([]byte("before"))[len("before"):])
			got, err := decoder.Decode(compact)
			if err != nil {
				t.Fatal(err)
			}
			light := *want
			light.Head = light.Head.Light()
			if light.Set != nil {
				set := *light.Set
				set.Member.Value.OperatorID = ""
				light.Set = &set
			}
			wantSame(t, "state of "+k.Owner+" "+k.ConversationID, unread(&light), unread(got))

			for n := range compact {
				if _, err := decoder.Decode(compact[:n]); err == nil {
					t.Fatalf("%d of %d bytes are taken for a whole", n, len(compact))
				}
			}
			if _, err := decoder.Decode(compact + "\x00"); err == nil {
				t.Fatal("a byte too many is taken")
			}
		}
	})
}

// unread is a state without the messages and mentions that its owner has read.
func unread(s *projection.State) *projection.State {
	read, left := max(s.Read.Sequence, s.Sent, s.Deleted, s.Cleared), *s
	above := func(set projection.Sequences) (left projection.Sequences) {
		for v := range set.All() {
			if v > read {
				left.Add(v)
			}
		}
		return left
	}
	left.Days, left.Mentions = nil, nil
	for _, d := range s.Days {
		left.Days = append(left.Days, projection.Day{Day: d.Day, Counted: above(d.Counted), Uncounted: above(d.Uncounted)})
	}
	for _, m := range s.Mentions {
		if m.Sequence > read {
			left.Mentions = append(left.Mentions, m)
		}
	}
	return &left
}

// TestState_CompactAnswersTheSame has every state in its compact form between any two events,
// as those in a query worker's memory are, and compares the lists.
func TestState_CompactAnswersTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := projectiontest.Events(t, 60)
		whole, kept := fold(all...), fold(all...)
		kept.States = map[projection.Key]*projection.State{}
		for _, e := range shuffled(t, all) {
			for k, s := range fold(e).States {
				if kept.States[k] == nil {
					kept.States[k] = &projection.State{}
				}
				kept.States[k].Merge(s)
				decoded, err := new(projection.CompactDecoder).Decode(string(kept.States[k].AppendCompact(nil)))
				if err != nil {
					t.Fatal(err)
				}
				kept.States[k] = decoded
			}
		}
		for _, app := range projectiontest.Apps {
			want, got := projectiontest.NewReader(app, whole, projectiontest.Now), projectiontest.NewReader(app, kept, projectiontest.Now)
			for _, user := range projectiontest.Users {
				for _, f := range plainFilters {
					wantEqual(t, "list of "+user+", filter "+encode(t, f), encode(t, want.List(user, f)), encode(t, got.List(user, f)))
				}
			}
		}
	})
}

// TestState_CompactForgetsWhatIsRead holds that what a conversation takes does not grow with
// the messages that its owner has read, whose sequences may be a clock's.
func TestState_CompactForgetsWhatIsRead(t *testing.T) {
	const messages, second, unread = 10_000, 1_000_000, 3
	var s projection.State
	for i := range uint64(messages) {
		day := events.Day(i / 1000)
		if i%1000 == 0 {
			s.Days = append(s.Days, projection.Day{Day: day})
		}
		s.Days[day].Counted.Add(i * second)
		s.Days[day].Uncounted.Add(i*second + 1)
		s.Mentions = append(s.Mentions, projection.Mention{Day: day, Sequence: i * second})
	}
	s.Sent = (messages - 1 - unread) * second
	compact := s.AppendCompact(nil)
	got, err := new(projection.CompactDecoder).Decode(string(compact))
	if err != nil {
		t.Fatal(err)
	}
	if most := 200; len(compact) > most {
		t.Errorf("%d bytes, expected at most %d", len(compact), most)
	}
	if last := got.Days[len(got.Days)-1]; last.Counted.Len() != unread || len(got.Mentions) != unread {
		t.Errorf("%d messages and %d mentions are left, expected %d", last.Counted.Len(), len(got.Mentions), unread)
	}
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

// TestState_CompactIsDecodedWithoutGarbage holds that a state is decoded where another one was:
// that happens a hundred thousand times a second.
func TestState_CompactIsDecodedWithoutGarbage(t *testing.T) {
	compact := string((&projection.State{Head: &projection.Head{ID: "m", Sequence: 8}, Set: &projection.Settings{
		Remark: projection.Register[string]{Version: projection.Version{Time: 1, ID: "e"}, Value: "the boss"},
	}}).AppendCompact(nil))
	var decoder projection.CompactDecoder
	n := testing.AllocsPerRun(100, func() {
		if _, err := decoder.Decode(compact); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}
