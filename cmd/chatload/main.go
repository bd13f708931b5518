package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/convoview/convoview/internal/lifecycle"
)

// command is a subcommand.
type command struct {
	name    string
	summary string
	run     func(ctx context.Context, c *console, args []string) error
}

// commands are all subcommands, in the order of --help.
func commands() []command {
	return []command{
		{"demo", "start everything, show a living chat, and stop again", runDemo},
		{"up", "start everything and keep it running until Ctrl-C", runUp},
		{"import", "write the events of a file to Kafka", runImport},
		{"generate", "make up a chat and write it to Kafka or a file", runGenerate},
		{"list", "print a user's conversation list", runList},
		{"profile", "print one conversation of a user", runProfile},
		{"unread", "print how many unread messages a user has", runUnread},
	}
}

func main() {
	lifecycle.Main(func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
		return run(ctx, args, getenv, os.Stdin, stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &console{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	if len(args) == 0 {
		return errors.Join(c.usage(stderr), errors.New("expected a command"))
	}
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		return errors.Join(c.usage(stdout), flag.ErrHelp)
	}
	for _, cmd := range commands() {
		if cmd.name == args[0] {
			return cmd.run(ctx, c, args[1:])
		}
	}
	return fmt.Errorf("unknown command %q: see chatload --help", args[0])
}

// console is what a command talks to.
type console struct {
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	mu     sync.Mutex // of stderr
}

// notef says something on the way, on standard error.
func (c *console) notef(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.stderr, format+"\n", args...)
}

func (c *console) usage(w io.Writer) error {
	var b strings.Builder
	b.WriteString("Usage: chatload <command> [flags]\n\nFills a system with chat and asks it questions.\n\n")
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "  %-10s %s\n", cmd.name, cmd.summary)
	}
	b.WriteString("\nSee chatload <command> --help.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
