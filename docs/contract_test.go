package docs_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

// recordTime is the timestamp of the records in the contract's examples.
var recordTime = time.Date(2026, 11, 23, 3, 0, 5, 0, time.UTC)

// decode decodes a record whose timestamp leaves the examples' times alone.
func decode(value string, timestamp time.Time) (events.Event, error) {
	return events.NewDecoder(events.DefaultLimits()).Decode(events.Record{Value: []byte(value), Timestamp: timestamp})
}

// exampleEvents are the events that the contract shows, one a line.
func exampleEvents(t *testing.T) []events.Event {
	t.Helper()
	var all []events.Event
	for _, b := range readPage(t, "CONTRACT.md").section("2. Events in", "3. What it means") {
		if b.kind != code {
			continue
		}
		for line := range strings.Lines(b.text) {
			e, err := decode(line, recordTime.Add(time.Hour))
			if err != nil {
				t.Errorf("CONTRACT.md:%d: %s: %v", b.line, line, err)
				continue
			}
			if e.UnknownFields > 0 {
				t.Errorf("CONTRACT.md:%d: %s: %d unknown fields", b.line, line, e.UnknownFields)
			}
			all = append(all, e)
		}
	}
	return all
}

// TestContract_Events holds that each event of the contract decodes, and that
// there is one of every body.
func TestContract_Events(t *testing.T) {
	want := bodyNames()
	var got []string
	ids := map[string]bool{}
	for _, e := range exampleEvents(t) {
		got = append(got, e.Body.Kind())
		if ids[e.ID] {
			t.Errorf("two events have the id %s", e.ID)
		}
		ids[e.ID] = true
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("bodies (-the schema's +the examples'):\n%s", diff)
	}
}

// TestContract_Keys holds that the keys in the contract are those of its events.
func TestContract_Keys(t *testing.T) {
	keys := map[string]bool{}
	for _, e := range exampleEvents(t) {
		keys[events.Key(e)] = true
	}
	printed := 0
	for _, b := range readPage(t, "CONTRACT.md").section("2. Events in", "3. What it means") {
		if b.kind != row || b.cell("key") == "" {
			continue
		}
		for _, key := range spans(b.cell("key")) {
			if printed++; !keys[key] {
				t.Errorf("CONTRACT.md:%d: %s is no example event's key: write that of one", b.line, key)
			}
		}
	}
	if printed == 0 {
		t.Error("no keys")
	}
}

// bodyNames are the schema's bodies.
func bodyNames() []string {
	var names []string
	fields := (&eventspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	for i := range fields.Len() {
		names = append(names, fields.Get(i).JSONName())
	}
	slices.Sort(names)
	return names
}

// TestContract_DeadLetters holds that each example of the table of codes gets
// the code and the reason that stand beside it, and that every code is there.
func TestContract_DeadLetters(t *testing.T) {
	dirs, err := os.ReadDir("../schemas/samples/bad")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, d := range dirs {
		if d.IsDir() {
			want = append(want, d.Name())
		}
	}
	for _, b := range readPage(t, "CONTRACT.md").section("2. Events in", "3. What it means") {
		reason := b.cell("reason given")
		if b.kind != row || reason == "" {
			continue
		}
		code := strings.Trim(b.cell("code"), "`")
		got = append(got, code)
		_, err := decode(deadExample(b.cell("for example")), recordTime)
		var dead *events.Error
		if !errors.As(err, &dead) {
			t.Errorf("CONTRACT.md:%d: %v, want %s", b.line, err, code)
			continue
		}
		if want := code + ": " + strings.ReplaceAll(reason, `\<`, "<"); dead.Error() != want {
			t.Errorf("CONTRACT.md:%d:\n got %s\nwant %s", b.line, dead, want)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-of the samples +of the page):\n%s", diff)
	}
}

// deadExample is the value that a cell shows or describes.
func deadExample(cell string) string {
	const header = `{"id":"e-1","app":"demo","time":"2026-11-23T03:00:00Z",`
	if strings.HasPrefix(cell, "a `conversationDraftSet` whose `draftText` has 4,097 bytes") {
		return header + `"conversationDraftSet":{"userID":"ann","conversationID":"C2Cbob","draftText":"` + strings.Repeat("x", 4097) + `"}}`
	}
	value := strings.Trim(cell, "`")
	if rest, isObject := strings.CutPrefix(value, "{"); isObject && !strings.HasPrefix(value, `{"id"`) {
		return header + rest
	}
	return value
}
