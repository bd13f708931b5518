package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/stack"
)

// bench is the system under load and what all goals have in common.
type bench struct {
	config    config
	begun     time.Time
	stack     *stack.Stack
	readModel *readmodel.Server
	store     *readmodel.Store // as the projector has it
	engine    driver.Conn      // ClickHouse as it is
	kafka     *producer
	conns     []*nats.Conn // over which the load comes
	chat      *chat
	worlds    map[string]*world  // seeded ones, by app
	streams   map[string]*stream // published ones, by name
	models    int                // made so far
	stderr    io.Writer
}

// connections are how many the load comes over, for the reference and for us.
const connections = 4

// note tells of progress.
func (b *bench) note(format string, args ...any) {
	_, _ = fmt.Fprintf(b.stderr, format+"\n", args...)
}

// measureGoals starts the system, measures the goals one after the other, and
// says in the end what was met.
func measureGoals(ctx context.Context, c config, stdout, stderr io.Writer) (err error) {
	b := &bench{config: c, begun: time.Now(), chat: newChat(), worlds: map[string]*world{}, streams: map[string]*stream{}, stderr: stderr}
	b.note("%s", machine(ctx))
	logs, err := os.CreateTemp("", "convoview-bench-*.log")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, err := b.start(ctx, cancel, logs)
	if err != nil {
		return errors.Join(fmt.Errorf("%w (what the processes said: %s)", err, logs.Name()), logs.Close())
	}
	var verdicts []verdict
	var errs []error
	for _, g := range goals {
		if !slices.Contains(c.goals, g.name) || ctx.Err() != nil {
			continue
		}
		b.note("%s: %s", g.name, g.about)
		f := newFigures(g, stdout)
		begin := time.Now()
		err := g.measure(ctx, b, f)
		if err == nil {
			err = f.complete()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", g.name, err)
			b.note("%v", err)
		}
		b.note("%s took %v", g.name, time.Since(begin).Round(time.Second))
		verdicts, errs = append(verdicts, f.verdicts...), append(errs, err)
	}
	errs = append(errs, context.Cause(ctx), stop(), logs.Close())
	b.conclude(verdicts)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w (what the processes said: %s)", err, logs.Name())
	}
	return os.Remove(logs.Name())
}

// start starts all processes and connects. fail is told when one of them ends.
func (b *bench) start(ctx context.Context, fail context.CancelCauseFunc, logs io.Writer) (stop func() error, err error) {
	ports, err := stack.FreePorts(ctx)
	if err != nil {
		return nil, err
	}
	if b.stack, err = stack.Start(ctx, stack.Config{Ports: ports, Commands: b.config.commands, Log: logs}); err != nil {
		return nil, err
	}
	stop = func() error {
		for _, nc := range b.conns {
			nc.Close()
		}
		var errs []error
		if b.readModel != nil {
			errs = append(errs, b.readModel.Close())
		}
		if b.engine != nil {
			errs = append(errs, b.engine.Close())
		}
		return errors.Join(append(errs, b.stack.Stop())...)
	}
	if err := b.connect(ctx); err != nil {
		return nil, errors.Join(err, stop())
	}
	go func() {
		select {
		case err := <-b.stack.Failed():
			fail(err)
		case <-ctx.Done():
		}
	}()
	return stop, nil
}

func (b *bench) connect(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := b.stack.Add(ctx, "echo", self, echoCommand); err != nil {
		return err
	}
	for range connections {
		nc, err := nats.Connect(b.stack.Ports.NATSURL(), nats.Name("bench"))
		if err != nil {
			return fmt.Errorf("connect to NATS: %w", err)
		}
		b.conns = append(b.conns, nc)
	}
	config := readmodel.DefaultConfig()
	config.Addresses = []string{b.stack.Ports.ClickHouseAddr()}
	if b.readModel, err = readmodel.Open(config); err != nil {
		return err
	}
	b.store = b.readModel.Generation(1)
	if b.kafka, err = newProducer(ctx, b.stack.Ports.KafkaAddr()); err != nil {
		return err
	}
	b.engine, err = clickhouse.Open(&clickhouse.Options{
		Addr:        config.Addresses,
		DialTimeout: config.DialTimeout, ReadTimeout: config.ReadTimeout,
		MaxOpenConns: config.MaxConnections, MaxIdleConns: config.MaxConnections,
	}) // without compression, as the store has it on loopback
	return err
}

// serve starts a fresh query worker, which has nothing in memory, and waits
// until it hears of everything.
func (b *bench) serve(ctx context.Context, flags ...string) error {
	if err := b.stack.RestartQuery(ctx, flags...); err != nil {
		return err
	}
	return b.eventually(ctx, "the feed is whole", seldom, func() (bool, error) {
		m, err := b.queryMetrics(ctx)
		return m["convoview_feed_whole"] == 1, err
	})
}

// alone does something while no query worker is there, which would hear of all that is
// projected.
func (b *bench) alone(ctx context.Context, do func() error) error {
	if err := b.stack.StopQuery(); err != nil {
		return err
	}
	err := do()
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, b.serve(ctx))
}

// How long is waited for something to become true, and how often it is usually
// looked at.
const (
	eventuallyTimeout = 3 * time.Minute
	seldom            = 50 * time.Millisecond
)

// eventually waits until something is true, and looks every now and then.
func (b *bench) eventually(ctx context.Context, what string, every time.Duration, is func() (bool, error)) error {
	deadline := time.Now().Add(eventuallyTimeout)
	for {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %v until %s", eventuallyTimeout, what)
		}
		if err := pause.For(ctx, every); err != nil {
			return err
		}
	}
}

// side is one of those that a round measures.
type side struct {
	name    string
	measure func(round int) (sample, error)
}

// rounds measures the sides in each round one after the other; which one is
// first takes turns. It gives the samples of each side.
func (b *bench) rounds(ctx context.Context, what string, sides ...side) ([][]sample, error) {
	samples := make([][]sample, len(sides))
	measures := make([]func(round int) (string, error), len(sides))
	for i, side := range sides {
		measures[i] = func(round int) (string, error) {
			s, err := side.measure(round)
			if err == nil && len(s.took) == 0 {
				err = fmt.Errorf("no reply in %v", s.elapsed)
			}
			if err != nil {
				return "", fmt.Errorf("%s: %w", side.name, err)
			}
			samples[i] = append(samples[i], s)
			return fmt.Sprintf("%s %.0f/s, p99 %.2f ms", side.name, s.rate(), s.p99()), nil
		}
	}
	return samples, b.turns(ctx, what, measures...)
}

// turns measures in each round one after the other, and tells what they say; which one
// is first takes turns.
func (b *bench) turns(ctx context.Context, what string, measures ...func(round int) (string, error)) error {
	for round := range b.config.rounds {
		said := make([]string, len(measures))
		for i := range measures {
			at := (i + round) % len(measures)
			var err error
			if said[at], err = measures[at](round); err != nil {
				return fmt.Errorf("%s, round %d: %w", what, round+1, err)
			}
		}
		b.note("%s, round %d: %s", what, round+1, strings.Join(said, "; "))
	}
	return ctx.Err()
}

// conclude says which bounds were met and which were not.
func (b *bench) conclude(verdicts []verdict) {
	for _, met := range []bool{true, false} {
		for _, v := range verdicts {
			if v.met == met {
				b.note("%s %s: %s", map[bool]string{true: "met    ", false: "NOT MET"}[met], v.figure, v.bound)
			}
		}
	}
}
