package main

import (
	"context"
	"time"

	"github.com/convoview/convoview/internal/pause"
)

// watched are those whose chat goes on while parts are counted.
var watched = shape{app: "watched", people: 2000, conversations: 50}

// counting counts the active parts of the read model's tables while a chat goes on.
func counting(ctx context.Context, b *bench, f *figures) error {
	w, err := newWorld(watched, b.chat)
	if err != nil {
		return err
	}
	var most uint64
	err = b.during(ctx, w, func() error {
		for begin := time.Now(); time.Since(begin) < b.config.steady; {
			n, err := b.parts(ctx, b.store.Database())
			if err != nil {
				return err
			}
			if n > most {
				most = n
				b.note("parts: %d after %v", n, time.Since(begin).Round(time.Second))
			}
			if err := pause.For(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.compare("most", float64(most), settledParts)
}
