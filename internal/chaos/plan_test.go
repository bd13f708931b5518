package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
)

// step is a place on the way of a batch at which something can happen.
type step string

const (
	dialing       step = "dial"
	joinSent      step = "before joining"
	joinDone      step = "joined"
	heartbeatSent step = "before a heartbeat"
	heartbeatDone step = "after a heartbeat"
	askSent       step = "before asking for topics and offsets"
	askDone       step = "asked for topics and offsets"
	fetchSent     step = "before a fetch"
	fetchDone     step = "fetched"
	folding       step = "fold"
	insertSent    step = "before an insert"
	insertHalf    step = "in the middle of an insert"
	insertDone    step = "inserted"
	announceSent  step = "before announcing"
	announceDone  step = "announced"
	commitSent    step = "before a commit"
	commitDone    step = "committed"
	letterSent    step = "before a dead letter"
	letterDone    step = "dead letter written"
)

// action is what happens at a step.
type action string

const (
	kill   action = "kill"
	stop   action = "stop and continue" // SIGSTOP, SIGCONT
	cut    action = "cut"               // the connection
	lose   action = "lose"              // an answer, an acknowledgement, an announcement
	fail   action = "fail"
	delay  action = "delay"
	repeat action = "repeat"
	late   action = "late" // the connection is cut, and the request arrives later
	refuse action = "refuse"

	latency   action = "latency"
	bandwidth action = "bandwidth"
	sliced    action = "sliced"
	limit     action = "cut after bytes"
	silence   action = "silence"
)

// menu are the actions of each step, and up to which of its occurrences they happen.
var menu = []struct {
	step    step
	within  int
	actions []action
}{
	{dialing, 12, []action{refuse, latency, bandwidth, sliced, limit, silence}},
	{joinSent, 6, []action{kill, cut}},
	{joinDone, 6, []action{kill, lose}},
	{heartbeatSent, 60, []action{kill, cut}},
	{heartbeatDone, 60, []action{kill, lose}},
	{askSent, 10, []action{kill, cut}},
	{askDone, 10, []action{kill, lose}},
	{fetchSent, 40, []action{kill, cut}},
	{fetchDone, 40, []action{kill, lose}},
	{folding, 30, []action{kill}},
	{insertSent, 6, []action{kill, stop, fail, delay}},
	{insertHalf, 6, []action{kill, fail}},
	{insertDone, 6, []action{kill, stop, lose, repeat, delay}},
	{announceSent, 6, []action{kill, fail}},
	{announceDone, 6, []action{kill, lose, repeat, delay}},
	{commitSent, 8, []action{kill, cut, late}},
	{commitDone, 8, []action{kill, lose}},
	{letterSent, 3, []action{kill, cut}},
	{letterDone, 3, []action{kill, lose}},
}

// fault is what happens to one process at one occurrence of a step.
type fault struct {
	step   step
	nth    int // from 1
	action action
	takes  time.Duration
}

func (f fault) String() string {
	return fmt.Sprintf("%s #%d: %s (%v)", f.step, f.nth, f.action, f.takes)
}

// toxics are what is put on the way to the broker and back.
func (f *fault) toxics() (upstream, downstream toxics.Toxic) {
	upstream, downstream = &toxics.NoopToxic{}, &toxics.NoopToxic{}
	switch f.action {
	case latency:
		upstream, downstream = &toxics.LatencyToxic{Latency: f.takes.Milliseconds() / 10}, &toxics.LatencyToxic{Latency: f.takes.Milliseconds() / 10}
	case bandwidth:
		downstream = &toxics.BandwidthToxic{Rate: 1} // KB/s
	case sliced:
		downstream = &toxics.SlicerToxic{AverageSize: 64, Delay: 1000} // µs
	case limit:
		downstream = &toxics.LimitDataToxic{Bytes: f.takes.Milliseconds() / 10}
	case silence:
		downstream = &toxics.TimeoutToxic{Timeout: f.takes.Milliseconds()}
	default:
	}
	return upstream, downstream
}

// change is what happens to the group and its brokers at a time.
type change struct {
	at    time.Duration
	what  string
	slot  int
	takes time.Duration
}

const (
	stopped    = "a process is stopped as a deployment does, and another started"
	isolated   = "a process reaches no broker"
	moved      = "partitions and the group get other brokers"
	partitions = "partitions are added"
)

// plan is all that is drawn for a run but its events.
type plan struct {
	slots   int       // processes at a time
	faults  [][]fault // by slot and the process's number in it, slot*lives+life
	changes []change
	restart []time.Duration // until another process is started after one that was killed
}

// lives are how many processes of a slot have faults.
const lives = 4

func drawPlan(rng *rand.Rand) plan {
	p := plan{slots: 1 + rng.IntN(3)}
	for range p.slots * lives {
		var list []fault
		for range rng.IntN(5) {
			entry := menu[rng.IntN(len(menu))]
			list = append(list, fault{
				step: entry.step, nth: 1 + rng.IntN(1+rng.IntN(entry.within)),
				action: entry.actions[rng.IntN(len(entry.actions))], takes: between(rng, 10*time.Millisecond, 30*time.Second),
			})
		}
		p.faults = append(p.faults, list)
		p.restart = append(p.restart, between(rng, time.Millisecond, 15*time.Second))
	}
	for range rng.IntN(4) {
		p.changes = append(p.changes, change{
			at:   between(rng, time.Millisecond, 30*time.Second),
			what: []string{stopped, isolated, moved, partitions}[rng.IntN(4)],
			slot: rng.IntN(p.slots), takes: between(rng, 100*time.Millisecond, 30*time.Second),
		})
	}
	return p
}

// between draws a duration, short ones as often as long ones.
func between(rng *rand.Rand, least, most time.Duration) time.Duration {
	d := least
	for d < most && rng.IntN(4) > 0 {
		d *= 2
	}
	return min(d, most) + time.Duration(rng.Int64N(int64(least)))
}

func (p plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d processes at a time\n", p.slots)
	for i, list := range p.faults {
		for _, f := range list {
			fmt.Fprintf(&b, "  process %d.%d %v\n", i/lives, i%lives, f)
		}
	}
	for _, c := range p.changes {
		fmt.Fprintf(&b, "  at %v, slot %d, for %v: %s\n", c.at, c.slot, c.takes, c.what)
	}
	return b.String()
}
