package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/convoview/convoview/internal/lifecycle"
)

func main() {
	lifecycle.Main(func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
		return run(ctx, args, getenv, os.Stdin, stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	c := &console{getenv: getenv, stdin: stdin, stdout: stdout, stderr: lifecycle.NewScreen(stderr)}
	return c.commands().Run(ctx, args, getenv, stdout)
}

// commands are those of chatload, on this console.
func (c *console) commands() lifecycle.Commands {
	here := func(run func(ctx context.Context, c *console, args []string) error) lifecycle.RunFunc {
		return func(ctx context.Context, args []string, _ func(string) string, _ io.Writer) error {
			return run(ctx, c, args)
		}
	}
	return lifecycle.Commands{
		Name:    "chatload",
		Summary: "Fills a system with chat and asks it questions.",
		All: []lifecycle.Command{
			{Name: "demo", Summary: "start everything, show a living chat, and stop again", Run: here(runDemo)},
			{Name: "up", Summary: "start everything and keep it running until Ctrl-C", Run: here(runUp)},
			{Name: "import", Summary: "write the events of a file to Kafka", Run: here(runImport)},
			{Name: "generate", Summary: "make up a chat and write it to Kafka or a file", Run: here(runGenerate)},
			{Name: "list", Summary: "print a user's conversation list", Run: here(runList)},
			{Name: "profile", Summary: "print one conversation of a user", Run: here(runProfile)},
			{Name: "unread", Summary: "print how many unread messages a user has", Run: here(runUnread)},
		},
	}
}

// console is what a command talks to.
type console struct {
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr *lifecycle.Screen
}

// notef says something on the way, on standard error.
func (c *console) notef(format string, args ...any) {
	_, _ = fmt.Fprintf(c.stderr, format+"\n", args...)
}
