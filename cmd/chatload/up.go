package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

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
	_, _ = io.WriteString(c.stdout, upReady)
	select {
	case <-ctx.Done():
	case err = <-s.Failed():
	}
	return errors.Join(err, s.Stop())
}

// upReady says what can be done while everything runs, with users that chatload
// generate makes up.
const upReady = `
Ready. In another terminal:

  bin/chatload generate                                                     a chat of the last days, into Kafka
  bin/chatload list ava_walsh                                               a conversation list (a table; --json for the reply)
  bin/chatload profile ava_walsh C2Coscar_carter                            one conversation
  bin/chatload unread ava_walsh                                             how many unread messages
  curl http://127.0.0.1:8123/ -d 'SELECT count() FROM convoview.messages'   what analysts ask
  curl http://127.0.0.1:8080/metrics                                        the projector's; the query worker's are on 8081

Ctrl-C stops everything.

`

// startStack starts the commands that were built with this one.
func startStack(ctx context.Context, p stack.Ports, dataDir string, log io.Writer) (*stack.Stack, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return stack.Start(ctx, stack.Config{Ports: p, Commands: filepath.Dir(self), DataDir: dataDir, Log: log})
}
