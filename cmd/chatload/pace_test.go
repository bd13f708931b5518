package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushes := 0
		flush := func(context.Context) error { flushes++; return nil }
		p := pacer{rate: 250}
		start := time.Now()
		for range 1001 {
			if err := p.wait(t.Context(), flush); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 4*time.Second || flushes != 1000 {
			t.Errorf("1,000 at 250/s take %s with %d flushes", took, flushes)
		}
	})
}

// Above a few hundred per second they come in small groups, at the same rate.
func TestPacer_Fast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		flushes := 0
		p := pacer{rate: 100_000}
		start := time.Now()
		for range 200_001 {
			if err := p.wait(t.Context(), func(context.Context) error { flushes++; return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 2*time.Second-2*paceStep || took > 2*time.Second || flushes > 1001 {
			t.Errorf("200,000 at 100,000/s take %s with %d flushes", took, flushes)
		}
	})
}

func TestPacer_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := pacer{rate: 0.001}
		nothing := func(context.Context) error { return nil }
		if err := p.wait(ctx, nothing); err != nil {
			t.Fatal("the first one is due at once:", err)
		}
		start := time.Now()
		if err := p.wait(ctx, nothing); err == nil || time.Since(start) != time.Second {
			t.Errorf("error %v after %s", err, time.Since(start))
		}
		unpaced := pacer{}
		if err := unpaced.wait(ctx, nothing); err == nil {
			t.Error("no rate: no error of the context")
		}
	})
}
