package query

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"
)

// slow is a load that takes a second, and remembers its calls.
type slow struct {
	mu    sync.Mutex
	calls [][]int
	fail  func(keys []int) error
	ended []error // of the contexts
}

func (s *slow) load(ctx context.Context, keys []int) (map[int]string, error) {
	s.mu.Lock()
	sorted := slices.Sorted(slices.Values(keys))
	s.calls = append(s.calls, sorted)
	started := len(s.calls)
	s.mu.Unlock()

	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, ctx.Err())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(keys); err != nil {
			return nil, err
		}
	}
	values := map[int]string{}
	for _, k := range keys {
		if k >= 0 { // a negative key does not exist
			values[k] = fmt.Sprintf("%d of call %d", k, started)
		}
	}
	return values, nil
}

// asked is what one caller got.
type asked struct {
	values map[int]string
	err    error
	after  time.Duration
}

// ask asks in a goroutine of its own and returns when that waits or has ended.
func ask(ctx context.Context, b *batcher[int, string], keys ...int) *asked {
	a := &asked{}
	begin := time.Now()
	go func() {
		a.values, a.err = b.get(ctx, keys)
		a.after = time.Since(begin)
	}()
	synctest.Wait()
	return a
}

// pass lets d of the bubble's time pass and all that follows from it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestBatcher_LoneRequestStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 10, 1)
		a := ask(t.Context(), b, 1, -1)
		pass(2 * time.Second)
		if diff := cmp.Diff(map[int]string{1: "1 of call 1"}, a.values); diff != "" || a.err != nil {
			t.Errorf("(-want +got)\n%s %v", diff, a.err)
		}
		if a.after != time.Second {
			t.Errorf("took %s, want the load's second", a.after)
		}
	})
}

func TestBatcher_CoalescesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 10, 1)
		first := ask(t.Context(), b, 1)
		second := ask(t.Context(), b, 1, 2) // 1 is being loaded, but was asked for before: not fresh enough
		third := ask(t.Context(), b, 2, 3)
		pass(3 * time.Second)

		if diff := cmp.Diff([][]int{{1}, {1, 2, 3}}, s.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		for i, got := range []*asked{first, second, third} {
			want := []map[int]string{
				{1: "1 of call 1"},
				{1: "1 of call 2", 2: "2 of call 2"},
				{2: "2 of call 2", 3: "3 of call 2"},
			}[i]
			if diff := cmp.Diff(want, got.values); diff != "" || got.err != nil {
				t.Errorf("caller %d (-want +got)\n%s %v", i+1, diff, got.err)
			}
		}
		if second.after != 2*time.Second {
			t.Errorf("the second caller waited %s, want the rest of one load and its own", second.after)
		}
	})
}

func TestBatcher_BoundsKeysAndCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 2, 2)
		a := ask(t.Context(), b, 1, 2, 3, 4, 5)
		if len(s.calls) != 2 {
			t.Errorf("%d calls at the same time, want 2", len(s.calls))
		}
		c := ask(t.Context(), b, 6, 5) // room is left beside 5
		pass(3 * time.Second)
		if len(a.values) != 5 || a.err != nil || len(c.values) != 2 || c.err != nil {
			t.Errorf("got %v and %v", a, c)
		}
		want := [][]int{{1, 2}, {3, 4}, {5, 6}}
		slices.SortFunc(s.calls, slices.Compare)
		if diff := cmp.Diff(want, s.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		if a.after != 2*time.Second {
			t.Errorf("took %s, want two loads", a.after)
		}
	})
}

// TestBatcher_PatienceGathers has small batches wait while another is under way:
// until it ends, until they are full, or until their patience is at an end.
func TestBatcher_PatienceGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 3, 3)
		b.patience = 700 * time.Millisecond
		first := ask(t.Context(), b, 1)
		second := ask(t.Context(), b, 2)
		time.Sleep(300 * time.Millisecond)
		ask(t.Context(), b, 3, 4) // with the second it is full
		fourth := ask(t.Context(), b, 5)
		time.Sleep(600 * time.Millisecond)
		fifth := ask(t.Context(), b, 6)
		time.Sleep(10 * time.Second)
		last := ask(t.Context(), b, 7)
		pass(10 * time.Second)
		if diff := cmp.Diff([][]int{{1}, {2, 3, 4}, {5, 6}, {7}}, s.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		for _, c := range []struct {
			name string
			*asked
			want time.Duration
		}{
			{"alone", first, time.Second},
			{"until it is full", second, 1300 * time.Millisecond},
			{"until its patience ends", fourth, 1700 * time.Millisecond},
			{"with one who waits", fifth, 1100 * time.Millisecond},
			{"alone again", last, time.Second},
		} {
			if c.after != c.want {
				t.Errorf("%s: %v, want %v", c.name, c.after, c.want)
			}
		}
	})
}

// TestBatcher_KeepsNothing holds that what a batch brought is forgotten with its callers,
// although its patience was not at an end when it began.
func TestBatcher_KeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		brought := map[int]weak.Pointer[string]{}
		b := newBatcher(func(_ context.Context, keys []int) (map[int]*string, error) {
			time.Sleep(time.Second)
			values := map[int]*string{}
			for _, k := range keys {
				values[k] = new(strings.Repeat("v", 1000))
				brought[k] = weak.Make(values[k])
			}
			return values, nil
		}, 10, 2)
		b.patience = time.Hour
		for k := range 2 {
			go func() {
				if values, err := b.get(t.Context(), []int{k}); err != nil || values[k] == nil {
					t.Errorf("got %v, %v", values, err)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		runtime.GC()
		for k := range 2 {
			if p, was := brought[k]; !was || p.Value() != nil {
				t.Errorf("what was brought for %d is still in memory (brought: %t)", k, was)
			}
		}
		runtime.KeepAlive(b)
	})
}

func TestBatcher_OneWhoLeavesHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 10, 1)
		ask(t.Context(), b, 0)
		why := errors.New("had enough")
		ctx, leave := context.WithCancelCause(t.Context())
		leaver, stayer := ask(ctx, b, 1), ask(t.Context(), b, 1, 2)
		pass(1500 * time.Millisecond) // their load runs
		leave(why)
		pass(2 * time.Second)
		if !errors.Is(leaver.err, why) || leaver.after != 1500*time.Millisecond {
			t.Errorf("the leaver got %v after %s", leaver.err, leaver.after)
		}
		if stayer.err != nil || len(stayer.values) != 2 {
			t.Errorf("the stayer got %v, %v", stayer.values, stayer.err)
		}
	})
}

func TestBatcher_WhatNobodyWaitsForIsCancelledOrNeverStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 10, 1)
		runs, leaveRunning := context.WithCancel(t.Context())
		waits, leaveWaiting := context.WithCancel(t.Context())
		running, waiting := ask(runs, b, 1), ask(waits, b, 2)
		leaveWaiting()
		synctest.Wait()
		leaveRunning()
		synctest.Wait()
		if running.err == nil || waiting.err == nil || running.after+waiting.after != 0 {
			t.Errorf("got %v, %v", running, waiting)
		}
		if diff := cmp.Diff([][]int{{1}}, s.calls); diff != "" {
			t.Errorf("calls (-want +got)\n%s", diff)
		}
		if len(s.ended) != 1 || !errors.Is(s.ended[0], context.Canceled) {
			t.Errorf("the load ended with %v, want it cancelled", s.ended)
		}
		next := ask(t.Context(), b, 2)
		pass(2 * time.Second)
		if next.err != nil || next.values[2] != "2 of call 2" {
			t.Errorf("the next caller got %v, %v", next.values, next.err)
		}
		if len(b.places) != 0 || len(b.waiting) != 0 || len(b.running) != 0 {
			t.Errorf("left behind: %v", b)
		}
	})
}

// TestBatcher_LingersForWhoComesBack has the only caller of a call leave, which goes on for a
// while, unless it is to hurry.
func TestBatcher_LingersForWhoComesBack(t *testing.T) {
	for _, c := range []struct {
		name        string
		linger      time.Duration
		hurry, want bool // that it is done
	}{
		{name: "long enough", linger: 2 * time.Second, want: true},
		{name: "not long enough", linger: time.Second / 2},
		{name: "in a hurry", linger: 2 * time.Second, hurry: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slow{}
				b := newBatcher(s.load, 10, 1)
				b.linger = func() time.Duration { return c.linger }
				ctx, leave := context.WithCancel(t.Context())
				left, waiting := ask(ctx, b, 1), ask(t.Context(), b, 2)
				leave()
				synctest.Wait()
				if !errors.Is(left.err, context.Canceled) || left.after != 0 {
					t.Errorf("who left got %v after %s", left.err, left.after)
				}
				if c.hurry {
					b.hurry()
					synctest.Wait()
					b.hurry() // somebody waits for what runs now
				}
				pass(3 * time.Second)
				if waiting.err != nil || waiting.values[2] != "2 of call 2" {
					t.Errorf("the next caller got %v, %v", waiting.values, waiting.err)
				}
				if got := s.ended[0] == nil; got != c.want {
					t.Errorf("the load ended with %v, want it done: %t", s.ended[0], c.want)
				}
				if len(b.running) != 0 {
					t.Errorf("left behind: %v", b)
				}
			})
		})
	}
}

// TestBatcher_ForgetsWhoLeaves has callers come and go while nothing can start: only who
// still waits is kept.
func TestBatcher_ForgetsWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 2, 1)
		ask(t.Context(), b, 0)
		var stay *asked
		for k := range 20 {
			ctx, leave := context.WithCancel(t.Context())
			if ask(ctx, b, 2*k+1, 2*k+2); k == 10 {
				stay = ask(t.Context(), b, 2*k+1)
			}
			leave()
			synctest.Wait()
		}
		b.mu.Lock()
		if len(b.waiting) != 1 || len(b.places) != 2 {
			t.Errorf("%d batches of %d keys wait, want 1 of 2", len(b.waiting), len(b.places))
		}
		b.mu.Unlock()
		pass(3 * time.Second)
		if diff := cmp.Diff(map[int]string{21: "21 of call 2"}, stay.values); diff != "" || stay.err != nil {
			t.Errorf("who stayed (-want +got)\n%s %v", diff, stay.err)
		}
	})
}

func TestBatcher_AbandonedBatchIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		b := newBatcher(s.load, 10, 1)
		ask(t.Context(), b, 0)
		ctx, leave := context.WithCancel(t.Context())
		ask(ctx, b, 1)
		leave()
		synctest.Wait()
		joined := ask(t.Context(), b, 1)
		pass(3 * time.Second)
		if joined.err != nil || joined.values[1] != "1 of call 2" {
			t.Errorf("got %v, %v", joined.values, joined.err)
		}
	})
}

func TestBatcher_ErrorGoesToAllOfItsBatchOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		s := &slow{fail: func(keys []int) error {
			if slices.Contains(keys, 13) {
				return broken
			}
			return nil
		}}
		b := newBatcher(s.load, 10, 1)
		before := ask(t.Context(), b, 1)
		one, two := ask(t.Context(), b, 13), ask(t.Context(), b, 2)
		pass(1500 * time.Millisecond)
		after := ask(t.Context(), b, 2)
		pass(3 * time.Second)
		if before.err != nil || after.err != nil {
			t.Errorf("other batches: %v, %v", before.err, after.err)
		}
		if !errors.Is(one.err, broken) || !errors.Is(two.err, broken) {
			t.Errorf("its batch: %v, %v", one.err, two.err)
		}
	})
}

func TestBatcher_DoneContextAsksForNothing(t *testing.T) {
	s := &slow{}
	b := newBatcher(s.load, 10, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.get(ctx, []int{1}); !errors.Is(err, context.Canceled) || len(s.calls) != 0 {
		t.Errorf("got %v after %d calls", err, len(s.calls))
	}
}
