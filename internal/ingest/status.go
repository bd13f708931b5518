package ingest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// status holds what keeps the consumer from doing its work, by name.
type status struct {
	mu       sync.Mutex
	troubles map[string]error
}

func (s *status) set(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = map[string]error{}
	}
	s.troubles[name] = err
}

func (s *status) clear(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.troubles, name)
}

// err joins all troubles, in the order of their names.
func (s *status) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(s.troubles)) {
		errs = append(errs, fmt.Errorf("%s: %w", name, s.troubles[name]))
	}
	return errors.Join(errs...)
}
