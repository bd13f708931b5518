package e2e_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

var seedFlag = flag.Uint64("seed", 0, "draw the chat, its order and its encodings from this seed again")

var chatFile = flag.String("chat", "", "play the chat of this file (JSON lines of chatload, gzip) instead of a generated one")

// TestChat_EveryReplyIsTheBruteForceReadings plays a chat, shuffled, a fifth of
// it twice and in both encodings, and compares every user's list, profiles and
// total with what reading all raw events by the contract's letter gives.
func TestChat_EveryReplyIsTheBruteForceReadings(t *testing.T) {
	s := newSystem(t)
	chat := s.chat()
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s.project()
	s.serve(func() time.Time { return now })

	sent := append(slices.Clone(chat), chat[:len(chat)/5]...)
	s.rng.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	for batch := range slices.Chunk(sent, 1000) {
		s.send(batch...)
	}
	s.settle()
	compareAll(t, s, chat, now)
}

// compareAll compares what every user sees with the brute-force reading.
func compareAll(t *testing.T, s *system, chat []events.Event, now time.Time) {
	t.Helper()
	want := bruteforce.New(chat, events.MicrosOf(now))
	apps := map[string]struct{}{}
	for _, e := range chat {
		apps[e.App] = struct{}{}
	}
	var users, listed atomic.Int64
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(askersAtOnce)
	for app := range apps {
		for _, user := range want.Users(app) {
			g.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				n, err := compare(s, want, app, user)
				users.Add(1)
				listed.Add(int64(n))
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events, %d users, %d listed conversations", len(chat), users.Load(), listed.Load())
	if listed.Load() == 0 {
		t.Fatal("no conversations at all")
	}
}

// askersAtOnce is how many users' replies are compared at the same time.
const askersAtOnce = 32

// compare compares everything that one user sees: the list, the total and the
// profiles of the first conversations. It gives the length of the list.
func compare(s *system, want *bruteforce.Chat, app, user string) (int, error) {
	list, err := jsonOf(want.List(app, user, bruteforce.Filter{})...)
	if err != nil {
		return 0, err
	}
	got, err := s.list(app, user)
	if err != nil {
		return 0, err
	}
	if diff := cmp.Diff(list, got); diff != "" {
		return 0, fmt.Errorf("list of %q (-want +got):\n%s", user, diff)
	}
	var total unreadReply
	if err := s.ask("unread", app, map[string]any{"userID": user}, &total); err != nil {
		return 0, err
	}
	if n := want.Unread(app, user, bruteforce.Filter{}, false); n != total.Data.Total {
		return 0, fmt.Errorf("total of %q: got %d, want %d", user, total.Data.Total, n)
	}
	for _, item := range list[:min(profilesEach, len(list))] {
		var c struct {
			ConversationID string `json:"conversationID"`
		}
		if err := json.Unmarshal([]byte(item), &c); err != nil {
			return 0, err
		}
		var profile profileReply
		if err := s.ask("profile", app, map[string]any{"userID": user, "conversationID": c.ConversationID}, &profile); err != nil {
			return 0, err
		}
		wanted, _ := want.Profile(app, user, c.ConversationID)
		expected, err := jsonOf(wanted)
		if err != nil {
			return 0, err
		}
		if diff := cmp.Diff(expected, []string{string(profile.Data.Conversation)}); diff != "" {
			return 0, fmt.Errorf("profile of %q and %q (-want +got):\n%s", user, c.ConversationID, diff)
		}
	}
	return len(list), nil
}

// profilesEach is how many profiles are compared of each user.
const profilesEach = 3

// chat is the chat to play, in the order of its times.
func (s *system) chat() []events.Event {
	s.t.Helper()
	if *chatFile != "" {
		return readChat(s.t, *chatFile)
	}
	config := generate.DefaultConfig()
	config.Seed = s.rng.Uint64()
	config.People, config.Groups = 40, 6
	config.Start = time.Now().Add(-24 * time.Hour)
	config.Rate = 0.1
	g := generate.New(config)
	list := make([]events.Event, 3000)
	for i := range list {
		list[i] = g.Next()
	}
	return list
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

// jsonOf encodes each value as the API does.
func jsonOf(values ...any) ([]string, error) {
	var list []string
	for _, v := range values {
		var b bytes.Buffer
		encoder := json.NewEncoder(&b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return nil, err
		}
		list = append(list, strings.TrimSuffix(b.String(), "\n"))
	}
	return list, nil
}
