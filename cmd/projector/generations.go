package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
)

// errNoGeneration says that a command needs one.
var errNoGeneration = errors.New("expected the number of a generation (projector generations list)")

// configureGeneration configures a command that takes the number of a generation, which
// comes first.
func configureGeneration(flags *lifecycle.Flags, args []string, validate func() error) (number int, err error) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		number, err = strconv.Atoi(args[0])
		if err != nil || number < 1 {
			return 0, fmt.Errorf("generation %q: expected a number, at least 1 (projector generations list)", args[0])
		}
		args = args[1:]
	}
	return number, flags.Configure(args, func() error {
		if number == 0 {
			return errors.Join(errNoGeneration, validate())
		}
		return validate()
	})
}

func generations(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	return lifecycle.Commands{
		Name:    "projector generations",
		Summary: "Generations are the read models that are kept beside each other; one of them is read.",
		All: []lifecycle.Command{
			{Name: "list", Summary: "list them", Run: list},
			{Name: "drop", Summary: "drop one", Run: drop},
		},
	}.Run(ctx, args, getenv, stdout)
}

func drop(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config, force := defaultOperatorConfig(), false
	flags := lifecycle.NewFlags("projector generations drop GENERATION", "Drops a generation and all that is in it. Not the one that is to be read, nor one that a query worker still reads.", getenv, stdout)
	flags.Bool(&force, "force", "Do not ask query workers what they read.")
	config.register(flags)
	number, err := configureGeneration(flags, args, config.validate)
	if err != nil {
		return err
	}
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	current, err := server.Current(ctx)
	if err != nil {
		return err
	}
	if !force && number != current { // else it is refused anyway, and not by query workers
		if err := unread(&config.nats, number); err != nil {
			return err
		}
	}
	if err := server.DropGeneration(ctx, number, dropGrace); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "generation %d is dropped\n", number)
	return err
}

// unread reports a query worker that reads a generation. After a switch they load the
// other one first, which takes a while.
func unread(config *lifecycle.NATSConfig, number int) error {
	nc, err := lifecycle.DialNATS(config, "projector")
	var readers []query.Reader
	if err == nil {
		defer nc.Close()
		readers, err = query.Readers(nc, readersWait)
	}
	if err != nil {
		return fmt.Errorf("generation %d: nobody knows whether query workers still read it, in which case they would refuse requests (--force drops it all the same): %w", number, err)
	}
	for _, r := range readers {
		if r.Generation == number {
			return fmt.Errorf("generation %d: query worker %s still reads it and turns to another one by itself; try again then (--force drops it all the same)", number, r.ID)
		}
	}
	return nil
}

// readersWait is how long query workers have to say what they read: one that stands still
// for less is not passed over.
const readersWait = 3 * time.Second

// dropGrace is more than projectors take to look which generations are kept.
const dropGrace = 3 * time.Second

func list(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := readmodel.DefaultConfig()
	flags := lifecycle.NewFlags("projector generations list", "Lists the generations of the read model.", getenv, stdout)
	registerStore(flags, &config)
	if err := flags.Configure(args, func() error { return config.Validate() }); err != nil {
		return err
	}
	server, err := readmodel.Open(config)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	r, err := server.Registry(ctx)
	if err != nil {
		return err
	}
	left, err := server.Leftover(ctx, r)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "generation\tstate\tmade (UTC)\t\toptions")
	for _, g := range r.Generations {
		read := ""
		if g.Number == r.Current {
			read = "is read"
		}
		state := g.State.String()
		if left[g.Number] {
			state += ", its tables are still there"
		}
		options, err := g.Options()
		made := options.String()
		if err != nil {
			made = err.Error()
		}
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", g.Number, state, g.Made.UTC().Format(time.DateTime), read, made)
	}
	return w.Flush()
}

// operatorConfig is of commands that change which generations there are to read.
type operatorConfig struct {
	store readmodel.Config
	nats  lifecycle.NATSConfig
	log   lifecycle.LogConfig
}

func defaultOperatorConfig() operatorConfig {
	return operatorConfig{readmodel.DefaultConfig(), lifecycle.DefaultNATSConfig(), lifecycle.DefaultLogConfig()}
}

func (c *operatorConfig) register(f *lifecycle.Flags) {
	registerStore(f, &c.store)
	c.nats.Register(f)
	c.log.Register(f)
}

func (c *operatorConfig) validate() error {
	return errors.Join(c.store.Validate(), c.nats.Validate(), c.log.Validate())
}

func rollback(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultOperatorConfig()
	flags := lifecycle.NewFlags("projector rollback", "Has the generation read that was read before the last switch.", getenv, stdout)
	config.register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	generation, err := server.Rollback(ctx, operator())
	if err != nil {
		return err
	}
	tellSwitch(&config.nats, lifecycle.NewLogger(config.log, os.Stderr))
	_, err = fmt.Fprintf(stdout, "generation %d is read again\n", generation)
	return err
}

// tellSwitch has query workers look at once which generation is read. They look by
// themselves, too, so a switch does not fail without it, nor wait long for it.
func tellSwitch(config *lifecycle.NATSConfig, log *slog.Logger) {
	nc, err := lifecycle.DialNATS(config, "projector")
	if err == nil {
		defer nc.Close()
		err = feed.TellSwitch(nc, nats.DefaultTimeout)
	}
	if err != nil {
		log.Warn("query workers were not told; they see it by themselves within their --generation-interval", "error", err)
	}
}

// operator is who runs the command, for the registry.
func operator() string {
	name, host := "somebody", "somewhere"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return name + "@" + host
}
