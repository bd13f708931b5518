package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/sandbox/stack"
)

const upHelp = `
Runs the whole system on this machine until Ctrl-C: Kafka, NATS and ClickHouse
in one process (the sandbox), a projector and a query worker. Says when it is
ready.

  chatload up                       in memory: everything is gone at the end
  chatload up --data .sandbox/data  kept for the next time`

func runUp(ctx context.Context, c *console, args []string) error {
	f := c.flags("up", upHelp)
	var dataDir string
	f.String(&dataDir, "data", "Keep the data in this directory; otherwise they are gone at the end.")
	if err := parse(f, args); err != nil {
		return err
	}
	s, err := startStack(ctx, stack.UsualPorts(), dataDir, c.stdout)
	if err != nil {
		return unlessInterrupted(ctx, err)
	}
	users := generate.New(generate.DefaultConfig()).Users(demoApp)
	_, _ = io.WriteString(c.stdout, upReady(users[0], users[1]))
	select {
	case <-ctx.Done():
	case err = <-s.Failed():
	}
	return errors.Join(err, s.Stop())
}

// upReady says what can be done while everything runs, with two of the users that
// chatload generate makes up.
func upReady(ann, bob string) string {
	var b strings.Builder
	b.WriteString("\nReady. In another terminal:\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	for _, line := range [][2]string{
		{"bin/chatload generate", "a chat of the last days, into Kafka"},
		{"bin/chatload list " + ann, "a conversation list (a table; --json for the reply)"},
		{"bin/chatload profile " + ann + " C2C" + bob, "one conversation"},
		{"bin/chatload unread " + ann, "how many unread messages"},
		{"curl http://127.0.0.1:8123/ -d 'SELECT count() FROM convoview.messages'", "what analysts ask"},
		{"curl http://127.0.0.1:8080/metrics", "the projector's; the query worker's are on 8081"},
	} {
		_, _ = fmt.Fprintf(w, "  %s\t%s\n", line[0], line[1])
	}
	_ = w.Flush() // a builder takes everything
	b.WriteString("\nCtrl-C stops everything.\n\n")
	return b.String()
}

// startStack starts the commands that were built with this one.
func startStack(ctx context.Context, p stack.Ports, dataDir string, log io.Writer) (*stack.Stack, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return stack.Start(ctx, stack.Config{Ports: p, Commands: filepath.Dir(self), DataDir: dataDir, Log: log})
}
