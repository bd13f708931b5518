package chaos

import (
	"maps"
	"reflect"
	"sync"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// registers are those of a model. Conflicts are what batches saw.
func registers(m *projection.Model) projection.Model {
	return projection.Model{
		States: m.States, Edits: m.Edits, Messages: m.Messages, Users: m.Users, Groups: m.Groups, Plans: m.Plans, Erased: m.Erased,
	}
}

func same(a, b *projection.Model) bool { return reflect.DeepEqual(registers(a), registers(b)) }

func merged(models ...*projection.Model) *projection.Model {
	all := projection.NewModel()
	for _, m := range models {
		all.Merge(m)
	}
	return all
}

// store is the read model.
type store struct {
	mu    sync.Mutex
	model *projection.Model
}

func (s *store) insert(m *projection.Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model.Merge(m)
}

func (s *store) snapshot() *projection.Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	return merged(s.model)
}

// has reports whether events are in the store: folding them again changes nothing.
func has(m *projection.Model, list []events.Event) bool {
	with := merged(m)
	for _, e := range list {
		with.Fold(e)
	}
	return same(m, with)
}

// announcement is what a projector tells.
type announcement struct {
	records []events.Record
	ranges  []events.Range
}

// news reports whether it is no mere repeat of where partitions are.
func (a announcement) news() bool {
	for _, r := range a.ranges {
		if r.From < r.To || r.Moved {
			return true
		}
	}
	return len(a.records) > 0
}

// listener follows the projectors as a query worker does: it merges what it hears, and
// loads everything again when it has missed something.
type listener struct {
	run *run

	mu     sync.Mutex
	model  *projection.Model
	known  map[events.Partition]int64
	missed map[events.Partition]map[int64]int // announced and lost, or not heard yet
}

// mark notes that the offsets of an announcement are lost or on their way.
func (l *listener) mark(a announcement, n int) {
	for _, r := range a.ranges {
		p := r.Partition
		if l.missed[p] == nil {
			l.missed[p] = map[int64]int{}
		}
		for o := r.From; o < r.To; o++ {
			l.missed[p][o] += n
		}
	}
}

// lose says that an announcement gets nowhere.
func (l *listener) lose(a announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(a, 1)
}

// send says that an announcement is on its way, which arrive ends.
func (l *listener) send(a announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(a, 1)
}

func (l *listener) arrive(a announcement) {
	l.mu.Lock()
	l.mark(a, -1)
	l.mu.Unlock()
	l.hear(a)
}

func (l *listener) hear(a announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.model.Merge(l.run.fold(a.records))
	reload := false
	for _, r := range a.ranges {
		p := r.Partition
		known, heard := l.known[p]
		for o := known; heard && o < r.From; o++ {
			reload = true
			if l.missed[p][o] <= 0 {
				l.run.wrong("%v: heard of %d after %d, and no announcement of it is lost", p, r.From, known)
			}
		}
		if !heard {
			reload = true // who begins to listen loads
		}
		l.known[p] = max(known, r.To)
	}
	if reload {
		l.run.count("who follows loads again")
		l.model.Merge(l.run.store.snapshot())
	}
}

func (l *listener) snapshot() (*projection.Model, map[events.Partition]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return merged(l.model), maps.Clone(l.known)
}
