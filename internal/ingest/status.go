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

// set reports whether the trouble is news.
func (s *status) set(name string, err error) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.troubles == nil {
		s.troubles = map[string]error{}
	}
	before := s.troubles[name]
	s.troubles[name] = err
	return before == nil || before.Error() != err.Error()
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
