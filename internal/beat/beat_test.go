package beat_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/convoview/convoview/internal/beat"
)

func TestBeat_Check(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := beat.New(5 * time.Minute)
		holds := func(when, want string) {
			t.Helper()
			got := ""
			if err := b.Check(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		time.Sleep(time.Hour)
		holds("a loop that has not begun", "")
		b.Mark()
		time.Sleep(5 * time.Minute)
		holds("in time", "")
		time.Sleep(2 * time.Minute)
		holds("stuck", "last moved 7m0s ago, expected within 5m0s")
		b.Mark()
		holds("it moves again", "")
		b.Rest()
		time.Sleep(time.Hour)
		holds("a loop that has ended", "")
	})
}
