package chaos

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection"
)

var (
	errDead   = errors.New("the process is dead")
	errFailed = errors.New("clickhouse is away")
)

// process is a projector and everything between it and the world.
type process struct {
	run     *run
	name    string
	faults  []fault
	decoder *events.Decoder
	stop    context.CancelFunc
	died    chan struct{} // closed when it is killed
	leaving atomic.Bool   // it was told to stop while faults happen

	mu        sync.Mutex
	seen      map[step]int
	dead      bool
	isolated  bool
	thaw      chan struct{} // nil: it is not stopped
	conns     map[*conn]struct{}
	announced map[events.Partition]int64
	said      time.Time // when the announcement before gets there
}

// start starts a process, which ends with the context, or when it is killed.
func (r *run) start(ctx context.Context, name string, faults []fault) (*process, <-chan error) {
	p := &process{
		run: r, name: name, faults: faults, decoder: events.NewDecoder(events.DefaultLimits()).Sharing(), died: make(chan struct{}),
		seen: map[step]int{}, conns: map[*conn]struct{}{}, announced: map[events.Partition]int64{},
	}
	config := r.config
	config.Dialer = p
	consumer, err := ingest.New(config, p, p, slog.New(r.logs(name)), prometheus.NewRegistry())
	if err != nil {
		panic(err)
	}
	consumer.AnnounceTo(p)
	ctx, p.stop = context.WithCancel(ctx)
	done := make(chan error, 1)
	r.background.Go(func() {
		err := consumer.Run(ctx)
		r.note("%s: ended: %v", name, err)
		done <- err
	})
	return p, done
}

// at counts the occurrences of a step, and gives what happens at this one.
func (p *process) at(s step) *fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.run.calm.Load() {
		return nil
	}
	p.seen[s]++
	for i, f := range p.faults {
		if f.step == s && f.nth == p.seen[s] {
			p.run.note("%s: %v", p.name, f)
			p.run.count(string(f.step) + ": " + string(f.action))
			return &p.faults[i]
		}
	}
	return nil
}

// kill ends all effects of the process.
func (p *process) kill() {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.dead = true
	close(p.died)
	p.mu.Unlock()
	p.cutAll()
	p.stop()
}

func (p *process) cutAll() {
	p.mu.Lock()
	conns := p.conns
	p.conns = map[*conn]struct{}{}
	p.mu.Unlock()
	for c := range conns {
		_ = c.Close()
	}
}

// isolate keeps the process from its brokers for a while.
func (p *process) isolate(takes time.Duration) {
	set := func(away bool) {
		p.mu.Lock()
		p.isolated = away
		p.mu.Unlock()
	}
	set(true)
	p.cutAll()
	time.Sleep(takes)
	set(false)
}

// halt stops the process for a while. Its caller is the writer, in the sink: nobody else then
// waits for the connection on which it commits.
func (p *process) halt(takes time.Duration) {
	thaw := make(chan struct{})
	p.mu.Lock()
	p.thaw = thaw
	p.mu.Unlock()
	time.Sleep(takes)
	p.mu.Lock()
	p.thaw = nil
	p.mu.Unlock()
	close(thaw)
}

// awaitThaw waits while the process is stopped.
func (p *process) awaitThaw() {
	p.mu.Lock()
	thaw := p.thaw
	p.mu.Unlock()
	if thaw != nil {
		<-thaw
	}
}

// away reports whether the process reaches nobody.
func (p *process) away() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead || p.isolated
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// keep has a connection cut when the process is. It reports false when it is cut already.
func (p *process) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.isolated {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *process) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// Decode is the decoder's.
func (p *process) Decode(record events.Record) (events.Event, error) {
	p.awaitThaw()
	if p.at(folding) != nil {
		p.kill()
	}
	e, err := p.decoder.Decode(record)
	if breaks := p.run.broken.decode; breaks != nil {
		err = breaks(err)
	}
	return e, err
}

// Insert is the sink's.
func (p *process) Insert(_ context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	if p.isDead() {
		return errDead
	}
	insert := p.run.store.insert
	if p.run.broken.insert != nil {
		insert = func(m *projection.Model) { p.run.broken.insert(p, m) }
	}
	if f := p.at(insertSent); f != nil {
		if err := p.suffer(f); err != nil {
			return err
		}
	}
	half := p.at(insertHalf)
	var all []*projection.Model
	n := 0
	for models := range batches {
		for i, m := range models {
			messages, rest := halves(m)
			insert(messages)
			if half != nil && n == half.nth%2 && i == len(models)/2 {
				return p.suffer(half)
			}
			insert(rest)
			all = append(all, m)
		}
		n++
	}
	if n > 1 {
		p.run.count("an insert of several batches")
	}
	if half != nil {
		return p.suffer(half)
	}
	p.run.count("an insert")
	if f := p.at(insertDone); f != nil {
		if f.action == repeat {
			for _, m := range all {
				insert(m)
			}
		}
		return p.suffer(f)
	}
	return nil
}

// suffer lets a fault happen around an insert.
func (p *process) suffer(f *fault) error {
	p.run.suffering.Add(1)
	defer p.run.suffering.Add(-1)
	switch f.action {
	case kill:
		p.kill()
		return errDead
	case fail, lose:
		return errFailed
	case delay:
		time.Sleep(f.takes)
	case stop:
		p.halt(f.takes)
	default:
	}
	if p.isDead() { // meanwhile
		return errDead
	}
	return nil
}

// halves divides a model as an insert's tables do, which are not written at once.
func halves(m *projection.Model) (messages, rest *projection.Model) {
	messages, rest = projection.NewModel(), projection.NewModel()
	messages.Messages, messages.Users, messages.Plans = m.Messages, m.Users, m.Plans
	rest.States, rest.Edits, rest.Groups, rest.Erased = m.States, m.Edits, m.Groups, m.Erased
	return messages, rest
}

// Announce is the announcer's. It never waits but while the process is stopped.
func (p *process) Announce(_ context.Context, _ projection.Changes, records [][]events.Record, ranges []events.Range, topics map[string]int) error {
	p.awaitThaw()
	if p.isDead() {
		return errDead
	}
	a := announcement{records: slices.Concat(records...), ranges: ranges}
	batch := topics == nil && a.news()
	var f *fault
	if batch {
		p.run.checkAnnouncement(p, a)
		if f = p.at(announceSent); f == nil {
			f = p.at(announceDone)
		}
		p.mu.Lock()
		for _, r := range ranges {
			p.announced[r.Partition] = r.To
		}
		p.mu.Unlock()
	}
	var takes time.Duration
	times := 1
	if f != nil {
		switch {
		case f.action == kill && f.step == announceSent:
			p.kill()
			return errDead
		case f.action == kill:
			defer p.kill()
		case f.action == fail:
			p.run.listener.lose(a)
			return errors.New("no responders")
		case f.action == lose:
			p.run.listener.lose(a)
			return nil
		case f.action == repeat:
			times = 2
		case f.action == delay:
			takes = f.takes
		}
	}
	if breaks := p.run.broken.announce; batch && breaks != nil && breaks() {
		return nil
	}
	for range times {
		p.tell(a, takes)
	}
	return nil
}

// tell has an announcement heard, after those that the process has told before.
func (p *process) tell(a announcement, takes time.Duration) {
	p.mu.Lock()
	at := time.Now().Add(takes)
	if at.Before(p.said) {
		at = p.said
	}
	waits := at.After(time.Now())
	if waits {
		p.said = at.Add(time.Nanosecond) // timers of one moment have no order
	}
	p.mu.Unlock()
	if !waits {
		p.run.listener.hear(a)
		return
	}
	p.run.listener.send(a)
	p.run.background.Go(func() {
		time.Sleep(time.Until(at))
		p.run.listener.arrive(a)
	})
}

// committing checks what the process is about to commit.
func (p *process) committing(req *kmsg.OffsetCommitRequest) {
	for _, t := range req.Topics {
		for _, c := range t.Partitions {
			at := events.Partition{Topic: t.Topic, ID: int(c.Partition)}
			p.mu.Lock()
			announced, known := p.announced[at]
			p.mu.Unlock()
			p.run.checkCommit(p, at, c.Offset, known && announced >= c.Offset)
		}
	}
}
