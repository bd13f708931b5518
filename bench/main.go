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

	"github.com/convoview/convoview/internal/lifecycle"
)

const summary = `Measures the built commands on this machine, with everything on loopback, and
prints each figure as a line of JSON:

  {"goal":"list_hot/100/64/rate","value":…,"unit":"requests/s","against":…,"ratio":…}

value is ours, against the reference's (or the bound, where it is a number),
ratio the one by the other. A figure is the median of its rounds; in each round
the sides are measured one after the other, and the first one takes turns.
Progress, this machine's description and what was met go to standard error.

A wrong reply ends a goal, and the command then fails. A bound that is not met
does not make it fail.

The goals:
`

// config is what can be set.
type config struct {
	goals    []string
	rounds   int
	round    time.Duration
	commands string
	events   int
	backlog  int
	steady   time.Duration
}

// minRounds makes a median worth its name.
const minRounds = 5

func (c *config) validate() error {
	var errs []error
	all := goalNames()
	if len(c.goals) == 0 {
		errs = append(errs, fmt.Errorf("goals: expected at least one of %s", strings.Join(all, ", ")))
	}
	for _, name := range c.goals {
		if !slices.Contains(all, name) {
			errs = append(errs, fmt.Errorf("goal %q: expected one of %s", name, strings.Join(all, ", ")))
		}
	}
	if c.rounds < minRounds {
		errs = append(errs, fmt.Errorf("rounds %d: expected at least %d", c.rounds, minRounds))
	}
	if c.events < 10_000 || c.backlog < c.events {
		errs = append(errs, fmt.Errorf("events %d, backlog %d: expected at least 10000, and no smaller backlog", c.events, c.backlog))
	}
	if c.steady < time.Second {
		errs = append(errs, fmt.Errorf("steady %v: expected at least 1s", c.steady))
	}
	if c.round < time.Second {
		errs = append(errs, fmt.Errorf("round %v: expected at least 1s", c.round))
	}
	return errors.Join(errs...)
}

func main() {
	lifecycle.Main(func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
		if len(args) > 0 && args[0] == echoCommand { // this command as the reference
			return serveEcho(ctx, args[1:], getenv, stdout)
		}
		return run(ctx, args, getenv, stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c := config{goals: goalNames(), rounds: minRounds, round: 3 * time.Second, commands: "bin", events: 500_000, backlog: 1_000_000, steady: 10 * time.Minute}
	var about strings.Builder
	for _, g := range goals {
		fmt.Fprintf(&about, "\n  %-12s %s", g.name, g.about)
	}
	f := lifecycle.NewFlags("bench", summary+about.String(), getenv, stdout)
	f.Var((*words)(&c.goals), "goals", "names", "What to measure, separated by blanks or commas.")
	f.Int(&c.rounds, "rounds", "Rounds of each figure; at least 5.")
	f.Duration(&c.round, "round", "How long one side of a round is under load, at least 1s.")
	f.Int(&c.events, "events", "Events of the topics that the goals of the writing side read, at least 10,000.")
	f.Int(&c.backlog, "backlog", "Events of the backlog of memory.")
	f.Duration(&c.steady, "steady", "How long parts watches.")
	f.String(&c.commands, "commands", "Directory of the built commands.")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := c.validate(); err != nil {
		return err
	}
	return measureGoals(ctx, c, stdout, stderr)
}

// words is a flag of words.
type words []string

func (w *words) String() string { return strings.Join(*w, " ") }

func (w *words) Set(value string) error {
	*w = strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' })
	return nil
}
