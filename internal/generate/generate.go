package generate

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// Generator gives the events of one chat, one after the other. It is for one
// goroutine.
type Generator struct {
	config   Config
	rng      *rand.Rand
	prefix   string // of all IDs of this chat
	count    uint64
	messages uint64
	clock    events.Micros
	worlds   []*world
	sessions []session
	queue    []queued
	head     int // of the queue
}

type queued struct {
	app  string
	body events.Body
}

// New makes the generator of a valid configuration.
func New(config Config) *Generator {
	g := &Generator{
		config: config,
		rng:    rand.New(rand.NewPCG(config.Seed, 0x636f6e766f)),
		prefix: prefixOf(config),
		clock:  events.MicrosOf(config.Start),
	}
	for _, app := range config.Apps {
		g.worlds = append(g.worlds, newWorld(g, app))
		g.push(app, &events.AppPlanChanged{
			MaxConversations: uint32(config.MaxConversations),
			Retention:        uint64(config.Retention / time.Second),
		})
	}
	// With this many sessions each of them gets a turn every few seconds.
	g.sessions = make([]session, min(max(4, int(config.Rate*5)), 512, 2+config.People/2))
	return g
}

// prefixOf is the beginning of all IDs: another chat has another one.
func prefixOf(c Config) string {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, c.Seed, c.Apps, c.People, c.Groups, events.MicrosOf(c.Start), c.Rate, c.FirstSequence)
	return strconv.FormatUint(h.Sum64()>>24, 36) + "-"
}

// Next gives the next event; chat time goes on by itself.
func (g *Generator) Next() events.Event {
	return g.emit(g.clock + g.pause())
}

// NextAt gives the next event at the time now, or just after the event before
// when that was later.
func (g *Generator) NextAt(now time.Time) events.Event {
	return g.emit(max(g.clock+1, events.MicrosOf(now)))
}

// NextBy is Next, but chat time does not go beyond now: once it is there, every
// event is just after the one before.
func (g *Generator) NextBy(now time.Time) events.Event {
	return g.emit(max(g.clock+1, min(g.clock+g.pause(), events.MicrosOf(now))))
}

func (g *Generator) emit(at events.Micros) events.Event {
	g.clock = at
	for g.head == len(g.queue) {
		g.queue, g.head = g.queue[:0], 0
		g.turn()
	}
	next := g.queue[g.head]
	g.queue[g.head] = queued{}
	g.head++
	g.count++
	return events.Event{ID: g.id('e', g.count), App: next.app, Time: at, Body: next.body}
}

// id is unique by its number, and ascends with it.
func (g *Generator) id(kind byte, number uint64) string {
	b := make([]byte, 0, 32)
	b = append(b, g.prefix...)
	b = append(b, kind)
	digits := strconv.AppendUint(nil, number, 10)
	for range 12 - len(digits) {
		b = append(b, '0')
	}
	return string(append(b, digits...))
}

// Of a quiet chat, most pauses are a few seconds and a few are long, so that
// people still answer each other at once.
const (
	shortPause = 2.0 // seconds
	longShare  = 0.02
)

// pause is the time to the next event.
func (g *Generator) pause() events.Micros {
	mean := 1 / g.config.Rate
	if mean > shortPause {
		long := (mean - shortPause*(1-longShare)) / longShare
		mean = shortPause
		if g.chance(longShare) {
			mean = long
		}
	}
	return max(1, events.Micros(g.rng.ExpFloat64()*mean*1e6))
}

func (g *Generator) push(app string, body events.Body) {
	g.queue = append(g.queue, queued{app, body})
}

func (g *Generator) chance(p float64) bool { return g.rng.Float64() < p }

// low is an index below n: the lower ones come more often.
func (g *Generator) low(n int) int {
	f := g.rng.Float64()
	return min(n-1, int(f*f*f*float64(n)))
}

func pick[T any](g *Generator, list []T) T { return list[g.rng.IntN(len(list))] }

// turn lets somebody do something.
func (g *Generator) turn() {
	s := &g.sessions[g.rng.IntN(len(g.sessions))]
	if s.turns == 0 {
		w := g.worlds[g.low(len(g.worlds))]
		w.open(s)
	}
	s.world.turn(s)
}

// Users are the IDs of an app's people, the busiest first.
func (g *Generator) Users(app string) []string {
	for _, w := range g.worlds {
		if w.app == app {
			ids := make([]string, len(w.people))
			for i := range w.people {
				ids[i] = w.people[i].id
			}
			return ids
		}
	}
	return nil
}
