// Command query answers requests for conversation lists, profiles and unread totals over NATS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
)

// stopBudget is the time that a stop may take in all. It is above the worker's
// own drain timeout and below the termination grace period of a pod (30 s).
const stopBudget = 20 * time.Second

type config struct {
	natsURL string
	check   bool
	query   query.Config
	store   readmodel.Config
	admin   lifecycle.AdminConfig
	log     lifecycle.LogConfig
}

func defaultConfig() config {
	return config{
		natsURL: nats.DefaultURL,
		query:   query.DefaultConfig(),
		store:   readmodel.DefaultConfig(),
		admin:   lifecycle.AdminConfig{Addr: ":8081"},
		log:     lifecycle.DefaultLogConfig(),
	}
}

func (c *config) register(f *lifecycle.Flags) {
	f.String(&c.natsURL, "nats-url", "NATS servers, separated by commas.")
	c.store.Register(f)
	f.Int(&c.query.MaxRunning, "max-running", "Most requests that are answered at one time.")
	f.Int(&c.query.MaxQueued, "max-queued", "Most requests that wait for that; past both the reply is 429.")
	f.Bytes(&c.query.MaxRequestBytes, "max-request-bytes", "Greatest request.")
	f.Int(&c.query.LoadConcurrency, "load-concurrency", "Most reads of one kind from ClickHouse at one time.")
	f.Int(&c.query.BatchInboxes, "batch-inboxes", "Most users whose inboxes one read asks for.")
	f.Int(&c.query.BatchKeys, "batch-keys", "Most keys of anything else that one read asks for.")
	f.Duration(&c.query.DrainTimeout, "drain-timeout", "Longest time to answer the requests in hand when stopping.")
	c.admin.Register(f)
	c.log.Register(f)
	f.Bool(&c.check, "check", "Check the whole configuration, connect to nothing, and exit.")
}

func (c *config) validate() error {
	errs := []error{c.query.Validate(), c.store.Validate(), c.admin.Validate(), c.log.Validate()}
	if c.natsURL == "" {
		errs = append(errs, errors.New("nats url: none given, expected nats://host:port"))
	}
	if c.query.DrainTimeout >= stopBudget {
		errs = append(errs, fmt.Errorf("drain timeout %v: expected less than %v, the time of a whole stop", c.query.DrainTimeout, stopBudget))
	}
	return errors.Join(errs...)
}

func main() { lifecycle.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultConfig()
	flags := lifecycle.NewFlags("query", "Answers requests for conversation lists, profiles and unread totals over NATS.", getenv, stdout)
	config.register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := config.validate(); err != nil {
		return err
	}
	if config.check {
		_, err := fmt.Fprintln(stdout, "the configuration is valid")
		return err
	}

	log := lifecycle.NewLogger(config.log, os.Stderr)
	registry := lifecycle.NewRegistry()

	// ClickHouse
	store, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}

	// NATS: it may come up after us, and go and come back at any time.
	nc, err := nats.Connect(config.natsURL,
		nats.Name("convoview query"),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats connected again", "server", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("nats disconnected", "error", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("nats failed", "error", err) }),
	)
	if err != nil {
		return fmt.Errorf("connect to nats: %w", err)
	}

	// The worker
	worker := query.New(config.query, nc, store, time.Now, log, registry)

	natsComponent := lifecycle.Closer("nats", closing(nc))
	natsComponent.Started = connected(ctx, nc)

	// Health
	admin := lifecycle.NewAdmin(config.admin, registry, log)
	group := lifecycle.NewGroup(stopBudget, log,
		admin.Component(),
		lifecycle.Closer("clickhouse", store.Close),
		natsComponent,
		lifecycle.Component{Name: "query worker", Run: worker.Run},
	)
	admin.AddCheck("components", group.Check)
	admin.AddCheck("nats", func(context.Context) error {
		if !nc.IsConnected() {
			return fmt.Errorf("nats is %s", nc.Status())
		}
		return nil
	})
	admin.AddCheck("clickhouse", store.Check)
	return group.Run(ctx)
}

// connected is closed once nc is connected.
func connected(ctx context.Context, nc *nats.Conn) <-chan struct{} {
	up := make(chan struct{})
	status := nc.StatusChanged(nats.CONNECTED)
	go func() {
		for !nc.IsConnected() {
			select {
			case <-status:
			case <-ctx.Done():
				return
			}
		}
		close(up)
	}()
	return up
}

// closing flushes and closes nc at its turn.
func closing(nc *nats.Conn) func() error {
	return func() error {
		defer nc.Close()
		if !nc.IsConnected() {
			return nil
		}
		if err := nc.FlushTimeout(time.Second); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		return nil
	}
}
