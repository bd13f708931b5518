package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
)

// operate runs a command that needs nothing but ClickHouse. Its number, if it takes
// one, comes first.
func operate(name, about string, takesNumber bool, args []string, getenv func(string) string, stdout io.Writer, do func(*readmodel.Server, int) error) error {
	number := 0
	if takesNumber {
		var err error
		if number, args, err = generationOf(args); err != nil {
			return err
		}
	}
	config := readmodel.DefaultConfig()
	flags := lifecycle.NewFlags(name, about, getenv, stdout)
	config.Register(flags)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if takesNumber && number == 0 {
		return errNoGeneration
	}
	if err := config.Validate(); err != nil {
		return err
	}
	server, err := readmodel.Open(config)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	return do(server, number)
}

// errNoGeneration says that a command needs one.
var errNoGeneration = errors.New("expected the number of a generation (projector generations list)")

// generationOf takes the number off the arguments, if it is there.
func generationOf(args []string) (number int, rest []string, err error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return 0, args, nil
	}
	number, err = strconv.Atoi(args[0])
	if err != nil || number < 1 {
		return 0, nil, fmt.Errorf("generation %q: expected a number, at least 1 (projector generations list)", args[0])
	}
	return number, args[1:], nil
}

func generations(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if len(args) == 0 {
		args = []string{""}
	}
	switch args[0] {
	case "list":
		return operate("projector generations list", "Lists the generations of the read model.", false, args[1:], getenv, stdout,
			func(s *readmodel.Server, _ int) error { return list(ctx, s, stdout) })
	case "drop":
		return operate("projector generations drop GENERATION", "Drops a generation and all that is in it. Not the one that is read.", true, args[1:], getenv, stdout,
			func(s *readmodel.Server, n int) error {
				if err := s.DropGeneration(ctx, n, dropGrace); err != nil {
					return err
				}
				_, err := fmt.Fprintf(stdout, "generation %d is dropped\n", n)
				return err
			})
	default:
		return fmt.Errorf("unknown command %q, expected generations list or generations drop (projector --help)", "generations "+args[0])
	}
}

// dropGrace is more than projectors take to look which generations are kept.
const dropGrace = 3 * time.Second

func list(ctx context.Context, s *readmodel.Server, stdout io.Writer) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "generation\tstate\tmade (UTC)\t")
	for _, g := range r.Generations {
		read := ""
		if g.Number == r.Current {
			read = "is read"
		}
		_, _ = fmt.Fprintf(w, "%d\t%v\t%s\t%s\n", g.Number, g.State, g.Made.UTC().Format(time.DateTime), read)
	}
	return w.Flush()
}

func rollback(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	return operate("projector rollback", "Has the generation read that was read before the last switch.", false, args, getenv, stdout,
		func(s *readmodel.Server, _ int) error {
			r, err := s.Registry(ctx)
			if err != nil {
				return err
			}
			if r.Before == 0 {
				return fmt.Errorf("generation %d is the first that is read: there is none to go back to", r.Current)
			}
			if err := s.Switch(ctx, r.Before, operator()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "generation %d is read again\n", r.Before)
			return err
		})
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
