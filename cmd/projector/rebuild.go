package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

type rebuildConfig struct {
	rebuild rebuild.Config
	without string // a file
	maxIDs  int
	limits  events.Limits
	store   readmodel.Config
	admin   lifecycle.AdminConfig
	log     lifecycle.LogConfig
}

func (c *rebuildConfig) register(f *lifecycle.Flags) {
	registerReading(f, &c.rebuild.Ingest, &c.limits)
	f.Int(&c.rebuild.Ingest.MaxRate, "max-rate", "Most events a second, so that the live system keeps its latency; 0: as many as there can be.")
	f.Var(&c.rebuild.From, "from", "time or offsets", "Read the topics from here on instead of from their beginning: a time (2026-11-23T03:00:00Z), or the offsets of some partitions (chat.state/0=1200,chat.state/1=900). By itself that is incomplete where something before it may matter.")
	f.Bool(&c.rebuild.Base, "base", "Begin with the rows of the generation that is read, so that nothing need be in the topics that it has. They are the greatest of each, so this cannot mend a sequence that is too great, or a last change that is too late.")
	f.String(&c.without, "without", "File with the IDs of events, one a line, that the new generation leaves out, now and as long as it is kept: the one remedy for a sequence that is too great, or a last change that is too late. The other generations keep having them.")
	f.Int(&c.maxIDs, "max-without-ids", "Most IDs in the file of --without.")
	f.Bool(&c.rebuild.Incomplete, "incomplete", "Rebuild although the topics do not have everything any more.")
	f.Duration(&c.rebuild.ProgressInterval, "progress-interval", "How often progress is looked at.")
	registerStore(f, &c.store)
	c.admin.Register(f)
	c.log.Register(f)
}

func (c *rebuildConfig) validate() error {
	if c.admin.AskReady { // as projector run
		return c.admin.Validate()
	}
	var err error
	if c.maxIDs < 1 {
		err = fmt.Errorf("max without ids %d: expected at least 1", c.maxIDs)
	}
	return errors.Join(err, notStuck(c.admin, c.rebuild.Ingest, c.store), c.readIDs(), c.rebuild.Validate(), c.limits.Validate(), c.store.Validate(), c.admin.Validate(), c.log.Validate())
}

// readIDs reads the file of --without.
func (c *rebuildConfig) readIDs() error {
	if c.without == "" {
		return nil
	}
	file, err := os.Open(c.without)
	if err != nil {
		return fmt.Errorf("without: %w", err)
	}
	defer func() { _ = file.Close() }() // it was read
	if c.rebuild.Without, err = rebuild.ReadIDs(file, c.maxIDs); err != nil {
		return fmt.Errorf("without: %s: %w", c.without, err)
	}
	return nil
}

func rebuildModel(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := rebuildConfig{
		rebuild: rebuild.DefaultConfig(),
		maxIDs:  100_000,
		limits:  events.DefaultLimits(),
		store:   readmodel.DefaultConfig(),
		admin:   lifecycle.DefaultAdminConfig(8082),
		log:     lifecycle.DefaultLogConfig(),
	}
	flags := lifecycle.NewFlags("projector rebuild", "Fills a new generation of the read model from the topics, beside the live one. Killed at any time, it goes on where it was, with the options that it was begun with.", getenv, stdout)
	config.register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	if config.admin.AskReady {
		return config.admin.Ready(ctx, stdout)
	}
	limitMemory(config.rebuild.Ingest, getenv)

	screen := lifecycle.NewScreen(os.Stderr)
	log := lifecycle.NewLogger(config.log, screen)
	registry := lifecycle.NewRegistry()
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	admin := lifecycle.NewAdmin(config.admin, registry, log)
	admin.AddCheck("clickhouse", server.Check)
	component := admin.Component()
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	served := make(chan error, 1)
	go func() {
		err := component.Run(running)
		stop(err) // nobody could see how far it is
		served <- err
	}()

	begin, generation := time.Now(), 0
	select {
	case <-component.Started:
		generation, err = config.fill(running, server, admin, registry, log, tellRebuild(screen, log))
	case <-running.Done():
		err = context.Cause(running)
	}
	screen.Clear()
	stop(nil)
	switch failed := <-served; {
	case failed != nil && errors.Is(context.Cause(running), failed): // which has ended the rebuild
		err = failed
	default:
		err = errors.Join(err, failed)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "generation %d has everything; it took %v\n", generation, time.Since(begin).Round(time.Millisecond))
	return err
}

// fill begins a generation, or goes on with one, and gives its number when it has everything.
func (c *rebuildConfig) fill(ctx context.Context, server *readmodel.Server, admin *lifecycle.Admin, registry prometheus.Registerer, log *slog.Logger, tell func(rebuild.Progress)) (int, error) {
	r, err := rebuild.Begin(ctx, c.rebuild, server, log)
	if lacking := (*rebuild.IncompleteError)(nil); errors.As(err, &lacking) {
		return 0, fmt.Errorf("%w (--base begins with what the live generation has; --incomplete rebuilds without)", err)
	}
	if err != nil {
		return 0, err
	}
	writes := beat.New(c.admin.StuckAfter)
	r.BeatWith(writes)
	admin.AddLiveness("writer", writes.Check)
	err = r.Run(ctx, events.NewDecoder(c.limits).Sharing(), registry, tell)
	if taken := (*rebuild.TakenError)(nil); err != nil && !errors.As(err, &taken) { // else as from Begin
		err = fmt.Errorf("rebuild generation %d: %w", r.Generation(), err)
	}
	return r.Generation(), err
}
