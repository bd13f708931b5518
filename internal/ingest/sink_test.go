package ingest

import (
	"context"
	"iter"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// memorySink merges what it gets into a model, under the test's control.
type memorySink struct {
	mu      sync.Mutex
	model   *projection.Model
	calls   int
	changed chan struct{}
	// before is called before each write, without the lock; its error refuses the write.
	before func(ctx context.Context, call int, m *projection.Model) error
}

func merged(models ...*projection.Model) *projection.Model {
	all := projection.NewModel()
	for _, m := range models {
		all.Merge(m)
	}
	return all
}

func newMemorySink() *memorySink {
	return &memorySink{model: projection.NewModel(), changed: make(chan struct{})}
}

func (s *memorySink) Insert(ctx context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	all := projection.NewModel()
	for models := range batches {
		all.Merge(merged(models...))
	}
	return s.insert(ctx, all)
}

func (s *memorySink) insert(ctx context.Context, m *projection.Model) error {
	s.mu.Lock()
	s.calls++
	call, before := s.calls, s.before
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, call, m); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model.Merge(m)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

func (s *memorySink) snapshot() *projection.Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	return merged(s.model)
}

func (s *memorySink) setBefore(before func(ctx context.Context, call int, m *projection.Model) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// holdFirst holds the first write back until release is closed; entered says that it came.
func (s *memorySink) holdFirst() (entered <-chan struct{}, release chan<- struct{}) {
	came, leave := make(chan struct{}), make(chan struct{})
	s.setBefore(func(_ context.Context, call int, _ *projection.Model) error {
		if call == 1 {
			close(came)
			<-leave
		}
		return nil
	})
	return came, leave
}

// await waits until the model holds as many messages.
func (s *memorySink) await(h waiter, messages int) {
	h.Helper()
	for {
		s.mu.Lock()
		n, changed := len(s.model.Messages), s.changed
		s.mu.Unlock()
		if n >= messages {
			return
		}
		select {
		case <-changed:
		case <-h.expired():
			h.Fatalf("%d messages written, want %d", n, messages)
		}
	}
}
