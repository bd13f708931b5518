package readmodel_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// open gives a migrated store of the test's own.
func open(t testing.TB) *readmodel.Store {
	t.Helper()
	return openIn(t, "")
}

// openIn gives one in a cluster; "": on one server.
func openIn(t testing.TB, cluster string) *readmodel.Store {
	t.Helper()
	config := readmodeltest.Config(t)
	if cluster != "" {
		config = readmodeltest.InCluster(config, cluster)
	}
	return readmodeltest.New(t, config).Generation(1)
}

// inBothForms runs a test on one server and in a cluster, as far as there is one: its hosts
// are one, and replicate nothing.
func inBothForms(t *testing.T, test func(t *testing.T, open func(testing.TB) *readmodel.Store)) {
	for name, cluster := range map[string]string{"single": "", "cluster": sandbox.Cluster} {
		t.Run(name, func(t *testing.T) {
			test(t, func(t testing.TB) *readmodel.Store { t.Helper(); return openIn(t, cluster) })
		})
	}
}

// TestStore_ReadsWhatWasFolded writes chats in parts, some of them twice and in
// any order, and reads back what folding all of it in memory gives: first from
// the partial rows, then from what the engine's own merge made of them. Ties of
// one ID that names two events fall the same way in both.
func TestStore_ReadsWhatWasFolded(t *testing.T) { readsWhatWasFolded(t, open(t)) }

func readsWhatWasFolded(t *testing.T, store *readmodel.Store) {
	var chats []*projection.Model
	rapid.Check(t, func(rt *rapid.T) {
		all := projectiontest.Tied(rt, 60)
		want := projection.NewModel()
		for i := range all {
			all[i].App += strconv.Itoa(len(chats))
			want.Fold(all[i])
		}

		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		repeated := append(slices.Clone(all), all[:len(all)/3]...)
		rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
		for batch := range slices.Chunk(repeated, 1+len(repeated)/3) {
			m := projection.NewModel()
			for _, e := range batch {
				m.Fold(e)
			}
			if err := store.Write(t.Context(), m); err != nil {
				rt.Fatal(err)
			}
		}
		compare(t, rt, store, want)
		chats = append(chats, want)
	})

	if err := store.Optimize(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range chats {
		compare(t, t, store, want)
	}
}

// compare reads everything that the model names, exact and by owner.
func compare(t *testing.T, rt rapid.TB, store *readmodel.Store, want *projection.Model) {
	got := readBack(t, rt, store, want)

	// By owner, the same but for large payloads.
	var users []projection.UserKey
	for _, app := range appsOf(want) {
		for _, u := range projectiontest.Users {
			users = append(users, projection.UserKey{App: app, UserID: u})
		}
	}
	inboxes, err := store.Inboxes(t.Context(), users, math.MaxInt)
	if err != nil {
		rt.Fatal(err)
	}
	for k, state := range want.States {
		if k.Owner == "" {
			continue
		}
		light := *state
		light.Head = light.Head.Light()
		if diff := cmp.Diff(&light, inboxes[projection.UserKey{App: k.App, UserID: k.Owner}][k.ConversationID], projectiontest.SameModel); diff != "" {
			rt.Fatalf("inbox of %v (-want +got):\n%s", k, diff)
		}
	}
	if diff := cmp.Diff(want, got, projectiontest.SameModel); diff != "" {
		rt.Fatalf("read back (-want +got):\n%s", diff)
	}
}

// appsOf are the apps of a model.
func appsOf(m *projection.Model) []string {
	var apps []string
	for k := range m.States {
		apps = append(apps, k.App)
	}
	for app := range m.Plans {
		apps = append(apps, app)
	}
	for k := range m.Erased {
		apps = append(apps, k.App)
	}
	slices.Sort(apps)
	return slices.Compact(apps)
}

// readBack reads everything that the model names.
func readBack(t *testing.T, rt rapid.TB, store *readmodel.Store, names *projection.Model) *projection.Model {
	ctx := t.Context()
	got := projection.NewModel()
	apps := appsOf(names)
	check := func(err error) {
		if err != nil {
			rt.Fatal(err)
		}
	}
	var err error
	got.States, err = store.FullStates(ctx, keys(names.States))
	check(err)
	got.Edits, err = store.Edits(ctx, keys(names.Edits))
	check(err)
	got.Users, err = store.FullUsers(ctx, keys(names.Users))
	check(err)
	got.Groups, err = store.FullGroups(ctx, keys(names.Groups))
	check(err)
	got.Messages, err = store.Messages(ctx, apps)
	check(err)
	found, err := store.Apps(ctx, apps)
	check(err)
	for app, v := range found {
		if v.Plan.Written() {
			got.Plans[app] = &v.Plan
		}
	}
	got.Erased, err = store.Erasures(ctx, apps)
	check(err)
	for k := range got.Erased {
		if _, is := found[k.App].Erased[k.UserID]; !is {
			rt.Errorf("%v is not erased", k)
		}
	}
	return got
}

func keys[K comparable, V any](m map[K]V) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// TestStore_SendersAreTheLatest finds who sent the latest message of a sequence and day.
func TestStore_SendersAreTheLatest(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	for i, from := range []string{"ann", "bob", "cat"} {
		m.Fold(events.Event{
			ID: from, App: "demo", Time: projectiontest.Now + events.Micros([]int64{1, 3, 2}[i]),
			Body: &events.MessageSent{Conversation: events.Group("g"), From: from, MessageID: from, Sequence: 7, Type: events.TypeText},
		})
	}
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	key := projection.MentionKey{App: "demo", GroupID: "g", Mention: projection.Mention{Day: projectiontest.Now.Day(), Sequence: 7}}
	got, err := store.Senders(t.Context(), []projection.MentionKey{key})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[projection.MentionKey]projection.Register[string]{key: {Version: projection.Version{Time: projectiontest.Now + 3, ID: "bob"}, Value: "bob"}}, got); diff != "" {
		t.Errorf("senders (-want +got):\n%s", diff)
	}
}

// TestStore_RecentAreThoseWhoSentLast looks back as far as it has to.
func TestStore_RecentAreThoseWhoSentLast(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	now := time.Now()
	for i, sent := range []struct {
		from string
		ago  time.Duration
	}{
		{"ann", 30 * time.Hour},
		{"bob", 10 * time.Minute},
		{"cat", 5 * time.Minute},
		{"ann", 20 * time.Hour},
		{"old", 300 * time.Hour},
		{"cat", 3 * time.Hour},
		{"", time.Minute},
		{"\xff", time.Minute}, // as a sweep leaves it
	} {
		id := strconv.Itoa(i)
		m.Fold(events.Event{ID: id, App: "demo", Time: events.MicrosOf(now.Add(-sent.ago)), Body: &events.MessageSent{
			Conversation: events.Group("g"), From: sent.from, MessageID: id, Sequence: uint64(i + 1), Type: events.TypeText,
		}})
	}
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int][]string{1: {"cat"}, 2: {"cat", "bob"}, 9: {"cat", "bob", "ann"}} {
		got, err := store.Recent(t.Context(), most)
		if err != nil {
			t.Fatal(err)
		}
		var users []string
		for _, u := range got {
			users = append(users, u.UserID)
		}
		if diff := cmp.Diff(want, users); diff != "" {
			t.Errorf("%d (-want +got):\n%s", most, diff)
		}
	}
}

// TestStore_KeepsFarDays stores a day after 2149, where ClickHouse's Date ends.
func TestStore_KeepsFarDays(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	at := events.MicrosOf(time.Date(2150, 7, 1, 0, 0, 0, 0, time.UTC))
	m.Fold(events.Event{ID: "1", App: "demo", Time: at, Body: &events.MessageSent{
		Conversation: events.Group("g"), From: "ann", MessageID: "1", Sequence: 7, Type: events.TypeText,
	}})
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	key := projection.Key{App: "demo", ConversationID: "GROUPg"}
	got, err := store.States(t.Context(), []projection.Key{key})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.States[key], got[key], projectiontest.SameModel); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStore_TakesManyLongKeys asks for as many users as a query worker does at
// once, by the longest names there are.
func TestStore_TakesManyLongKeys(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	keys := make([]projection.UserKey, 8192)
	for i := range keys {
		keys[i] = projection.UserKey{App: strings.Repeat("a", 64), UserID: fmt.Sprintf("%s%04d", strings.Repeat(`'`, 124), i)}
		m.Users[keys[i]] = &projection.UserProfile{
			Version: projection.Version{Time: projectiontest.Now, ID: "e"}, Value: events.UserProfileChanged{UserID: keys[i].UserID},
		}
	}
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for name, ask := range map[string][]projection.UserKey{
		"one app":  keys,
		"two apps": append([]projection.UserKey{{App: "another", UserID: "u"}}, keys...),
	} {
		got, err := store.Users(t.Context(), ask)
		if err != nil || len(got) != len(keys) {
			t.Errorf("%s: %d of %d users, %v", name, len(got), len(keys), err)
		}
	}
}

// TestStore_ReadsNoMoreThanSoManyAtOnce asks for inboxes that are too much together, and then
// for one of them.
func TestStore_ReadsNoMoreThanSoManyAtOnce(t *testing.T) {
	const most = 10_000
	store, m := open(t), projection.NewModel()
	users := []projection.UserKey{{App: "demo", UserID: "ann"}, {App: "demo", UserID: "bob"}}
	for _, u := range users {
		for i := range most + 1 {
			m.State(projection.Key{App: u.App, Owner: u.UserID, ConversationID: fmt.Sprintf("C2C%d", i)}).Known = true
		}
	}
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a load that was broken off leaves a connection that can be used
		var refused interface{ TooMany() bool }
		if _, err := store.Inboxes(t.Context(), users, most); !errors.As(err, &refused) || !refused.TooMany() {
			t.Fatalf("got %v, want that they are too many", err)
		}
		got, err := store.Inboxes(t.Context(), users[:1], most)
		if n := len(got[users[0]]); err != nil || n != most+1 {
			t.Fatalf("alone: %d conversations, %v", n, err)
		}
	}
}
