package projectiontest

import (
	"fmt"
	"math"
	"time"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
)

// Now is a time shortly after all drawn events.
var Now = events.MicrosOf(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))

// Apps, Users and Groups are all that drawn events name. Some are odd on purpose.
var (
	Apps   = []string{"demo", "other"}
	Users  = []string{"ann", "bob", "O'Brien\\", "*.>", "C2C", "emoji 😀/%"}
	Groups = []string{"g1", "GROUP'2\\", "g {x:String} 3"}
)

// Events draws up to n events in no particular order. IDs are distinct within
// an app. Each draw has its own few users, groups, moments, sequences and kinds
// of events, so that in some of them the rarest things meet.
func Events(t *rapid.T, n int) []events.Event {
	counts := make(map[string]int)
	return draw(t, n, func(app string) string {
		counts[app]++
		return fmt.Sprintf("e%d", counts[app]-1)
	})
}

// Tied draws events as Events does, but for IDs that name several of them: a
// producer's fault, after which the order of events must still not matter.
func Tied(t *rapid.T, n int) []events.Event {
	return draw(t, n, func(string) string { return rapid.SampledFrom([]string{"e", "f"}).Draw(t, "id") })
}

func draw(t *rapid.T, n int, id func(app string) string) []events.Event {
	d := newDrawer(t)
	list := make([]events.Event, many(t, n))
	for i := range list {
		app := rapid.SampledFrom(d.apps).Draw(t, "app")
		list[i] = events.Event{ID: id(app), App: app, Time: d.time(), Body: rapid.SampledFrom(d.kinds).Draw(t, "kind")(d)}
	}
	return list
}

// many draws up to n, more often a lot than a little.
func many(t *rapid.T, n int) int {
	count := rapid.IntRange(0, n)
	return max(count.Draw(t, "events"), count.Draw(t, "events"), count.Draw(t, "events"))
}

// drawer draws the events of one chat.
type drawer struct {
	t                   *rapid.T
	apps, users, groups []string
	types               []events.ConversationType
	// moments are times that several events have.
	moments []events.Micros
	// lastSequence is the greatest sequence that is not far away.
	lastSequence uint64
	// loud says that all messages count, mention everyone, follow each other
	// in one group, and come from one user: some then see more mentions than
	// an item names.
	loud bool
	// places are those of the messages so far.
	places []place
	// kinds are the bodies to draw, the frequent ones several times.
	kinds []func(*drawer) events.Body
}

// place is where a message is.
type place struct {
	conversation events.Conversation
	sequence     uint64
}

func newDrawer(t *rapid.T) *drawer {
	d := &drawer{
		t:            t,
		apps:         some(t, "apps", Apps),
		users:        some(t, "users", Users),
		groups:       some(t, "groups", Groups),
		types:        some(t, "types", []events.ConversationType{events.TypeC2C, events.TypeGroup, events.TypeSystem}),
		lastSequence: rapid.SampledFrom([]uint64{12, 3, 60}).Draw(t, "lastSequence"),
		loud:         rapid.IntRange(0, 7).Draw(t, "loud") == 7,
	}
	if d.loud {
		d.apps, d.groups, d.types = d.apps[:1], d.groups[:1], []events.ConversationType{events.TypeGroup}
	}
	for range rapid.IntRange(1, 4).Draw(t, "moments") {
		d.moments = append(d.moments, moment(t))
	}
	// Messages come first: rapid draws the first of several most often.
	for range rapid.IntRange(1, 16).Draw(t, "messages") {
		d.kinds = append(d.kinds, (*drawer).messageSent)
	}
	all := rapid.Bool().Draw(t, "allKinds")
	for _, k := range kinds {
		if all || rapid.Bool().Draw(t, "withKind") {
			for range k.weight {
				d.kinds = append(d.kinds, k.draw)
			}
		}
	}
	return d
}

// some draws at least one of a few.
func some[T any](t *rapid.T, label string, all []T) []T {
	order := rapid.Permutation(all).Draw(t, label)
	return order[:rapid.IntRange(1, len(all)).Draw(t, label)]
}

// moment draws from the nine days before Now, so that some are expired, or from long ago.
func moment(t *rapid.T) events.Micros {
	if rapid.IntRange(0, 19).Draw(t, "old") == 0 {
		return events.MicrosOf(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	hours := rapid.IntRange(0, 9*24).Draw(t, "hoursAgo")
	return Now - events.Micros(hours)*3_600_000_000 - events.Micros(rapid.SampledFrom([]int64{0, 1, 999_999}).Draw(t, "microsAgo"))
}

// time is an event's: often that of another one.
func (d *drawer) time() events.Micros {
	if rapid.IntRange(0, 2).Draw(d.t, "own") == 0 {
		return moment(d.t)
	}
	return rapid.SampledFrom(d.moments).Draw(d.t, "moment")
}

// anyTime is a time within a body, which no rule keeps near.
func (d *drawer) anyTime() events.Micros {
	return rapid.SampledFrom([]events.Micros{
		0, Now, Now - 1, -1, -1_000_001,
		events.MicrosOf(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)),
		events.MicrosOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)),
	}).Draw(d.t, "anyTime")
}

func (d *drawer) user() string  { return rapid.SampledFrom(d.users).Draw(d.t, "user") }
func (d *drawer) group() string { return rapid.SampledFrom(d.groups).Draw(d.t, "group") }

// userOrNone draws a user, or none.
func (d *drawer) userOrNone() string {
	if d.flag() {
		return ""
	}
	return d.user()
}

func (d *drawer) conversation() events.Conversation {
	switch rapid.SampledFrom(d.types).Draw(d.t, "type") {
	case events.TypeC2C:
		return events.C2C(d.user(), d.user())
	case events.TypeGroup:
		return events.Group(d.group())
	default:
		return events.System(d.user())
	}
}

func (d *drawer) sequence() uint64 {
	if rapid.IntRange(0, 31).Draw(d.t, "far") == 31 {
		return rapid.SampledFrom([]uint64{1 << 32, 1<<32 - 1, events.MaxSequence, 100_000}).Draw(d.t, "sequence")
	}
	return rapid.Uint64Range(1, d.lastSequence).Draw(d.t, "sequence")
}

// place draws the place of a message: usually of one that is there.
func (d *drawer) place() place {
	if len(d.places) > 0 && !d.flag() {
		return rapid.SampledFrom(d.places).Draw(d.t, "place")
	}
	return place{d.conversation(), d.sequence()}
}

// of draws a user and one of their conversations.
func (d *drawer) of() events.ConversationOf {
	c := d.place().conversation
	user := d.oneOf(c.A, c.Peer(c.A))
	switch c.Type {
	case events.TypeGroup:
		user = d.user()
	case events.TypeSystem:
		user = c.A
	case events.TypeC2C:
	}
	return events.ConversationOf{UserID: user, ConversationID: c.IDFor(user)}
}

// sequenceOrZero draws a sequence up to which something is reached.
func (d *drawer) sequenceOrZero() uint64 {
	if rapid.IntRange(0, 5).Draw(d.t, "zero") == 0 {
		return 0
	}
	return d.place().sequence
}

// number draws a count, which has no bound but that of its encoding.
func (d *drawer) number() uint64 {
	return rapid.SampledFrom([]uint64{0, 7, events.MaxSequence, math.MaxInt64}).Draw(d.t, "number")
}

func (d *drawer) number32() uint32 {
	return rapid.SampledFrom([]uint32{0, 20_000_101, math.MaxUint32}).Draw(d.t, "number32")
}

func (d *drawer) text() string { return d.oneOf("", "hello", "it's \\ \t\n\"<&>", "世界") }

func (d *drawer) oneOf(values ...string) string { return rapid.SampledFrom(values).Draw(d.t, "value") }

func (d *drawer) flag() bool { return rapid.IntRange(0, 3).Draw(d.t, "flag") == 0 }
