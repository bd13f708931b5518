package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPercentile(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(i+1))
	}
	for _, c := range []struct {
		of    []time.Duration
		share float64
		want  time.Duration
	}{
		{took[:1], 0.99, 1},
		{took[:2], 0.5, 1},
		{took[:99], 0.99, 99},
		{took[:100], 0.99, 99},
		{took, 0.99, 198},
		{took, 1, 200},
		{took, 0, 1},
	} {
		if got := percentile(c.of, c.share); got != c.want {
			t.Errorf("percentile of 1 to %d at %v: got %d, want %d", len(c.of), c.share, got, c.want)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{5, 1, 3}, 3},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(c.of, func(x float64) float64 { return x }); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.of, got, c.want)
		}
	}
}

// TestPacer_IsNotLateForLong holds that what is late is made up for: the rate
// is that of the whole, and who is late is told when it was due.
func TestPacer_IsNotLateForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pacer{rate: 100, start: time.Now()}
		for i := range 300 {
			due, err := p.wait(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if want := p.start.Add(time.Duration(i) * 10 * time.Millisecond); due != want {
				t.Fatalf("%d is due after %v, want %v", i, due.Sub(p.start), want.Sub(p.start))
			}
			if time.Now().Before(due) {
				t.Fatalf("%d comes %v before it is due", i, time.Until(due))
			}
			if i == 100 {
				time.Sleep(time.Second) // somebody holds us up
			}
		}
		if took := time.Since(p.start); took != 2990*time.Millisecond {
			t.Errorf("300 at 100/s took %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.wait(ctx); err == nil {
			t.Error("a cancelled wait has no error")
		}
	})
}
