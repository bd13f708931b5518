package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/stack"
)

// replayed are those whose whole past is in the topics.
var replayed = shape{app: "replayed", people: 2000, conversations: 50}

// rebuilding compares lists while a generation is rebuilt with lists while none is, and
// the rate of a rebuild with that of a projector that reads the same topics. In the end
// it goes all the way.
func rebuilding(ctx context.Context, b *bench, f *figures) error {
	w, err := newWorld(replayed, b.chat)
	if err != nil {
		return err
	}
	past := slices.Collect(w.past(events.MicrosOf(time.Now())))
	b.note("write %s: %d people, %d events", w.app, len(w.people), len(past))
	offsets, err := b.kafka.writeAll(ctx, past)
	if err != nil {
		return err
	}
	if err := b.applied(ctx, w.app, w.people[0], offsets); err != nil {
		return err
	}
	if err := b.rates(ctx, f); err != nil {
		return err
	}
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	l, err := b.whole(ctx, w)
	if err != nil {
		return err
	}
	samples, err := b.rounds(ctx, "lists beside a rebuild",
		side{"without", func(int) (s sample, err error) {
			if err := b.settle(ctx, w); err != nil {
				return sample{}, err
			}
			err = b.during(ctx, w, func() error {
				s, err = b.inFlight(ctx, l.askAny)
				return err
			})
			return s, err
		}},
		side{"beside", func(int) (s sample, err error) {
			if err := b.settle(ctx, w); err != nil {
				return sample{}, err
			}
			err = b.during(ctx, w, func() error {
				return b.beside(ctx, func() error {
					s, err = b.inFlight(ctx, l.askAny)
					return err
				})
			})
			return s, errors.Join(err, b.forget(ctx))
		}},
	)
	if err != nil {
		return err
	}
	if err := f.compare("p99", median(samples[1], sample.p99), median(samples[0], sample.p99)); err != nil {
		return err
	}
	replies, took, err := b.allTheWay(ctx, w)
	if err != nil {
		return err
	}
	return errors.Join(f.tell("all_the_way/replies", float64(replies)), f.tell("all_the_way/took", took.Seconds()))
}

// allTheWay rebuilds, verifies, switches, rolls back and switches again while events
// happen and 64 requests are in flight. None is refused, and each reply is compared.
// Whoever asks takes all that the machine has, so the live projector is as good as they.
func (b *bench) allTheWay(ctx context.Context, w *world) (replies int, took time.Duration, err error) {
	if err := b.stack.RestartProjector(ctx, 0); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, b.stack.RestartProjector(ctx, stack.Niceness)) }()
	if err := b.settle(ctx, w); err != nil {
		return 0, 0, err
	}
	ledger, err := b.newLedger(w)
	if err != nil {
		return 0, 0, err
	}
	err = b.accounted(ctx, w, ledger, func() error {
		asking, enough := context.WithCancelCause(ctx)
		defer enough(nil)
		ended := make(chan error, 1)
		go func() {
			begin := time.Now()
			err := b.steps(asking)
			took = time.Since(begin)
			enough(errDone)
			ended <- err
		}()
		all, err := closedLoop(asking, b.conns, 64, time.Hour, 0, ledger.ask)
		replies = len(all.took)
		if errors.Is(err, errDone) {
			err = nil
		}
		enough(err)
		return errors.Join(err, <-ended)
	})
	return replies, took, errors.Join(err, b.restore(ctx))
}

// restore has the first generation read again, and no other kept: it is what other goals
// write to.
func (b *bench) restore(ctx context.Context) error {
	current, err := b.readModel.Current(ctx)
	if err == nil && current != 1 {
		err = errors.Join(b.command(ctx, "rollback"), b.reads(ctx))
	}
	return errors.Join(err, b.forget(ctx))
}

// errDone ends asking.
var errDone = errors.New("done")

// steps makes a generation and reads from it and from the other one in turn.
func (b *bench) steps(ctx context.Context) error {
	if err := b.projector(ctx, rebuildCommand...).Run(); err != nil {
		return fmt.Errorf("projector rebuild: %w", err)
	}
	number, _, err := b.newest(ctx)
	if err != nil {
		return err
	}
	other := strconv.Itoa(number)
	for _, args := range [][]string{{"verify", other}, {"switch", other}, {"rollback"}, {"switch", other}} {
		begin := time.Now()
		if err := b.command(ctx, args...); err != nil {
			return err
		}
		ended := time.Now()
		if err := b.reads(ctx); err != nil {
			return err
		}
		b.note("%s took %v, and %v until it was read", strings.Join(args, " "),
			ended.Sub(begin).Round(time.Millisecond), time.Since(ended).Round(time.Millisecond))
	}
	return nil
}

// reads waits until the query worker reads the generation that is to be read.
func (b *bench) reads(ctx context.Context) error {
	current, err := b.readModel.Current(ctx)
	if err != nil {
		return err
	}
	return b.eventually(ctx, fmt.Sprintf("generation %d is read", current), seldom, func() (bool, error) {
		m, err := b.queryMetrics(ctx)
		return m["convoview_query_generation"] == float64(current), err
	})
}

// inFlight asks for a round with 64 requests in flight.
func (b *bench) inFlight(ctx context.Context, do ask) (sample, error) {
	return closedLoop(ctx, b.conns, 64, b.config.round, 0, do)
}

// rebuildCommand fills a generation, as gently to whoever asks as the stack's projector
// is: on one machine they come first.
var rebuildCommand = []string{"rebuild", "--admin-addr", "127.0.0.1:0", "--clickhouse-nice", "10"}

// projector is a command of the projector, as nice as the stack's.
func (b *bench) projector(ctx context.Context, args ...string) *exec.Cmd {
	return b.stack.Command(ctx, "nice", append([]string{"-n", "10", filepath.Join(b.config.commands, "projector")}, args...)...)
}

// command runs a command of the projector to its end. Somebody waits for it.
func (b *bench) command(ctx context.Context, args ...string) error {
	out, err := b.stack.Command(ctx, filepath.Join(b.config.commands, "projector"), args...).CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("projector %s: %w: %s", strings.Join(args, " "), err, lines[len(lines)-1])
	}
	return nil
}

// beside does something while a generation is being filled, and breaks that off then.
func (b *bench) beside(ctx context.Context, do func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := b.projector(ctx, rebuildCommand...)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	_, group, err := b.newest(ctx)
	if err == nil {
		_, err = b.consumed(ctx, group, 1)
	}
	if err == nil {
		err = do()
	}
	select {
	case failed := <-ended:
		return errors.Join(err, fmt.Errorf("the rebuild ended too early: %w", failed))
	default:
		cancel()
		b.note("the rebuild was broken off: %v", <-ended)
		return err
	}
}

// newest waits until there is a generation beside the first, and gives its number and the
// consumer group of its rebuild.
func (b *bench) newest(ctx context.Context) (number int, group string, err error) {
	err = b.eventually(ctx, "there is a new generation", seldom, func() (bool, error) {
		r, err := b.readModel.Registry(ctx)
		if err != nil {
			return false, err
		}
		last := r.Generations[len(r.Generations)-1]
		if last.Number == 1 {
			return false, nil
		}
		claim, err := b.readModel.Claim(ctx, last.Number)
		if err != nil {
			return false, err
		}
		number, group = last.Number, rebuild.Group(ingest.DefaultConfig().GroupID, last.Number, claim)
		return last.Kept(), nil
	})
	return number, group, err
}

// forget drops the generations that are not read.
func (b *bench) forget(ctx context.Context) error {
	r, err := b.readModel.Registry(ctx)
	if err != nil {
		return err
	}
	for _, g := range r.Generations {
		if g.Kept() && g.Number != r.Current {
			if err := b.command(ctx, "generations", "drop", strconv.Itoa(g.Number)); err != nil {
				return err
			}
		}
	}
	return nil
}

// consumer is the configuration of a member of a consumer group, of the chat's topics if
// no others are given.
func (b *bench) consumer(group string, topics ...string) ingest.Config {
	config := ingest.DefaultConfig()
	config.Brokers, config.GroupID = []string{b.stack.Ports.KafkaAddr()}, group
	if len(topics) > 0 {
		config.Topics = topics
	}
	return config
}

// offsets are those of a consumer group.
func (b *bench) offsets(group string, topics ...string) (*ingest.Offsets, error) {
	return ingest.NewOffsets(b.consumer(group, topics...))
}

// consumption is how much a group had read at a time.
type consumption struct {
	at     time.Time
	events int64
}

// consumed waits until a group has committed so much, and gives when that was.
func (b *bench) consumed(ctx context.Context, group string, least int64, topics ...string) (c consumption, err error) {
	offsets, err := b.offsets(group, topics...)
	if err != nil {
		return c, err
	}
	defer offsets.Close()
	err = b.eventually(ctx, fmt.Sprintf("%s has read %d events", group, least), often, func() (bool, error) {
		committed, err := offsets.Committed(ctx)
		c = consumption{time.Now(), total(committed)}
		return c.events >= least, err
	})
	return c, err
}

// often is how often is looked how far a group is.
const often = 20 * time.Millisecond

// rates compares the rate of a rebuild with that of a projector that reads all of the
// topics in a group of its own, each from its first commit to its last.
func (b *bench) rates(ctx context.Context, f *figures) error {
	offsets, err := b.offsets(ingest.DefaultConfig().GroupID)
	if err != nil {
		return err
	}
	defer offsets.Close()
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return err
	}
	all := total(ends)
	var rebuilds, projections []float64
	err = b.turns(ctx, "rates",
		func(round int) (string, error) {
			group := fmt.Sprintf("bench-%d", round)
			rate, err := b.rate(ctx, all, func(context.Context) (string, error) { return group, nil },
				"run", "--kafka-group", group, "--admin-addr", "127.0.0.1:0", "--clickhouse-nice", "10")
			projections = append(projections, rate)
			return fmt.Sprintf("projector %.0f/s", rate), err
		},
		func(int) (string, error) {
			rate, err := b.rate(ctx, all, func(ctx context.Context) (string, error) {
				_, group, err := b.newest(ctx)
				return group, err
			}, append(rebuildCommand, "--max-rate", "0")...)
			rebuilds = append(rebuilds, rate)
			return fmt.Sprintf("rebuild %.0f/s", rate), errors.Join(err, b.forget(ctx))
		},
	)
	if err != nil {
		return err
	}
	return f.compare("rate", middle(rebuilds), middle(projections))
}

// rate is that at which a command reads all of the topics, in events a second. It is
// stopped then, if it does not end by itself.
func (b *bench) rate(ctx context.Context, all int64, group func(context.Context) (string, error), args ...string) (float64, error) {
	if err := b.merged(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := b.projector(ctx, args...)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var first, last consumption
	name, err := group(ctx)
	if err == nil {
		first, err = b.consumed(ctx, name, 1)
	}
	if err == nil {
		last, err = b.consumed(ctx, name, all)
	}
	cancel()
	_ = cmd.Wait() // it was interrupted
	return float64(last.events-first.events) / last.at.Sub(first.at).Seconds(), err
}
