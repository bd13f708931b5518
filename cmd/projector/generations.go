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
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "list":
		return list(ctx, args[1:], getenv, stdout)
	case "drop":
		return drop(ctx, args[1:], getenv, stdout)
	default:
		return fmt.Errorf("unknown command %q, expected generations list or generations drop (projector --help)", "generations "+args[0])
	}
}

func drop(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := readmodel.DefaultConfig()
	flags := lifecycle.NewFlags("projector generations drop GENERATION", "Drops a generation and all that is in it. Not the one that is read.", getenv, stdout)
	registerStore(flags, &config)
	number, err := configureGeneration(flags, args, func() error { return config.Validate() })
	if err != nil {
		return err
	}
	server, err := readmodel.Open(config)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := server.DropGeneration(ctx, number, dropGrace); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "generation %d is dropped\n", number)
	return err
}

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
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "generation\tstate\tmade (UTC)\t\toptions")
	for _, g := range r.Generations {
		read := ""
		if g.Number == r.Current {
			read = "is read"
		}
		options, err := g.Options()
		made := options.String()
		if err != nil {
			made = err.Error()
		}
		_, _ = fmt.Fprintf(w, "%d\t%v\t%s\t%s\t%s\n", g.Number, g.State, g.Made.UTC().Format(time.DateTime), read, made)
	}
	return w.Flush()
}

type rollbackConfig struct {
	store readmodel.Config
	nats  lifecycle.NATSConfig
	log   lifecycle.LogConfig
}

func (c *rollbackConfig) validate() error {
	return errors.Join(c.store.Validate(), c.nats.Validate(), c.log.Validate())
}

func rollback(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := rollbackConfig{readmodel.DefaultConfig(), lifecycle.DefaultNATSConfig(), lifecycle.DefaultLogConfig()}
	flags := lifecycle.NewFlags("projector rollback", "Has the generation read that was read before the last switch.", getenv, stdout)
	registerStore(flags, &config.store)
	config.nats.Register(flags)
	config.log.Register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	r, err := server.Registry(ctx)
	if err != nil {
		return err
	}
	if r.Before == 0 {
		return fmt.Errorf("generation %d is the first that is read: there is none to go back to", r.Current)
	}
	if err := server.Switch(ctx, r.Before, operator()); err != nil {
		return err
	}
	tellSwitch(&config.nats, lifecycle.NewLogger(config.log, os.Stderr))
	_, err = fmt.Fprintf(stdout, "generation %d is read again\n", r.Before)
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
