// Command query answers requests for conversation lists, profiles and unread totals over NATS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/convoview/convoview/internal/beat"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
)

// stopBudget is the time that a stop may take in all. It is above the worker's
// own drain timeout and below the termination grace period of a pod (30 s).
const stopBudget = 20 * time.Second

type config struct {
	nats   lifecycle.NATSConfig
	feed   feed.Config
	query  query.Config
	store  readmodel.Config
	admin  lifecycle.AdminConfig
	traces lifecycle.TracingConfig
	log    lifecycle.LogConfig
}

func defaultConfig() config {
	return config{
		nats:  lifecycle.DefaultNATSConfig(),
		feed:  feed.DefaultConfig(),
		query: query.DefaultConfig(),
		store: readmodel.DefaultConfig(),
		admin: lifecycle.DefaultAdminConfig(8081),
		log:   lifecycle.DefaultLogConfig(),
	}
}

func (c *config) register(f *lifecycle.Flags) {
	c.nats.Register(f)
	c.store.Register(f)
	c.store.Dialer = lifecycle.RegisterTLS(f, "clickhouse", "ClickHouse")
	c.store.Account = lifecycle.RegisterAccount(f, "clickhouse", "ClickHouse", "default")
	f.Int(&c.query.MaxRunning, "max-running", "Most requests that are answered from memory at one time.")
	f.Int(&c.query.MaxQueued, "max-queued", "Most requests that wait for that; past both the reply is 429.")
	f.Bytes(&c.query.MaxQueuedBytes, "max-queued-bytes", "How large these requests may be together, and those that wait besides; past it the reply is 429.")
	f.Int(&c.query.MaxWaiting, "max-waiting", "Most requests that besides wait for what is not in memory, or for what they are to be answered after; past it the reply to those is 429.")
	f.Bytes(&c.query.MaxRequestBytes, "max-request-bytes", "Greatest request.")
	f.Int(&c.query.LoadConcurrency, "load-concurrency", "Most cohorts of requests that are loaded for at one time, and most reads of one kind from ClickHouse.")
	f.Duration(&c.query.LoadPatience, "load-patience", "How long a cohort that is not full waits for more requests while another is under way.")
	f.Duration(&c.query.LoadLinger, "load-linger", "How long a cohort goes on being loaded for when all of its requests have timed out: who asks again finds what it brings.")
	f.Int(&c.query.BatchInboxes, "batch-inboxes", "Most requests in a cohort, and most users whose inboxes one read asks for.")
	f.Int(&c.query.BatchKeys, "batch-keys", "Most keys of anything else that one read asks for.")
	f.Bytes(&c.query.CacheBytes, "cache-bytes", "About how much of the read model may be in memory.")
	f.Duration(&c.query.CacheMaxAge, "cache-max-age", "After what time what is in memory is loaded again in any case.")
	f.Duration(&c.query.GenerationInterval, "generation-interval", "How often to look which generation of the read model is read.")
	f.Int(&c.query.WarmUpUsers, "warm-up-users", "Users whose lists are loaded at start, before they are asked for, as far as memory goes: of those who have sent a message most recently; 0: none.")
	f.Duration(&c.feed.Silence, "feed-silence", "How long nothing may be heard of a partition before what is in memory is not relied on.")
	f.Bytes(&c.feed.PendingBytes, "feed-pending-bytes", "How much of what projectors announce may wait to be applied.")
	f.Strings(&c.query.AffinityTokens, "affinity-tokens", "Last tokens of the subjects that this worker serves besides those without one; * is every token.")
	f.Duration(&c.query.DrainTimeout, "drain-timeout", "Longest time to answer the requests in hand when stopping.")
	c.admin.Register(f)
	c.traces.Register(f)
	c.log.Register(f)
}

func (c *config) validate() error {
	if c.admin.AskReady { // whoever runs has its own settings, and may be ready while a file is replaced
		return c.admin.Validate()
	}
	errs := []error{c.nats.Validate(), c.feed.Validate(), c.query.Validate(), c.store.Validate(), c.admin.Validate(), c.traces.Validate(), c.log.Validate()}
	if c.query.DrainTimeout >= stopBudget {
		errs = append(errs, fmt.Errorf("drain timeout %v: expected less than %v, the time of a whole stop", c.query.DrainTimeout, stopBudget))
	}
	if c.admin.StuckAfter <= 2*beat.Every {
		errs = append(errs, fmt.Errorf("stuck after %v: expected more than twice %v, after which a loop moves that has nothing to do", c.admin.StuckAfter, beat.Every))
	}
	return errors.Join(errs...)
}

// memoryLimit is how much memory the process should take for a bound of the
// cache: as much as the collector needs to keep up, and what requests take.
func memoryLimit(cacheBytes int) int64 { return int64(cacheBytes)*5/4 + 64<<20 }

func main() { lifecycle.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultConfig()
	flags := lifecycle.NewFlags("query", "Answers requests for conversation lists, profiles and unread totals over NATS.", getenv, stdout)
	config.register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	if config.admin.AskReady {
		return config.admin.Ready(ctx, stdout)
	}

	// By itself the collector lets the heap grow to twice what is in use.
	if getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit(config.query.CacheBytes))
	}

	log := lifecycle.NewLogger(config.log, os.Stderr)
	registry := lifecycle.NewRegistry()
	flags.ExportCertificates(registry, log)
	traces, err := lifecycle.OpenTracing(ctx, config.traces, "query", getenv, log)
	if err != nil {
		return err
	}

	// ClickHouse
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}

	// NATS
	nc, err := lifecycle.ConnectNATS(&config.nats, "query", log)
	if err != nil {
		return err
	}

	nc.Export(registry)

	// The worker
	worker := query.New(config.query, nc.Conn, query.Generations{
		Current: server.Current,
		Store:   func(number int) query.Store { return server.Generation(number) },
		LeftOut: server.LeftOutOf,
	}, time.Now, log, registry)

	follower := feed.NewFollower(config.feed, nc.Conn, worker, log, registry)
	worker.Follow(follower)
	follows, answers := beat.New(config.admin.StuckAfter), beat.New(config.admin.StuckAfter)
	follower.BeatWith(follows)
	worker.BeatWith(answers)
	if traces != nil {
		worker.TraceWith(traces.Tracer())
		follower.TraceWith(traces.Tracer())
	}

	connection := nc.Component()
	connection.Started = nc.Connected(ctx)

	// Health
	admin := lifecycle.NewAdmin(config.admin, registry, log)
	group := lifecycle.NewGroup(stopBudget, log,
		admin.Component(),
		traces.Component(), //nolint:contextcheck // the last spans are sent after its end
		lifecycle.Closer("clickhouse", server.Close),
		connection,
		lifecycle.Component{Name: "feed", Run: follower.Run},
		lifecycle.Component{Name: "query worker", Run: worker.Run},
	)
	admin.AddLiveness("components", group.Alive)
	admin.AddLiveness("feed", follows.Check)
	admin.AddLiveness("answers", answers.Check)
	admin.AddCheck("components", group.Check)
	admin.AddCheck("nats", nc.Check)
	admin.AddCheck("clickhouse", server.Check)
	admin.AddWarning("files", flags.Stale)
	admin.AddWarning("subscriptions", nc.Hears)
	admin.AddWarning("feed", func(context.Context) error { return follower.Check() })
	return group.Run(ctx)
}
