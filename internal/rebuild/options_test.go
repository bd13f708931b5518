package rebuild_test

import (
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestFrom(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "",
		"2026-11-23T03:00:00Z":             "2026-11-23T03:00:00Z",
		"2026-11-23T03:00:00.25+02:00":     "2026-11-23T01:00:00.25Z",
		"1960-01-01T00:00:00Z":             "1960-01-01T00:00:00Z",
		"chat.state/1=900, chat.state/0=0": "chat.state/0=0,chat.state/1=900",
		"9223372036854775807=1":            "!expected a topic and a number",
		"2026-11-23":                       "!expected a time",
		"yesterday":                        "!expected a time",
		"0001-01-01T00:00:00Z":             "!expected a time",
		"chat.state=1":                     "!expected a topic and a number",
		"/1=1":                             "!expected a topic and a number",
		"chat.state/-1=1":                  "!expected a topic and a number",
		"chat.state/4294967296=1":          "!expected a topic and a number",
		"chat.state/0=":                    `!offset "" of chat.state/0: expected a number`,
		"chat.state/0=-1":                  "!at least 0",
		"chat.state/0=1,":                  "!expected a topic and a number",
		"chat.state/0=1,chat.state/0=1":    "!chat.state/0 is named twice",
		"chat.state/0=9223372036854775808": "!expected a number",
	} {
		var f rebuild.From
		err := f.Set(text)
		if reason, refused := strings.CutPrefix(want, "!"); refused {
			if err == nil || !strings.Contains(err.Error(), reason) {
				t.Errorf("%q: got %v, want %s", text, err, reason)
			}
			continue
		}
		if err != nil || f.String() != want {
			t.Errorf("%q: got %q %v, want %q", text, f.String(), err, want)
		}
	}
}

// TestBegin_From begins at a time or at offsets, and is incomplete if what is before may
// matter. Of ten records in each partition half are a month old.
func TestBegin_From(t *testing.T) {
	const expired, recent = -20 * 24 * time.Hour, -time.Hour
	for name, c := range map[string]struct {
		from    string        // with {m} and {s} for the topics
		at      time.Duration // or so long ago
		forget  int64         // of messages/0, before
		lacking string
		refused string
		starts  map[string]int64
	}{
		"from the beginning": {from: "{m}/0=0,{s}/0=0", starts: map[string]int64{"{m}/0": 0, "{s}/0": 0}},
		"nobody is shown what is before": {
			from: "{m}/0=3,{m}/1=5", starts: map[string]int64{"{m}/0": 3, "{m}/1": 5},
		},
		"somebody is shown what is before": {
			from: "{m}/0=6", starts: map[string]int64{"{m}/0": 6}, lacking: "messages/0 begins at offset 6",
		},
		"registers do not expire": {
			from: "{s}/0=1", starts: map[string]int64{"{s}/0": 1}, lacking: "state/0 begins at offset 1",
		},
		"after what is gone": {
			from: "{m}/0=2", forget: 3, starts: map[string]int64{"{m}/0": 3},
		},
		"the end": {
			from: "{m}/1=10", starts: map[string]int64{"{m}/1": 10}, lacking: "messages/1 begins at offset 10",
		},
		"a time": {
			at: expired, starts: map[string]int64{"{m}/0": 5, "{m}/1": 5, "{s}/0": 5}, lacking: "state/0 begins at offset 5",
		},
		"a time after everything": {
			at: recent, starts: map[string]int64{"{m}/0": 10, "{m}/1": 10, "{s}/0": 10},
			lacking: "messages/0 begins at offset 10, messages/1 begins at offset 10, state/0 begins at offset 10",
		},
		"before there was time": {from: "1931-11-23T03:00:00Z", starts: map[string]int64{"{m}/0": 0, "{m}/1": 0, "{s}/0": 0}},
		"beyond the end":        {from: "{m}/1=11", refused: "{m}/1=11: it ends at offset 10"},
		"no such partition":     {from: "{m}/2=1", refused: "{m}/2: there is no such partition"},
		"no such topic":         {from: "nothing/0=1", refused: "nothing/0: there is no such partition"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTopicsAt(t, 5, time.Now().Add(-2*time.Hour))
			if c.forget > 0 {
				s.forget(t, s.messages, 0, c.forget)
			}
			named := strings.NewReplacer("{m}", s.messages, "{s}", s.state)
			server, config := readmodeltest.New(t, readmodeltest.Config(t)), s.config(t)
			from := named.Replace(c.from)
			if c.at != 0 {
				from = time.Now().Add(c.at).UTC().Format(time.RFC3339)
			}
			if err := config.From.Set(from); err != nil {
				t.Fatal(err)
			}
			begin := func() error {
				_, err := rebuild.Begin(t.Context(), config, server, slog.New(slog.DiscardHandler))
				return err
			}
			err := begin()
			lacking := ""
			if incomplete := (*rebuild.IncompleteError)(nil); errors.As(err, &incomplete) {
				lacking = s.names(incomplete)
				config.Incomplete = true
				err = begin()
			}
			if c.refused != "" {
				if want := "--from: " + named.Replace(c.refused); err == nil || err.Error() != want {
					t.Errorf("got %v, want %s", err, want)
				}
				return
			}
			if err != nil || lacking != c.lacking {
				t.Fatalf("lacking %q, %v, want %q", lacking, err, c.lacking)
			}
			want := readmodel.Options{From: config.From.String(), Starts: map[events.Partition]int64{}}
			for p, offset := range c.starts {
				var partition events.Partition
				if err := partition.UnmarshalText([]byte(named.Replace(p))); err != nil {
					t.Fatal(err)
				}
				want.Starts[partition] = offset
			}
			r, err := server.Registry(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.Generations[1].Options()
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("options: %v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// TestBegin_Without keeps what is left out, refuses another list, and has a generation
// leave out what its base leaves out.
func TestBegin_Without(t *testing.T) {
	s := newTopics(t, 5)
	server := readmodeltest.New(t, readmodeltest.Config(t))
	begin := func(change func(*rebuild.Config)) error {
		config := s.config(t)
		change(&config)
		if err := config.Validate(); err != nil {
			return err
		}
		_, err := rebuild.Begin(t.Context(), config, server, slog.New(slog.DiscardHandler))
		return err
	}
	without := func(ids ...string) func(*rebuild.Config) {
		return func(c *rebuild.Config) {
			c.Without = map[string]struct{}{}
			for _, id := range ids {
				c.Without[id] = struct{}{}
			}
		}
	}
	based := func(c *rebuild.Config) { c.Base = true }
	plain := func(*rebuild.Config) {}
	refuse := func(change func(*rebuild.Config), want string) {
		t.Helper()
		if err := begin(change); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	leavesOut := func(number int, want ...string) {
		t.Helper()
		ids, err := server.LeftOutOf(t.Context(), number)
		if got := slices.Sorted(maps.Keys(ids)); err != nil || !slices.Equal(got, want) {
			t.Errorf("generation %d leaves %q out, %v, want %q", number, got, err, want)
		}
	}
	for _, change := range []func(*rebuild.Config){without("b", "a"), without("a", "b"), plain} {
		if err := begin(change); err != nil {
			t.Fatal(err)
		}
	}
	leavesOut(1)
	leavesOut(2, "a", "b")
	refuse(without("a"), "--without: generation 2 is being filled without 2 events (list ")
	refuse(based, "--base: generation 2 is being filled without a base (without the option")
	refuse(func(c *rebuild.Config) { based(c); without("a")(c) }, "base and without together: ")
	if err := server.Filled(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := begin(plain); err != nil {
		t.Fatal(err)
	}
	leavesOut(3)
	refuse(without("a"), "--without: generation 3 is being filled with all events, not without 1 events (list ")
	if err := server.DropGeneration(t.Context(), 3, 0); err != nil {
		t.Fatal(err)
	}
	if err := server.Switch(t.Context(), 2, t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := begin(based); err != nil {
		t.Fatal(err)
	}
	leavesOut(4, "a", "b")
}

// TestBegin_GoesOnWithTheSameOptions or says which others a generation was begun with.
func TestBegin_GoesOnWithTheSameOptions(t *testing.T) {
	s := newTopics(t, 5)
	server, config := readmodeltest.New(t, readmodeltest.Config(t)), s.config(t)
	config.Incomplete = true
	begin := func(from string) error {
		if err := config.From.Set(from); err != nil {
			t.Fatal(err)
		}
		_, err := rebuild.Begin(t.Context(), config, server, slog.New(slog.DiscardHandler))
		return err
	}
	refuse := func(from, want string) {
		t.Helper()
		if err := begin(from); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	first, other := s.state+"/0=4", s.state+"/0=5"
	for _, from := range []string{first, first, ""} {
		if err := begin(from); err != nil {
			t.Errorf("from %q: %v", from, err)
		}
	}
	refuse(other, "--from "+other+": generation 2 is being filled from "+first+" (without the option it goes on; projector generations drop 2 gives it up)")
	if err := server.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	if err := begin(""); err != nil {
		t.Fatal(err)
	}
	refuse(other, "--from "+other+": generation 3 is being filled from the beginning (without the option it goes on; projector generations drop 3 gives it up)")
}

// TestBegin_AfterAKill goes on with what somebody has begun who was killed before it was
// registered, although the topics do not begin where they did then.
func TestBegin_AfterAKill(t *testing.T) {
	s, store := newTopics(t, 5), readmodeltest.Config(t)
	server, config := readmodeltest.New(t, store), s.config(t)
	begin := func() (readmodel.Options, error) {
		if _, err := rebuild.Begin(t.Context(), config, server, slog.New(slog.DiscardHandler)); err != nil {
			return readmodel.Options{}, err
		}
		r, err := server.Registry(t.Context())
		if err != nil || len(r.Generations) != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		return r.Generations[1].Options()
	}
	first, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "ALTER TABLE "+store.Database+".generations DELETE WHERE generation = 2 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	s.forget(t, s.messages, 1, 3)
	from := s.messages + "/0=1"
	if err := config.From.Set(from); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(); err == nil || !strings.HasPrefix(err.Error(), "--from "+from+": generation 2 is being filled from the beginning") {
		t.Errorf("with other options: got %v", err)
	}
	config.From = rebuild.From{}
	again, err := begin()
	if diff := cmp.Diff(first, again); diff != "" || err != nil {
		t.Errorf("options: %v (-first +again)\n%s", err, diff)
	}
}
