package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// RunFunc is a command: it does what its arguments say, those after its name, and ends with
// ctx. Environment variables are asked for by getenv.
type RunFunc func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error

// Command is one of several that a command has.
type Command struct {
	Name, Summary string // the latter is a line of the help
	Run           RunFunc
}

// Commands is a command that has others and does nothing by itself.
type Commands struct {
	// Name is how it is called, such as "projector dead".
	Name string
	// Summary is a paragraph of the help: what all of them are for.
	Summary string
	// All are in the order of the help.
	All []Command
}

// Run runs the command that the first argument names. After --help it returns
// flag.ErrHelp, with the help written.
func (c Commands) Run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if len(args) == 0 {
		args = []string{""}
	}
	if slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]) {
		_, err := io.WriteString(stdout, c.help())
		return errors.Join(err, flag.ErrHelp)
	}
	names := make([]string, len(c.All))
	for i, command := range c.All {
		if names[i] = command.Name; command.Name == args[0] {
			return command.Run(ctx, args[1:], getenv, stdout)
		}
	}
	return fmt.Errorf("command %q: expected one of %s (%s --help)", args[0], strings.Join(names, ", "), c.Name)
}

func (c Commands) help() string {
	width := 0
	for _, command := range c.All {
		width = max(width, len(command.Name))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s <command> [flags]\n\n%s\n\nCommands:\n", c.Name, c.Summary)
	for _, command := range c.All {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, command.Name, command.Summary)
	}
	fmt.Fprintf(&b, "\n%s <command> --help lists the command's flags.\n", c.Name)
	return b.String()
}
