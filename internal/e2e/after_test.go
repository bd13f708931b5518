package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// after names all that is in the topics now.
func (s *system) after() (after []map[string]any) {
	s.t.Helper()
	for p, end := range s.ends() {
		if end > 0 {
			after = append(after, map[string]any{"topic": p.Topic, "partition": p.ID, "offset": end - 1})
		}
	}
	return after
}

// TestAfter_ReadsWhatWasWritten asks for a list right after each write, without
// waiting for anything but what the request itself says.
func TestAfter_ReadsWhatWasWritten(t *testing.T) {
	s := newSystem(t)
	s.project()
	s.serve(time.Now)
	for i := range uint64(20) {
		s.send(events.Event{
			ID: fmt.Sprint(i), App: "demo", Time: events.MicrosOf(time.Now()), Body: text(events.C2C("ann", "bob"), "bob", i+1),
		})
		after := s.after()
		var unread unreadReply
		if err := s.ask("unread", "demo", map[string]any{"userID": "ann", "after": after}, &unread); err != nil {
			t.Fatal(err)
		}
		if unread.Data.Total != i+1 {
			t.Fatalf("after %d messages %d are unread", i+1, unread.Data.Total)
		}
	}
	absent := map[string]any{"topic": s.messages, "partition": messagePartitions, "offset": 0}
	never := map[string]any{"topic": s.messages, "partition": 0, "offset": 1000}
	for _, c := range []struct {
		name      string
		after     []map[string]any
		timeoutMs int
		code      string
	}{
		{"a partition that does not exist", []map[string]any{absent}, 5000, "400"},
		{"a topic that is not projected", []map[string]any{{"topic": s.dead, "partition": 0, "offset": 0}}, 5000, "400"},
		{"an offset that nothing has", []map[string]any{never}, 100, "504"},
		{"such an offset and such a partition", []map[string]any{never, absent}, 5000, "400"},
	} {
		reply, err := s.requestOnce("list", "demo", map[string]any{"userID": "ann", "timeoutMs": c.timeoutMs, "after": c.after})
		const why = ", partition 0, offset 1000: expected to be applied within timeoutMs 100, and is not yet"
		if c.code == "504" && !strings.Contains(reply.data, why) {
			t.Errorf("%s: %s", c.name, reply.data)
		}
		if err != nil || reply.code != c.code {
			t.Errorf("%s: got %+v, %v, want %s", c.name, reply, err, c.code)
		}
	}
}
