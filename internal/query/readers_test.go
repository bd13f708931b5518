package query

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestReaders_Silent does not take who is there and does not answer for nobody.
func TestReaders_Silent(t *testing.T) {
	nc := connect(t, startServer(t, 0))
	if _, err := nc.SubscribeSync("$SRV.STATS." + ServiceName); err != nil { // as a worker whose process stands still
		t.Fatal(err)
	}
	if found, err := Readers(nc, 100*time.Millisecond); !errors.Is(err, ErrSilent) {
		t.Errorf("got %+v, %v", found, err)
	}
}

// TestReaders is answered by each worker, also by one that knows of no generation yet, and
// by nobody when there is none.
func TestReaders(t *testing.T) {
	store := newMemory()
	unknown := Only(store)
	unknown.Current = func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }
	for want, generations := range []Generations{unknown, Only(store)} {
		f := startGenerations(t, store, generations, nil)
		var found []Reader
		for {
			var err error
			if found, err = Readers(f.client, 200*time.Millisecond); err != nil && !errors.Is(err, ErrSilent) {
				t.Fatal(err)
			}
			if len(found) == 1 && found[0].Generation == want {
				break
			}
			if t.Context().Err() != nil || len(found) > 1 {
				t.Fatalf("generation %d: got %+v", want, found)
			}
		}
		if found[0].ID == "" {
			t.Errorf("got %+v, expected the worker's ID", found)
		}
		if err := f.stop(); err != nil {
			t.Fatal(err)
		}
		if found, err := Readers(f.client, time.Minute); err != nil || len(found) > 0 {
			t.Errorf("nobody is there: got %+v, %v", found, err)
		}
	}
}
