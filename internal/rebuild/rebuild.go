package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/readmodel"
)

// Config is what a rebuild can be told.
type Config struct {
	// Ingest is how Kafka is read. GroupID is that of the projectors; see Group. There are no
	// dead letters: projectors have seen to them.
	Ingest ingest.Config
	// From is where the topics are read from.
	From From
	// Base says to begin with the rows of the generation that is read.
	Base bool
	// Without are the IDs of events that the generation leaves out, now and as long as
	// it is kept.
	Without map[string]struct{}
	// Incomplete says to rebuild although the topics lack something.
	Incomplete bool
	// ProgressInterval is how often progress is told.
	ProgressInterval time.Duration
}

// DefaultConfig reads no faster than leaves the live system its latency.
func DefaultConfig() Config {
	c := Config{Ingest: ingest.DefaultConfig(), ProgressInterval: time.Second}
	c.Ingest.MaxRate = 20_000
	return c
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	errs := []error{c.Ingest.Validate()}
	if c.ProgressInterval <= 0 {
		errs = append(errs, fmt.Errorf("progress interval %v: expected more than 0", c.ProgressInterval))
	}
	if c.Base && len(c.Without) > 0 {
		errs = append(errs, errors.New("base and without together: what events have done is in the rows already that a rebuild with a base begins with"))
	}
	return errors.Join(errs...)
}

// Rebuild is one that is under way.
type Rebuild struct {
	config  Config
	server  *readmodel.Server
	store   *readmodel.Store
	claim   string // of the generation
	options readmodel.Options
	log     *slog.Logger
	beat    *beat.Beat
}

// BeatWith has who writes mark a beat. It is called before Run.
func (r *Rebuild) BeatWith(b *beat.Beat) { r.beat = b }

// Begin makes a new generation, or goes on with the one that is being filled. Its error
// is an *IncompleteError when the topics do not have everything any more.
func Begin(ctx context.Context, config Config, server *readmodel.Server, log *slog.Logger) (*Rebuild, error) {
	r, err := server.Registry(ctx)
	if err != nil {
		return nil, err
	}
	g, begun, err := server.Unfinished(ctx, r)
	if err != nil {
		return nil, err
	}
	var options readmodel.Options
	if begun {
		if options, err = g.Options(); err != nil {
			return nil, err
		}
		if err := config.agree(g.Number, options); err != nil {
			return nil, err
		}
	} else {
		if options, err = plan(ctx, config, server, r, log); err != nil {
			return nil, err
		}
		if len(config.Without) > 0 {
			if err := server.LeaveOut(ctx, config.Without, &options); err != nil {
				return nil, err
			}
		}
	}
	store := server.Generation(g.Number)
	if g.State == readmodel.Filling {
		log.Info("going on with the generation that is being filled", "generation", g.Number, "made", g.Made, "options", options.String())
	} else {
		if store, err = server.Add(ctx, options); err != nil {
			return nil, err
		}
		log.Info("new generation", "generation", store.Number(), "options", options.String())
	}
	config.Ingest.StartAt = options.Starts
	claim, err := server.Claim(ctx, store.Number())
	if err != nil {
		return nil, err
	}
	config.Ingest.GroupID = Group(config.Ingest.GroupID, store.Number(), claim)
	config.Ingest.DeadTopic = ""
	// Not those of a projector, or it would look as if one lagged.
	config.Ingest.Metrics = metricsPrefix
	if rate := config.Ingest.MaxRate; rate > 0 { // few at a time, or others wait meanwhile
		most := max(1, rate/batchesPerSecond)
		config.Ingest.MaxBatchEvents = min(config.Ingest.MaxBatchEvents, most)
		config.Ingest.MaxPieceEvents = min(config.Ingest.MaxPieceEvents, most)
	}
	b := &Rebuild{config: config, server: server, store: store, claim: claim, options: options, log: log, beat: beat.New(0)}
	if !config.Incomplete && options.Base == 0 { // a base has it, too
		b.config.Ingest.Lost = b.lost
	}
	return b, b.alone(ctx)
}

// Group is the consumer group in which a generation is filled. What was committed for
// another one of its number says nothing of it, so its claim is in the name, too.
func Group(projectors string, generation int, claim string) string {
	return fmt.Sprintf("%s-g%d-%.8s", projectors, generation, claim)
}

// lost is asked when records are gone before they were read, which does not matter as long
// as nobody is shown them any more. Who has to say so may be away for any time.
func (r *Rebuild) lost(ctx context.Context, l *ingest.LostError) error {
	return r.retry(ctx, func() error { return r.matters(ctx, l) }, func(err error) {
		r.log.Warn("cannot see whether what is gone matters; trying again", "error", err)
	})
}

// matters gives a *LackingError when what is gone does.
func (r *Rebuild) matters(ctx context.Context, l *ingest.LostError) error {
	if l.Wanted <= l.End && !l.Another {
		registry, err := r.server.Registry(ctx)
		if err != nil {
			return err
		}
		offsets, err := ingest.NewOffsets(r.config.Ingest)
		if err != nil {
			return err
		}
		defer offsets.Close()
		look, err := topicsOf(ctx, r.config, offsets, r.config.Ingest.StartAt, r.server.Generation(registry.Current), r.log)
		if err != nil {
			return err
		}
		err = look.complete(ctx, time.Now())
		if lacking := (*IncompleteError)(nil); err == nil || !errors.As(err, &lacking) {
			return err
		}
	}
	return &LackingError{r.Generation(), l}
}

// LackingError says that a generation lacks records that were deleted while it was being
// filled, and cannot be made whole any more.
type LackingError struct {
	Generation int
	Lost       *ingest.LostError
}

// Error implements error.
func (e *LackingError) Error() string {
	return fmt.Sprintf("generation %d cannot be made whole any more: %v (projector generations drop %d)", e.Generation, e.Lost, e.Generation)
}

// Unwrap gives what was lost.
func (e *LackingError) Unwrap() error { return e.Lost }

// TakenError says that somebody else fills the generation.
type TakenError struct {
	Generation int
	By         string
}

// Error implements error.
func (e *TakenError) Error() string {
	return fmt.Sprintf("generation %d is being filled by somebody else: %s", e.Generation, e.By)
}

// alone holds that nobody else fills the generation. Who was killed is in the
// consumer group for another session timeout.
func (r *Rebuild) alone(ctx context.Context) error {
	offsets, err := ingest.NewOffsets(r.config.Ingest)
	if err != nil {
		return err
	}
	defer offsets.Close()
	for begin := time.Now(); ; {
		group, err := offsets.Group(ctx)
		switch {
		case err != nil:
			return err
		case len(group.Members) == 0:
			return nil
		case time.Since(begin) > r.config.Ingest.SessionTimeout+r.config.ProgressInterval:
			return &TakenError{r.Generation(), group.Members[0].String()}
		}
		r.log.Info("somebody is in the consumer group; waiting whether they are alive", "group", r.config.Ingest.GroupID, "who", group.Members[0].String())
		if err := pause.For(ctx, r.config.ProgressInterval); err != nil {
			return err
		}
	}
}

// plan gives the options of a new generation, and looks whether the topics have
// everything.
func plan(ctx context.Context, config Config, server *readmodel.Server, r readmodel.Registry, log *slog.Logger) (readmodel.Options, error) {
	none := readmodel.Options{}
	offsets, err := ingest.NewOffsets(config.Ingest)
	if err != nil {
		return none, err
	}
	defer offsets.Close()
	options := readmodel.Options{From: config.From.String()}
	if options.Starts, err = config.From.starts(ctx, offsets); err != nil {
		return none, err
	}
	if options.Starts == nil { // what is gone by the time that it is read is noticed
		if options.Starts, err = offsets.Starts(ctx); err != nil {
			return none, err
		}
	}
	if config.Base { // whatever the topics lack
		options.Base = r.Current
		base, _ := r.Find(r.Current)
		with, err := base.Options()
		// What the base leaves out would come again.
		options.Without, options.WithoutIDs = with.Without, with.WithoutIDs
		return options, err
	}
	look, err := topicsOf(ctx, config, offsets, options.Starts, server.Generation(r.Current), log)
	if err != nil {
		return none, err
	}
	err = look.complete(ctx, time.Now())
	if lacking := (*IncompleteError)(nil); config.Incomplete && errors.As(err, &lacking) {
		log.Warn("rebuilding all the same", "error", err)
		return options, nil
	}
	return options, err
}

// topicsOf are the topics that a rebuild is made from. What apps say of retention is
// taken from the generation that is read.
func topicsOf(ctx context.Context, config Config, offsets *ingest.Offsets, from map[events.Partition]int64, current *readmodel.Store, log *slog.Logger) (*topics, error) {
	retention, err := current.Retention(ctx)
	if err != nil {
		return nil, err
	}
	return &topics{offsets, config.Ingest.Topics[0], from, retention, config.Incomplete, log}, nil
}

// batchesPerSecond is into how many batches a bounded rate is divided.
const batchesPerSecond = 5

// Generation is the number of the generation that is being filled.
func (r *Rebuild) Generation() int { return r.store.Number() }

// Run fills the generation, and tells of its progress. It returns nil when the
// generation has everything. Kafka and ClickHouse may be away for any time. Its error is
// a *TakenError when somebody else fills the generation, too, and is to go on with it.
func (r *Rebuild) Run(ctx context.Context, decoder ingest.Decoder, registerer prometheus.Registerer, tell func(Progress)) (err error) {
	defer func() { // what ends with ctx may not say why
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
			err = errors.Join(cause, err)
		}
	}()
	show := newMetrics(registerer)
	show.progress(Progress{Generation: r.Generation()})
	if r.options.Base != 0 {
		if err := r.copy(ctx, tell); err != nil {
			return fmt.Errorf("begin with the rows of generation %d: %w", r.options.Base, err)
		}
		if err := r.alone(ctx); err != nil { // who copies is in no group
			return err
		}
	}
	leftOut, err := r.server.LeftOutOf(ctx, r.Generation())
	if err != nil {
		return err
	}
	if len(leftOut) > 0 {
		var count atomic.Int64
		decoder = leavingOut{decoder, leftOut, &count}
		defer func() {
			r.log.Info("left out", "generation", r.Generation(), "events", count.Load(), "ids", len(leftOut))
		}()
	}
	invalid := counting{decoder, new(atomic.Int64)}
	defer func() {
		if n := invalid.count.Load(); n > 0 {
			r.log.Warn("left out what is no valid event by the limits of this rebuild", "generation", r.Generation(), "events", n)
		}
	}()
	consumer, err := ingest.New(r.config.Ingest, r.store, invalid, r.log, registerer)
	if err != nil {
		return err
	}
	offsets, err := ingest.NewOffsets(r.config.Ingest)
	if err != nil {
		return err
	}
	defer offsets.Close()
	consumer.BeatWith(r.beat)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	ended := make(chan struct{})
	go func() { defer close(ended); failed = consumer.Run(reading) }()

	err = r.follow(ctx, consumer, offsets, ended, func(p Progress) {
		show.progress(p)
		tell(p)
	})
	stop()
	<-ended
	if errors.Is(err, errEnded) && failed != nil {
		return failed
	}
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	if err := r.carryActivity(ctx, offsets); err != nil {
		return err
	}
	return r.filled(ctx)
}

// filled says that the generation has everything, unless somebody has dropped it.
func (r *Rebuild) filled(ctx context.Context) error {
	return r.retry(ctx, func() error {
		if err := r.kept(ctx); err != nil {
			return err
		}
		return r.server.Filled(ctx, r.Generation())
	}, func(err error) {
		r.log.Warn("cannot say that the generation has everything; trying again", "error", err)
	})
}

// errEnded says that the consumer has ended although nobody has told it to.
var errEnded = errors.New("the consumer ended")

// yield gives an error when somebody else is in the consumer group who is to stay in it:
// those who begin at the same moment all find nobody there. While they share the
// partitions each writes and commits its own, so that the one who stays goes on with all.
func (r *Rebuild) yield(ctx context.Context, offsets *ingest.Offsets, process string) error {
	group, err := offsets.Group(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Warn("cannot see who else fills the generation; trying again", "error", err)
		}
		return nil
	}
	is := func(m ingest.Member) bool { return m.Process == process }
	if !group.Settled || !slices.ContainsFunc(group.Members, is) {
		return nil // not all know of each other yet
	}
	stays := slices.MinFunc(group.Members, func(a, b ingest.Member) int { return strings.Compare(a.Process, b.Process) })
	if is(stays) {
		return nil
	}
	return &TakenError{r.Generation(), stays.String()}
}

// look gives how far a consumer is, and whether it has read everything.
func (r *Rebuild) look(ctx context.Context, consumer *ingest.Consumer, offsets *ingest.Offsets) (p Progress, whole bool, err error) {
	covered, err := r.covered(ctx)
	if err != nil {
		return p, false, err
	}
	all, err := offsets.Partitions(ctx)
	if err != nil {
		return p, false, err
	}
	read := consumer.Progress()
	p, whole = progress(read, covered, all)
	p.Generation = r.Generation()
	for partition, at := range read {
		if to := covered[partition]; at.End >= 0 && at.Written >= at.End && at.End < to {
			return p, whole, r.reaches(ctx, offsets, partition, to)
		}
	}
	return p, whole, nil
}

// reaches holds that a partition reaches an offset from which on projectors write it.
// One that was made anew does not, and would be waited for in vain.
func (r *Rebuild) reaches(ctx context.Context, offsets *ingest.Offsets, p events.Partition, offset int64) error {
	ends, err := offsets.Ends(ctx)
	if err != nil || ends[p] >= offset {
		return err
	}
	return &LackingError{r.Generation(), &ingest.LostError{Partition: p, Wanted: offset, End: ends[p]}}
}

// follow looks how far the consumer is until it has read everything.
func (r *Rebuild) follow(ctx context.Context, consumer *ingest.Consumer, offsets *ingest.Offsets, ended <-chan struct{}, tell func(Progress)) error {
	meter := meter{from: -1}
	tick := time.NewTicker(r.config.ProgressInterval)
	defer tick.Stop()
	for {
		if err := r.yield(ctx, offsets, consumer.Process()); err != nil {
			return err
		}
		p, whole, err := r.look(ctx, consumer, offsets)
		if hopeless(err) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			r.log.Warn("cannot see how far the generation is filled; trying again", "error", err)
		}
		if err == nil {
			meter.read(&p)
			tell(p)
			if whole {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// retry tries until it succeeds, is of no use, or ctx ends. It tells failed of each failure
// after which it tries again.
func (r *Rebuild) retry(ctx context.Context, try func() error, failed func(error)) error {
	for {
		err := try()
		if err == nil || hopeless(err) || ctx.Err() != nil {
			return err
		}
		failed(err)
		if err := pause.For(ctx, r.config.ProgressInterval); err != nil {
			return err
		}
	}
}

// hopeless reports whether trying again is of no use.
func hopeless(err error) bool {
	lacking, gone := (*LackingError)(nil), (*readmodel.GoneError)(nil)
	return errors.As(err, &lacking) || errors.As(err, &gone)
}

// covered gives from which offsets on projectors write the generation. Its error is a
// *readmodel.GoneError when somebody has dropped it.
func (r *Rebuild) covered(ctx context.Context) (map[events.Partition]int64, error) {
	if err := r.kept(ctx); err != nil {
		return nil, err
	}
	return r.server.Covered(ctx, r.Generation())
}

// kept gives a *readmodel.GoneError when somebody has dropped the generation, or the one of
// its number is another.
func (r *Rebuild) kept(ctx context.Context) error {
	if err := r.server.Kept(ctx, r.Generation()); err != nil {
		return err
	}
	claim, err := r.server.Claim(ctx, r.Generation())
	if err == nil && claim != r.claim {
		err = &readmodel.GoneError{Generation: r.Generation()}
	}
	return err
}
