package readmodel_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
)

// TestLive_SaysWhatIsBegun once for all processes, and not before it is owned.
func TestLive_SaysWhatIsBegun(t *testing.T) {
	s := open(t).Server
	a, b := events.Partition{Topic: "t", ID: 0}, events.Partition{Topic: "t", ID: 1}
	holds := func(what string, want map[events.Partition]bool, from map[events.Partition]int64) {
		t.Helper()
		begun, err := readmodel.NewLive(s).Begun(t.Context())
		if diff := cmp.Diff(want, begun); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got)\n%s", what, err, diff)
		}
		covered, err := s.Covered(t.Context(), 1)
		if diff := cmp.Diff(from, covered); diff != "" || err != nil {
			t.Errorf("%s: from %v (-want +got)\n%s", what, err, diff)
		}
	}
	owned := func() error { return nil }
	lost := errors.New("the partition is somebody else's")
	first := readmodel.NewLive(s)
	if err := first.Keep(t.Context(), map[events.Partition]int64{a: 7}, func() error { return lost }); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
	holds("not owned", map[events.Partition]bool{}, map[events.Partition]int64{})
	if err := first.Keep(t.Context(), map[events.Partition]int64{a: 7}, owned); err != nil {
		t.Fatal(err)
	}
	holds("one", map[events.Partition]bool{a: true}, map[events.Partition]int64{a: 7})
	if err := readmodel.NewLive(s).Keep(t.Context(), map[events.Partition]int64{a: 9, b: 0}, owned); err != nil {
		t.Fatal(err)
	}
	holds("both", map[events.Partition]bool{a: true, b: true}, map[events.Partition]int64{a: 7, b: 0})
	if err := first.Keep(t.Context(), map[events.Partition]int64{a: 9}, func() error { return lost }); err != nil {
		t.Errorf("said again: %v", err)
	}
}

// TestLive_MadeAnew has the tables gone and made anew under a writer, who must not write on
// as if what was before were in them.
func TestLive_MadeAnew(t *testing.T) {
	s := open(t).Server
	live := readmodel.NewLive(s)
	keep := func() error { return live.Keep(t.Context(), nil, func() error { return nil }) }
	if err := errors.Join(keep(), keep()); err != nil {
		t.Fatal(err)
	}
	if err := s.DropAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := keep(); !errors.Is(err, readmodel.ErrNotMigrated) {
		t.Errorf("without tables: %v", err)
	}
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if anew := (*readmodel.AnewError)(nil); !errors.As(keep(), &anew) || !anew.Permanent() || !anew.Is.After(anew.Was) {
		t.Errorf("made anew: %+v", anew)
	}
	if err := readmodel.NewLive(s).Keep(t.Context(), nil, func() error { return nil }); err != nil {
		t.Errorf("another one: %v", err)
	}
}

// TestLive_MadeAnewMeanwhile has the tables made anew at the worst moments: between the look
// at what was begun and the one before the first write, and between that and saying so.
func TestLive_MadeAnewMeanwhile(t *testing.T) {
	s := open(t).Server
	p := events.Partition{Topic: "t"}
	anew := func() error { return errors.Join(s.DropAll(t.Context()), s.Migrate(t.Context())) }
	for name, meanwhile := range map[string]func(live *readmodel.Live) error{
		"after what was begun": func(live *readmodel.Live) error {
			if begun, err := live.Begun(t.Context()); !begun[p] || err != nil {
				t.Errorf("begun are %v, %v", begun, err)
			}
			if err := anew(); err != nil {
				return err
			}
			return live.Keep(t.Context(), map[events.Partition]int64{p: 1000}, func() error { return nil })
		},
		"before it is said": func(live *readmodel.Live) error {
			if err := live.Keep(t.Context(), map[events.Partition]int64{{Topic: "t", ID: 1}: 1000, p: 1000}, anew); err != nil {
				return err
			}
			return live.Keep(t.Context(), nil, anew)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := readmodel.NewLive(s).Keep(t.Context(), map[events.Partition]int64{p: 0}, func() error { return nil }); err != nil {
				t.Fatal(err)
			}
			if anew := (*readmodel.AnewError)(nil); !errors.As(meanwhile(readmodel.NewLive(s)), &anew) {
				t.Error("written on as if nothing had happened")
			}
			if begun, err := readmodel.NewLive(s).Begun(t.Context()); len(begun) > 0 || err != nil {
				t.Errorf("begun are %v, %v, and nobody has written anything", begun, err)
			}
		})
	}
}

func TestLive_WritesToEveryGenerationThatIsKept(t *testing.T) {
	s := open(t).Server
	live := readmodel.NewLive(s)
	number := 0
	write := func() (string, error) {
		number++
		user := "user-" + string(rune('a'+number))
		m := projection.NewModel()
		m.Fold(event("of "+user, &events.UserErased{UserID: user}))
		return user, live.Insert(t.Context(), batchOf(nil, m))
	}
	has := func(generation int, user string) bool {
		t.Helper()
		apps, err := s.Generation(generation).Apps(t.Context(), []string{"demo"})
		if err != nil {
			t.Fatal(err)
		}
		_, is := apps["demo"].Erased[user]
		return is
	}
	if _, err := write(); err == nil {
		t.Error("written before anybody has looked")
	}
	at := events.Partition{Topic: "t"}
	keep := func(offset int64) {
		t.Helper()
		if err := live.Keep(t.Context(), map[events.Partition]int64{at: offset}, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	keep(1)
	if _, err := s.Add(t.Context(), readmodel.Options{}); err != nil {
		t.Fatal(err)
	}
	first, err := write()
	if err != nil || !has(1, first) || has(2, first) {
		t.Errorf("before it was looked for the second generation: %v", err)
	}
	lost := errors.New("the partition is somebody else's")
	if err := live.Keep(t.Context(), map[events.Partition]int64{at: 1}, func() error { return lost }); !errors.Is(err, lost) {
		t.Errorf("kept without knowing whose the partition is: %v", err)
	}
	if covered, err := s.Covered(t.Context(), 2); err != nil || len(covered) > 0 {
		t.Errorf("covered %v %v by somebody who does not own it", covered, err)
	}
	keep(2)
	keep(3)
	if covered, err := s.Covered(t.Context(), 2); err != nil || covered[at] != 2 {
		t.Errorf("covered %v %v, want from 2 on", covered, err)
	}
	second, err := write()
	if err != nil || !has(1, second) || !has(2, second) {
		t.Errorf("not in both: %v", err)
	}
	if err := s.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := write(); err == nil {
		t.Error("written to a generation that is gone")
	}
	if third, err := write(); err != nil || !has(1, third) {
		t.Errorf("after the second generation was dropped: %v", err)
	}
}
