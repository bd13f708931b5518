package readmodel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// states gives the generations and their states in short.
func states(t *testing.T, s *readmodel.Server) string {
	t.Helper()
	r, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, g := range r.Generations {
		text := g.State.String()
		if g.Number == r.Current {
			text += " read"
		}
		if g.Number == r.Before {
			text += " before"
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// addFilled adds a generation that has everything.
func addFilled(t testing.TB, s *readmodel.Server, options readmodel.Options) *readmodel.Store {
	t.Helper()
	store, err := s.Add(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Filled(t.Context(), store.Number()); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestRegistry(t *testing.T) {
	s := open(t).Server
	do := func(what string, err error, want string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := states(t, s); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	refuse := func(what string, err error, want string) {
		t.Helper()
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
	}
	do("migrated", nil, "filled read")
	refuse("drop what is read", s.DropGeneration(t.Context(), 1, 0), "generation 1: it is the one that is read, expected another")
	second, err := s.Add(t.Context(), readmodel.Options{From: "t/0=7", Starts: map[events.Partition]int64{{Topic: "t"}: 7}})
	do("added", err, "filled read, filling")
	if second.Number() != 2 {
		t.Errorf("generation %d, want 2", second.Number())
	}
	refuse("switch too early", s.Switch(t.Context(), 2, "ann"), "generation 2: it is filling, expected filled")
	refuse("switch to nothing", s.Switch(t.Context(), 3, "ann"), "generation 3: there is none of that number")
	do("filled", s.Filled(t.Context(), 2), "filled read, filled")
	for range 100 { // the engine has several ways to find the same
		r, err := s.Registry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if g, _ := r.Find(2); time.Since(g.Made) > time.Hour {
			t.Fatalf("generation 2 was made at %v", g.Made)
		}
	}
	do("switched", s.Switch(t.Context(), 2, "o'neill"), "filled before, filled read")
	refuse("switch again", s.Switch(t.Context(), 2, "ann"), "generation 2: it is the one that is read")
	do("switched back", s.Switch(t.Context(), 1, "ann"), "filled read, filled before")
	do("migrated again", s.Migrate(t.Context()), "filled read, filled before")
	do("dropped", s.DropGeneration(t.Context(), 2, 0), "filled read, dropped before")
	do("filled late", s.Filled(t.Context(), 2), "filled read, dropped before")
	third, err := s.Add(t.Context(), readmodel.Options{})
	do("added", err, "filled read, dropped before, filling")
	if third.Number() != 3 {
		t.Errorf("generation %d, want 3", third.Number())
	}
	r, err := s.Registry(t.Context())
	if err != nil || r.Generations[2].Made.IsZero() {
		t.Errorf("%+v %v", r, err)
	}
	options, err := r.Generations[1].Options()
	if diff := cmp.Diff(readmodel.Options{From: "t/0=7", Starts: map[events.Partition]int64{{Topic: "t"}: 7}}, options); diff != "" || err != nil {
		t.Errorf("options: %v (-want +got)\n%s", err, diff)
	}
}

// TestRegistry_OneSwitchAtATime has several switch at the same time: each switch is
// somebody's, and whoever was too late is told.
func TestRegistry_OneSwitchAtATime(t *testing.T) { inBothForms(t, oneSwitchAtATime) }

func oneSwitchAtATime(t *testing.T, open func(testing.TB) *readmodel.Store) {
	s := open(t).Server
	const others = 6
	for range others {
		addFilled(t, s, readmodel.Options{})
	}
	var done atomic.Int64
	var g errgroup.Group
	for number := 2; number <= 1+others; number++ {
		g.Go(func() error {
			err := s.Switch(t.Context(), number, "ann")
			if err == nil {
				done.Add(1)
			} else if want := "somebody else has just switched"; !strings.Contains(err.Error(), want) {
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	r, err := s.Registry(t.Context())
	if err != nil || r.Switches != 1+int(done.Load()) || done.Load() == 0 {
		t.Errorf("%d switches, %d of them by somebody who was told so, %v", r.Switches-1, done.Load(), err)
	}
}

// TestRegistry_Rollback goes back once: who does it again is told so, and stays.
func TestRegistry_Rollback(t *testing.T) {
	s := open(t).Server
	holds := func(what string, want int, failure string, got int, err error) {
		t.Helper()
		if got != want || (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("%s: got %d, %v, want %d, %q", what, got, err, want, failure)
		}
	}
	again := func(what string, want int, failure string) {
		t.Helper()
		got, err := s.Rollback(t.Context(), "ann")
		holds(what, want, failure, got, err)
	}
	again("nothing was switched", 0, "generation 1 is the first that is read")
	addFilled(t, s, readmodel.Options{})
	for range 2 {
		if err := s.Switch(t.Context(), 2, "ann"); err != nil {
			t.Fatal(err)
		}
		again("after a switch", 1, "")
		again("again", 0, "generation 1 is read again since a rollback from 2 (projector switch 2 goes there again)")
		current, err := s.Current(t.Context())
		holds("is read", 1, "", current, err)
	}
}

// TestRegistry_DropOfWhatIsSwitchedTo has a generation be switched to, by somebody who had looked
// before it was dropped, while the drop waits: its tables stay, since they are read.
func TestRegistry_DropOfWhatIsSwitchedTo(t *testing.T) {
	s := open(t).Server
	addFilled(t, s, readmodel.Options{})
	before, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddSwitch(t.Context(), before.Switches+1, 2); err != nil {
		t.Fatal(err)
	}
	if err := s.DropUnread(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "somebody has switched to it meanwhile") {
		t.Errorf("got %v", err)
	}
	if err := s.Generation(2).Check(t.Context()); err != nil {
		t.Errorf("the tables that are read: %v", err)
	}
}

// TestRegistry_SwitchThatFails says so, and not that somebody else was first: who migrates
// would take that for done.
func TestRegistry_SwitchThatFails(t *testing.T) {
	s := open(t).Server
	if _, err := s.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Filled(t.Context(), 2), s.DropAll(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.Generations[1].State = readmodel.Filled
	if err := s.SwitchAfter(t.Context(), r, 2, "ann"); err == nil || strings.Contains(err.Error(), "somebody else") {
		t.Errorf("got %v", err)
	}
}

// TestRegistry_SwitchToWhatIsDropped has a switch look before somebody drops the generation,
// and be made after that: what was read before is read again.
func TestRegistry_SwitchToWhatIsDropped(t *testing.T) {
	s := open(t).Server
	addFilled(t, s, readmodel.Options{})
	before, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	const want = "generation 2: somebody has dropped it meanwhile, so generation 1 is read again"
	if err := s.SwitchAfter(t.Context(), before, 2, "ann"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if got := states(t, s); got != "filled read, dropped before" {
		t.Errorf("got %s", got)
	}
}

// TestMigrate_OfAGenerationThatIsGone makes no empty one in its place.
func TestMigrate_OfAGenerationThatIsGone(t *testing.T) {
	s := open(t).Server
	if _, err := s.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	holds := func(failure string) {
		t.Helper()
		if err := s.Migrate(t.Context()); (err == nil) != (failure == "") || err != nil && !strings.Contains(err.Error(), failure) {
			t.Errorf("got %v, want %q", err, failure)
		}
	}
	if err := s.Generation(2).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds("projector generations drop 2")
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	holds("")
	if err := s.Generation(1).Drop(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds("drop the registry, too")
	if err := s.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	holds("")
}

// TestMigrate_SeveralAtOnce begins with nothing.
func TestMigrate_SeveralAtOnce(t *testing.T) {
	s := open(t).Server
	if err := s.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return s.Migrate(t.Context()) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := states(t, s); got != "filled read" {
		t.Errorf("got %s", got)
	}
}

// TestRegistry_AddAfterAKill makes the generation of somebody who was killed before it
// was registered.
func TestRegistry_AddAfterAKill(t *testing.T) {
	s := open(t).Server
	db := s.Generation(2).Database()
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "CREATE DATABASE "+db); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := states(t, s); got != "filled read, filling" {
		t.Errorf("got %s", got)
	}
	if err := s.Generation(2).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestRegistry_OneBegins has several begin a generation at the same time, some of them
// with the same options: they have one, and whoever wanted others is told which it has.
func TestRegistry_OneBegins(t *testing.T) {
	s := open(t).Server
	optionsOf := func(i int) readmodel.Options { return readmodel.Options{From: fmt.Sprintf("t/0=%d", i%3)} }
	const all = 9
	var errs [all]error
	var g errgroup.Group
	for i := range all {
		g.Go(func() error {
			store, err := s.Add(t.Context(), optionsOf(i))
			if err == nil && store.Number() != 2 {
				return fmt.Errorf("generation %d, want 2", store.Number())
			}
			errs[i] = err
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := states(t, s); got != "filled read, filling" {
		t.Errorf("got %s", got)
	}
	r, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	options, err := r.Generations[1].Options()
	if err != nil {
		t.Fatal(err)
	}
	for i, err := range errs {
		ours := optionsOf(i)
		if ours.From == options.From {
			if err != nil {
				t.Errorf("with the same options: %v", err)
			}
			continue
		}
		want := fmt.Sprintf("generation 2 was begun with other options: from %s, not from %s (go on with those, or projector generations drop 2)", options.From, ours.From)
		if err == nil || err.Error() != want {
			t.Errorf("with other options: %v, want %s", err, want)
		}
	}
}

// TestRegistry_DropWhatWasOnlyBegun lets a generation go that somebody has begun who was
// killed before it was registered.
func TestRegistry_DropWhatWasOnlyBegun(t *testing.T) {
	s := open(t).Server
	if _, err := s.Add(t.Context(), readmodel.Options{From: "t/0=1"}); err != nil {
		t.Fatal(err)
	}
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "ALTER TABLE "+s.Registers()+".generations DELETE WHERE generation = 2 SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	other := readmodel.Options{From: "t/0=2"}
	var refused *readmodel.OtherOptionsError
	if _, err := s.Add(t.Context(), other); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	if store, err := s.Add(t.Context(), other); err != nil || store.Number() != 3 {
		t.Errorf("%+v %v", store, err)
	}
	if got := states(t, s); got != "filled read, dropped, filling" {
		t.Errorf("got %s", got)
	}
	if err := s.DropGeneration(t.Context(), 4, 0); err == nil || err.Error() != "generation 4: there is none of that number" {
		t.Errorf("got %v", err)
	}
}

// TestRegistry_Leftover names what was dropped and has tables, whoever has left them, until they
// are gone.
func TestRegistry_Leftover(t *testing.T) { inBothForms(t, leftover) }

func leftover(t *testing.T, open func(testing.TB) *readmodel.Store) {
	s := open(t).Server
	if _, err := s.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	holds := func(what string, want map[int]bool) {
		t.Helper()
		r, err := s.Registry(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Leftover(t.Context(), r)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
		}
	}
	holds("being filled", map[int]bool{})
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	holds("dropped", map[int]bool{})
	if err := s.MakeTables(t.Context(), 2); err != nil { // as a rebuild that has looked before
		t.Fatal(err)
	}
	holds("made anew", map[int]bool{2: true})
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	holds("dropped again", map[int]bool{})
}

// TestOptions_OfANewerVersion are not passed over.
func TestOptions_OfANewerVersion(t *testing.T) {
	s := open(t).Server
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "INSERT INTO "+s.Registers()+`.generations SELECT 2, 'filling', now64(6), '{"from":"t/0=1","sideways":true}'`); err != nil {
		t.Fatal(err)
	}
	r, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Generations[1].Options(); err == nil || !strings.Contains(err.Error(), "sideways") {
		t.Errorf("got %v", err)
	}
}

func TestRegistry_CoverageIsTheLeast(t *testing.T) {
	s := open(t).Server
	r, err := s.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := events.Partition{Topic: "t", ID: 0}, events.Partition{Topic: "t", ID: 1}
	for _, from := range []map[events.Partition]int64{{a: 10}, {a: 7, b: 0}, {a: 8}} {
		if err := s.Cover(t.Context(), r, 2, from); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Covered(t.Context(), 2)
	if diff := cmp.Diff(map[events.Partition]int64{a: 7, b: 0}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if got, err := s.Covered(t.Context(), 1); len(got) > 0 || err != nil {
		t.Errorf("of another generation: %v %v", got, err)
	}
}

// TestServer_CheckOfABusyServer has all connections in use, which is no reason not to be ready.
func TestServer_CheckOfABusyServer(t *testing.T) {
	s := open(t)
	defer s.Occupy()()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Server.Check(ctx); err != nil {
		t.Error(err)
	}
}
