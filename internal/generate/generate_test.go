package generate_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
)

func config() generate.Config {
	c := generate.DefaultConfig()
	c.Start = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)
	c.Apps = []string{"demo", "other"}
	c.People, c.Groups = 150, 20
	return c
}

func take(c generate.Config, n int) []events.Event {
	g := generate.New(c)
	list := make([]events.Event, n)
	for i := range list {
		list[i] = g.Next()
	}
	return list
}

func TestNext_SameConfigSameEvents(t *testing.T) {
	a, b := take(config(), 5000), take(config(), 5000)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Fatalf("two runs differ (-first +second):\n%s", diff)
	}
	other := config()
	other.Seed = 2
	if reflect.DeepEqual(a, take(other, 5000)) {
		t.Error("another seed gives the same events")
	}
}

// Every event survives both encodings unchanged.
func TestNext_Decodes(t *testing.T) {
	decoder := events.NewDecoder(events.DefaultLimits())
	for _, e := range take(config(), 60_000) {
		for contentType, encode := range map[string]func([]byte, events.Event) ([]byte, error){
			events.ContentTypeJSON: events.AppendJSON, events.ContentTypeProtobuf: events.AppendProtobuf,
		} {
			value, err := encode(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decoder.Decode(events.Record{
				Value:     value,
				Headers:   []events.Header{{Key: events.HeaderContentType, Value: []byte(contentType)}},
				Timestamp: e.Time.Time(),
			})
			if err != nil {
				t.Fatalf("%v\n%q", err, value)
			}
			if !reflect.DeepEqual(got, e) {
				t.Fatalf("%s changes an event (-want +got):\n%s", contentType, cmp.Diff(e, got))
			}
		}
	}
}

// conversation names one conversation of an app.
type conversation struct {
	app string
	events.Conversation
}

type membership struct{ app, group, user string }

// world checks what the package promises, event by event.
type world struct {
	t        *testing.T
	first    uint64
	last     map[conversation]uint64
	members  map[membership]events.GroupMemberChanged
	erased   map[[2]string]bool
	gone     map[[2]string]bool // dismissed groups
	messages map[string]bool
}

func TestNext_KeepsItsPromises(t *testing.T) {
	for _, first := range []uint64{0, 1_795_000_000_000_000} {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			c := config()
			c.FirstSequence = first
			w := &world{
				t: t, first: first,
				last: map[conversation]uint64{}, members: map[membership]events.GroupMemberChanged{},
				erased: map[[2]string]bool{}, gone: map[[2]string]bool{}, messages: map[string]bool{},
			}
			var before events.Event
			for _, e := range take(c, 150_000) {
				if e.Time <= before.Time || e.ID <= before.ID {
					t.Fatalf("%s at %s comes after %s at %s", e.ID, e.Time.Time(), before.ID, before.Time.Time())
				}
				before = e
				w.check(e)
				if t.Failed() {
					t.Fatalf("event %+v: %+v", e, e.Body)
				}
			}
			if len(w.erased) == 0 || len(w.gone) == 0 {
				t.Errorf("%d users erased, %d groups dismissed: want some of each", len(w.erased), len(w.gone))
			}
		})
	}
}

func (w *world) check(e events.Event) {
	switch b := e.Body.(type) {
	case *events.MessageSent:
		c := conversation{e.App, b.Conversation}
		if want := max(w.last[c], w.first) + 1; b.Sequence != want {
			w.t.Errorf("sequence %d, want %d", b.Sequence, want)
		}
		w.last[c] = b.Sequence
		if w.messages[b.MessageID] {
			w.t.Error("its message ID is taken")
		}
		w.messages[b.MessageID] = true
		w.alive(e.App, b.From)
		if b.Conversation.Type == events.TypeGroup {
			if w.gone[[2]string{e.App, b.Conversation.A}] {
				w.t.Error("the group is dismissed")
			}
			w.member(e.App, b.Conversation.A, b.From)
			for _, user := range b.AtUsers {
				w.member(e.App, b.Conversation.A, user)
			}
		} else {
			w.alive(e.App, b.Conversation.A)
			w.alive(e.App, b.Conversation.B)
		}
	case *events.ConversationRead:
		w.of(e.App, b.ConversationOf, b.Sequence)
	case *events.ConversationDeleted:
		w.of(e.App, b.ConversationOf, b.ThroughSequence)
	case *events.ConversationCleared:
		w.of(e.App, b.ConversationOf, b.ThroughSequence)
	case *events.GroupMemberChanged:
		w.alive(e.App, b.UserID)
		key := membership{e.App, b.GroupID, b.UserID}
		joined := w.members[key]
		if b.Status == events.StatusJoined {
			want := max(w.last[conversation{e.App, events.Group(b.GroupID)}], w.first)
			if joined.Status == events.StatusJoined {
				want = joined.JoinSequence
			}
			if b.JoinSequence != want {
				w.t.Errorf("joinSequence %d, want %d", b.JoinSequence, want)
			}
		}
		w.members[key] = *b
	case *events.GroupProfileChanged:
		if b.Dismissed {
			w.gone[[2]string{e.App, b.GroupID}] = true
		}
	case *events.UserErased:
		w.alive(e.App, b.UserID)
		w.erased[[2]string{e.App, b.UserID}] = true
	}
}

// of checks a register that names a sequence: the conversation's last one.
func (w *world) of(app string, of events.ConversationOf, sequence uint64) {
	w.alive(app, of.UserID)
	c := of.Conversation()
	if last := w.last[conversation{app, c}]; sequence != last {
		w.t.Errorf("sequence %d, want %d", sequence, last)
	}
	if c.Type == events.TypeGroup {
		w.member(app, c.A, of.UserID)
	}
}

func (w *world) member(app, group, user string) {
	w.alive(app, user)
	if w.members[membership{app, group, user}].Status != events.StatusJoined {
		w.t.Errorf("%q is not in %q", user, group)
	}
}

func (w *world) alive(app, user string) {
	if w.erased[[2]string{app, user}] {
		w.t.Errorf("%q is erased", user)
	}
}

// Whatever the contract knows comes now and then, and mostly people talk.
func TestNext_GivesEverything(t *testing.T) {
	bodies, types, features := map[string]int{}, map[string]int{}, map[string]int{}
	feature := func(name string, has bool) {
		if has {
			features[name]++
		} else {
			features[name] += 0
		}
	}
	const n = 200_000
	list := take(config(), n)
	for _, e := range list {
		bodies[e.Body.Kind()]++
		switch b := e.Body.(type) {
		case *events.MessageSent:
			types[b.Type]++
			feature(b.Conversation.Type.String(), true)
			feature("to oneself", b.Conversation.A == b.Conversation.B)
			feature("mentions one", len(b.AtUsers) > 0 && !b.AtAll)
			feature("mentions all", len(b.AtUsers) == 0 && b.AtAll)
			feature("mentions both", len(b.AtUsers) > 0 && b.AtAll)
			feature("onlineOnly", b.OnlineOnly)
			feature("excludedFromUnreadCount", b.ExcludedFromUnread)
			feature("excludedFromLastMessage", b.ExcludedFromLast)
			feature("cloudCustomData", b.CloudCustomData != "")
			feature("nameCard", b.NameCard != "")
			feature("long payload", len(b.Payload) > 1024)
		case *events.ConversationMarked:
			feature("hidden", len(b.MarkList) > 0 && b.MarkList[len(b.MarkList)-1] == events.MarkHidden)
		case *events.GroupMemberChanged:
			feature(b.Status, true)
		case *events.ConversationDeleted:
			feature("clearHistory", b.ClearHistory)
		case *events.MessageModified:
			feature("preview given", b.HasMessageForShow)
		}
	}
	for _, name := range []string{
		"messageSent", "messageRecalled", "messageModified", "conversationRead", "conversationPinned", "conversationRemindTypeSet",
		"conversationMarked", "conversationGroupsSet", "conversationCustomDataSet", "conversationDraftSet", "conversationDeleted",
		"conversationCleared", "groupMemberChanged", "groupProfileChanged", "userProfileChanged", "friendRemarkSet", "appPlanChanged", "userErased",
	} {
		if bodies[name] == 0 {
			t.Errorf("no %s in %d events", name, n)
		}
	}
	for _, name := range []string{
		"TIMTextElem", "TIMImageElem", "TIMSoundElem", "TIMVideoFileElem", "TIMFileElem", "TIMFaceElem", "TIMLocationElem", "TIMCustomElem",
		"TIMRelayElem", "TIMGroupTipElem", "TIMGroupSystemNoticeElem", "TIMPollElem",
	} {
		if types[name] == 0 {
			t.Errorf("no %s in %d messages", name, bodies["messageSent"])
		}
	}
	for name, count := range features {
		if count == 0 {
			t.Errorf("nothing with %q", name)
		}
	}
	if share := float64(bodies["messageSent"]) / n; share < 0.4 || share > 0.8 {
		t.Errorf("%.0f%% of events are messages, want 40 to 80", share*100)
	}
	want := time.Duration(n) * time.Second
	if took := list[n-1].Time.Time().Sub(list[0].Time.Time()); took < want*9/10 || took > want*11/10 {
		t.Errorf("%d events at 1/s take %s of chat time, want about %s", n, took, want)
	}
	t.Log(bodies, types, features)
}

// share is how much of all counts the largest have, top of them of 100.
func share[K comparable](counts map[K]int, top int) float64 {
	list := slices.SortedFunc(maps.Values(counts), func(a, b int) int { return b - a })
	of, all := 0, 0
	for i, n := range list {
		all += n
		if i < len(list)*top/100 {
			of += n
		}
	}
	return float64(of) / float64(all)
}

// A few people and groups do most of the talking, as they do in real chats.
func TestNext_HasHeavyTails(t *testing.T) {
	c := config()
	c.People, c.Groups = 3000, 300
	said, heard, friends, members := map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}
	for _, e := range take(c, 100_000) {
		switch b := e.Body.(type) {
		case *events.MessageSent:
			if b.Sequence == 1 && b.Conversation.Type == events.TypeC2C {
				friends[e.App+b.Conversation.A]++
				friends[e.App+b.Conversation.B]++
			}
			if b.Conversation.Type == events.TypeGroup {
				heard[e.App+b.Conversation.A]++
			}
			if b.Conversation.Type != events.TypeSystem {
				said[e.App+b.From]++
			}
		case *events.GroupMemberChanged:
			if b.Status == events.StatusJoined {
				members[e.App+b.GroupID]++
			}
		}
	}
	for name, tail := range map[string]struct{ got, want float64 }{
		"messages of 1% of the people":    {share(said, 1), 0.15},
		"messages of 10% of the people":   {share(said, 10), 0.45},
		"messages in 10% of the groups":   {share(heard, 10), 0.4},
		"members of 10% of the groups":    {share(members, 10), 0.35},
		"friendships of 1% of the people": {share(friends, 1), 0.1},
	} {
		if tail.got < tail.want || tail.got > 0.9 {
			t.Errorf("%s: a share of %.2f, want %.2f to 0.9", name, tail.got, tail.want)
		}
	}
}

// The chat is quick even when its events are few: half of the answers come within seconds.
func TestNext_PeopleAnswerAtOnce(t *testing.T) {
	c := config()
	c.Rate = 0.05
	last := map[conversation]events.Micros{}
	quick, all := 0, 0
	for _, e := range take(c, 50_000) {
		m, ok := e.Body.(*events.MessageSent)
		if !ok || m.Conversation.Type != events.TypeC2C {
			continue
		}
		at := conversation{e.App, m.Conversation}
		if before, ok := last[at]; ok {
			all++
			if e.Time-before < events.Micros(time.Minute/time.Microsecond) {
				quick++
			}
		}
		last[at] = e.Time
	}
	if quick*2 < all {
		t.Errorf("%d of %d messages follow within a minute, want half of them", quick, all)
	}
}

func TestUsers(t *testing.T) {
	c := config()
	c.People = 3000
	seen, oddOnes := map[string]bool{}, 0
	users := generate.New(c).Users("demo")
	for i, id := range users {
		if !events.ValidID(id) || seen[id] {
			t.Fatalf("user %d: %q is invalid or taken", i, id)
		}
		seen[id] = true
		if strings.ContainsAny(id, ` .*>/%"'`+"🎸") {
			oddOnes++
			if i < 3 {
				t.Errorf("%q is hard to type", id)
			}
		}
	}
	if len(users) != c.People || oddOnes < c.People/50 || oddOnes > c.People/5 {
		t.Errorf("%d users, %d of them odd", len(users), oddOnes)
	}
}

func TestNextAt_KeepsToTheClock(t *testing.T) {
	g := generate.New(config())
	now := time.Date(2026, 11, 23, 12, 0, 0, 5000, time.UTC)
	a, b, c := g.NextAt(now), g.NextAt(now), g.NextAt(now.Add(time.Second))
	if a.Time != events.MicrosOf(now) || b.Time != a.Time+1 || c.Time != a.Time+1_000_000 {
		t.Errorf("times %d, %d, %d", a.Time, b.Time, c.Time)
	}
}

// A chat of the past that reaches the present goes on there, however long its pauses.
func TestNextBy_IsNeverAhead(t *testing.T) {
	c := config()
	c.Rate = 0.01
	now := c.Start.Add(10 * time.Hour)
	g := generate.New(c)
	var last events.Micros
	for range 5000 {
		e := g.NextBy(now)
		if e.Time <= last || e.Time > events.MicrosOf(now)+5000 {
			t.Fatalf("event at %s after %s, now %s", e.Time.Time(), last.Time(), now)
		}
		last = e.Time
	}
	if last < events.MicrosOf(now) {
		t.Errorf("5,000 events at 0.01/s end at %s", last.Time())
	}
}

func TestNew_SmallestWorlds(t *testing.T) {
	for _, groups := range []int{0, 1} {
		c := config()
		c.People, c.Groups = 2, groups
		if n := len(take(c, 20_000)); n != 20_000 {
			t.Error(n)
		}
	}
}

func TestConfig_Validate(t *testing.T) {
	if err := generate.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	err := generate.Config{Apps: []string{"a", "a", "ä"}, People: 1, Groups: -1, Rate: -1, FirstSequence: 1 << 60, Retention: -1}.Validate()
	const want = `app "a": expected distinct names of 1 to 64 characters [A-Za-z0-9_-]
app "ä": expected distinct names of 1 to 64 characters [A-Za-z0-9_-]
people 1: expected 2 to 10000000
groups -1: expected 0 to 10000000
start 0001-01-01T00:00:00Z: expected a time from 2000 to 2200
chat rate -1: expected a positive number of events per second
first sequence 1152921504606846976: expected at most 9006099743113215
max conversations 0: expected 1 to 1000
retention -1ns: expected 0 (for ever) or more`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if err := (generate.Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "apps are missing: expected at least one") {
		t.Errorf("without apps: %v", err)
	}
}

func BenchmarkNext(b *testing.B) {
	c := config()
	c.People, c.Groups = 20_000, 2_000
	g := generate.New(c)
	b.ReportAllocs()
	for b.Loop() {
		g.Next()
	}
}
