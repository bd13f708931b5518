package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/client"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/sandbox/stack"
)

const demoHelp = `
Starts the whole system on free ports, fills it with two days of a made-up chat,
lets the chat go on for a while, and shows the conversation list of its busiest
person as it changes; then one profile, and what to try next. It ends by itself
and leaves nothing running.

  chatload demo --duration 20s --rate 40`

// demoConfig is what a demo does.
type demoConfig struct {
	duration time.Duration
	rate     fraction // events per second of the living chat
	history  int      // events before it
}

func (c *demoConfig) validate() error {
	var errs []error
	if c.duration <= 0 {
		errs = append(errs, fmt.Errorf("duration %v: expected more than 0", c.duration))
	}
	if c.rate <= 0 {
		errs = append(errs, fmt.Errorf("rate %v: expected more than 0", c.rate))
	}
	if c.history < 1 {
		errs = append(errs, fmt.Errorf("events %d: expected at least 1", c.history))
	}
	return errors.Join(errs...)
}

// The shape of the demo.
const (
	demoApp      = "demo"
	demoPast     = 48 * time.Hour
	demoRows     = 12                     // conversations on the screen
	demoFrame    = 500 * time.Millisecond // between two looks at the list
	demoSnapshot = 15 * time.Second       // between two prints where nobody watches
	demoPatience = 2 * time.Minute        // for the first of it
)

func runDemo(ctx context.Context, c *console, args []string) error {
	config := demoConfig{duration: time.Minute, rate: 12, history: 6000}
	f := c.flags("demo", demoHelp)
	f.Duration(&config.duration, "duration", "How long the living chat goes on.")
	f.Var(&config.rate, "rate", "events/s", "Events of the living chat per second.")
	f.Int(&config.history, "events", "Events of the two days before.")
	if err := parse(f, args); err != nil {
		return err
	}
	if err := config.validate(); err != nil {
		return err
	}

	logs, err := os.CreateTemp("", "convoview-demo-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = logs.Close() }()
	p, err := stack.FreePorts(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c.stdout, "Starting Kafka, NATS and ClickHouse, a projector and a query worker …\n")
	s, err := startStack(ctx, p, "", logs)
	if err == nil {
		err = errors.Join(demo(ctx, c, config, s), s.Stop())
	} else {
		err = unlessInterrupted(ctx, err)
	}
	if err != nil {
		return fmt.Errorf("%w (what the processes said: %s)", err, logs.Name())
	}
	return errors.Join(logs.Close(), os.Remove(logs.Name()))
}

// demo plays the chat on a running stack. An interrupt is a fine end of it.
func demo(ctx context.Context, c *console, config demoConfig, s *stack.Stack) error {
	chat := generate.DefaultConfig()
	chat.People, chat.Groups = 120, 12
	chat.Start = time.Now().Add(-demoPast)
	chat.Rate = float64(config.history) / demoPast.Seconds()
	generator := generate.New(chat)
	user := generator.Users(demoApp)[0]

	conn, err := nats.Connect(s.Ports.NATSURL(), nats.Name("chatload demo"))
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	asks, err := client.New(conn, client.Config{App: demoApp})
	if err != nil {
		return err
	}

	// 1 the past, as fast as it goes
	started := time.Now()
	past := newKafkaSink(ctx, kafkaAt(s.Ports.KafkaAddr()), c.notef, func(int, int) {})
	if err := past.close(play(ctx, generator, past, config.history, 0)); err != nil {
		return unlessInterrupted(ctx, err)
	}
	_, _ = fmt.Fprintf(c.stdout, "%s events of the last two days written to Kafka in %v.\n",
		thousands(int64(config.history)), time.Since(started).Round(time.Millisecond))

	// 2 the present, and a look at it every now and then, for so long from the first one on
	live, stop := context.WithCancel(ctx)
	defer stop()
	played := make(chan error, 1)
	go func() {
		present := newKafkaSink(live, kafkaAt(s.Ports.KafkaAddr()), c.notef, func(int, int) {})
		played <- unlessInterrupted(live, present.close(play(live, generator, present, 0, float64(config.rate))))
	}()
	top, err := watch(live, c, asks, user, s, func() { time.AfterFunc(config.duration, stop) })
	if err := errors.Join(err, <-played); err != nil || ctx.Err() != nil {
		return err
	}

	// 3 one conversation in full
	return farewell(ctx, c, asks, user, top)
}

// play writes count events (0: until ctx ends), at a rate (0: as fast as possible).
func play(ctx context.Context, g *generate.Generator, to sink, count int, rate float64) error {
	return generateFrom(ctx, g, generateConfig{count: count, rate: fraction(rate), encoding: encodingFlag()}, to)
}

// watch shows the user's list until ctx ends, and gives the ID of its first conversation.
// It calls begin when there is something to show.
func watch(ctx context.Context, c *console, asks *client.Client, user string, s *stack.Stack, begin func()) (string, error) {
	screen := lifecycle.IsTerminal(c.stdout)
	every := demoFrame
	if !screen {
		every = demoSnapshot
	}
	failed := s.Failed()
	tick := time.NewTicker(demoFrame)
	defer tick.Stop()
	var top string
	var shown time.Time
	var took []time.Duration
	begun := time.Now()
	for {
		asked := time.Now()
		list, err := asks.List(ctx, client.ListRequest{UserID: user})
		switch {
		case ctx.Err() != nil:
			return top, nil
		case err != nil:
			return top, err
		}
		took = append(took, time.Since(asked))
		if top == "" && time.Since(begun) > demoPatience {
			return "", fmt.Errorf("the list of %s is still empty after %v", user, demoPatience)
		}
		if rows := list.ConversationList; len(rows) > 0 {
			if top == "" {
				begin()
			}
			top = rows[0].ConversationID
			if time.Since(shown) >= every {
				if screen && shown.IsZero() {
					_, _ = io.WriteString(c.stdout, "\x1b[2J")
				}
				shown = time.Now()
				if err := showFrame(c.stdout, screen, user, *list, took); err != nil {
					return top, err
				}
			}
		}
		select {
		case <-tick.C:
		case err := <-failed:
			return top, err
		case <-ctx.Done():
			return top, nil
		}
	}
}

// showFrame draws the list, over the one before where somebody watches.
func showFrame(w io.Writer, screen bool, user string, list client.List, took []time.Duration) error {
	var b strings.Builder
	slices.Sort(took)
	fmt.Fprintf(&b, "\n%s's conversations, as the query worker answers them (%v, the median of %d requests)\n\n",
		user, took[len(took)/2].Round(100*time.Microsecond), len(took))
	more := len(list.ConversationList) - demoRows
	list.ConversationList = list.ConversationList[:min(demoRows, len(list.ConversationList))]
	if err := renderList(&b, list, user, time.Now(), terminalWidth(w)); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(&b, "… and %d more\n", more)
	}
	frame := b.String()
	if screen {
		// Home, then each line cleared to its end, then everything below.
		frame = "\x1b[H" + strings.ReplaceAll(frame, "\n", "\x1b[K\n") + "\x1b[J"
	}
	_, err := io.WriteString(w, frame)
	return err
}

// farewell shows one profile and says what to try next.
func farewell(ctx context.Context, c *console, asks *client.Client, user, conversationID string) error {
	profile, err := asks.Profile(ctx, client.ProfileRequest{UserID: user, ConversationID: conversationID})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(c.stdout, "\nThe profile of the first one, %s:\n\n", conversationID)
	if err := renderProfile(c.stdout, profile, user, time.Now(), terminalWidth(c.stdout)); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, farewellText, filepath.Base(os.Args[0]))
	return err
}

const farewellText = `
That was the whole system: events on Kafka, a read model in ClickHouse, replies
over NATS. Everything is stopped again. To go on:

  make up                    the same system on the usual ports, until Ctrl-C
  bin/%[1]s generate      fill it with a chat
  bin/%[1]s list USER     ask for a list; --json shows the reply itself
  docs/CONTRACT.md           what goes in, what comes out, and what it means

`
