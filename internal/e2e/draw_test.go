package e2e_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

var (
	eventsFlag = flag.Int("events", 4000, "how many events the generated chat has")
	chatFile   = flag.String("chat", "", "play the chat of this file (JSON lines of chatload, gzip) instead of a generated one")
)

// apps of a generated chat.
var apps = []string{"demo", "second"}

// configOf is a chat of n events of the kind that a real one is. One of 386,717
// events has 196,146 messages by 21,685 users, who list 59,452 conversations:
// most users one or two, the busiest 1,117. In 400,000 events here 200,000 are
// messages, by 21,500 users, who list 63,000 conversations: most users two, the
// busiest 950, since desks (see drawing) make them busy.
//
// A chat of any size takes about 40 days, of which those before the last 30
// are expired, and lists of its busiest users are cut.
func configOf(n int, seed uint64) generate.Config {
	const days = 40
	config := generate.DefaultConfig()
	config.Seed = seed
	config.Apps = apps
	config.People = max(20, n*14/400)
	config.Groups = max(12, n/1000) // of all kinds
	config.Start = time.Date(2025, 2, 20, 15, 0, 0, 0, time.UTC)
	config.Rate = float64(n) / (days * 24 * time.Hour).Seconds()
	config.Retention = days * 3 / 4 * 24 * time.Hour
	config.MaxConversations = min(500, max(10, n/800))
	return config
}

// drawChat draws a chat that holds every body of the contract.
func drawChat(t testing.TB, rng *rand.Rand) []events.Event {
	t.Helper()
	if *chatFile != "" {
		return readChat(t, *chatFile)
	}
	const most = 1000
	var missing []string
	for range most {
		d := drawing{rng: rng, met: map[user]bool{}}
		chat := d.draw(*eventsFlag)
		if missing = missingBodies(chat); len(missing) == 0 {
			return chat
		}
	}
	t.Fatalf("%d chats of %d events were drawn, the last without %q: more -events are needed", most, *eventsFlag, missing)
	return nil
}

// missingBodies are the bodies of chat.v1 that are not in a chat.
func missingBodies(chat []events.Event) (missing []string) {
	seen := map[string]bool{}
	for _, e := range chat {
		seen[e.Body.Kind()] = true
	}
	bodies := (&eventspb.Event{}).ProtoReflect().Descriptor().Oneofs().ByName("body").Fields()
	for i := range bodies.Len() {
		if name := bodies.Get(i).JSONName(); !seen[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

// drawing is a chat in the making: what the generator gives, and desks.
type drawing struct {
	rng  *rand.Rand
	list []events.Event
	met  map[user]bool
}

// desks are accounts that write to newcomers: the first to one in four, each of
// the others to half as many as the one before. Nobody whom the generator makes
// up has as many conversations. The last one is erased in the end.
var desks = []string{"desk 1", "desk 2", "desk 3", "desk 4", "desk 5"}

func (d *drawing) draw(n int) []events.Event {
	g := generate.New(configOf(n, d.rng.Uint64()))
	for len(d.list) < n-len(apps) {
		e := g.Next()
		d.list = append(d.list, e)
		profile, ok := e.Body.(*events.UserProfileChanged)
		if !ok || d.met[user{e.App, profile.UserID}] {
			continue
		}
		d.met[user{e.App, profile.UserID}] = true
		for i, desk := range desks {
			if d.rng.IntN(4<<i) == 0 {
				d.greet(e, desk, profile.UserID)
			}
		}
	}
	d.list = d.list[:n-len(apps)]
	for _, app := range apps {
		d.add(app, d.list[len(d.list)-1].Time, &events.UserErased{UserID: desks[len(desks)-1]})
	}
	return d.list
}

func (d *drawing) add(app string, at events.Micros, body events.Body) {
	id := fmt.Sprintf("desk-%06d", len(d.list))
	d.list = append(d.list, events.Event{ID: id, App: app, Time: at, Body: body})
}

// greet lets a desk write to a newcomer, who answers or not, read or not. All at one time.
func (d *drawing) greet(e events.Event, desk, userID string) {
	c := events.C2C(desk, userID)
	say := func(from string, sequence uint64, text string) {
		d.add(e.App, e.Time, &events.MessageSent{
			Conversation: c, From: from, MessageID: fmt.Sprintf("desk-%06d", len(d.list)), Sequence: sequence,
			Type: events.TypeText, Payload: []byte(`{"text":"` + text + `"}`), MessageForShow: text,
		})
	}
	say(desk, 1, "How can we help?")
	if d.rng.IntN(2) == 0 {
		say(userID, 2, "Who are you?")
	}
	if d.rng.IntN(2) == 0 {
		d.add(e.App, e.Time, &events.ConversationRead{
			ConversationOf: events.ConversationOf{UserID: desk, ConversationID: c.IDFor(desk)}, Sequence: 2,
		})
	}
}

func readChat(t testing.TB, name string) []events.Event {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	decoder := events.NewDecoder(events.DefaultLimits())
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 1<<20)
	var list []events.Event
	for lines.Scan() {
		var line struct {
			Event json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		e, err := decoder.Decode(events.Record{Value: line.Event, Timestamp: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}
