package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/lifecycle"
)

const generateHelp = `
Makes up a chat and writes its events to Kafka, or to a file that import reads.
The same flags, --start included, give the same events as long as they are of
the past.

Without --rate the chat is of the past: it begins so that it ends about now.
With --rate, or without an end, event times are the real now. No event is ever
ahead of the clock.

A second chat in the same --app needs a greater --first-sequence: sequences
only grow.

  chatload generate                                   100,000 events of the last days
  chatload generate --events 0 --rate 50              a living chat, until Ctrl-C
  chatload generate --out chat.jsonl.gz --start 2026-11-01 --seed 7`

// generateConfig is what generate does.
type generateConfig struct {
	chat     generate.Config
	kafka    kafkaConfig
	count    int
	rate     fraction
	encoding choice
	out      string
	start    optional[time.Time]
	chatRate fraction
}

func (c *generateConfig) register(f *lifecycle.Flags) {
	c.kafka.register(f)
	f.Strings(&c.chat.Apps, "app", "The app, or several separated by commas.")
	f.Var((*whole)(&c.chat.Seed), "seed", "number", "What everything is drawn from.")
	f.Int(&c.count, "events", "How many events; 0: until Ctrl-C.")
	f.Int(&c.chat.People, "people", "How many people each app has.")
	f.Int(&c.chat.Groups, "groups", "How many groups each app has.")
	f.Var(&c.start, "start", "time", "When the chat begins, such as 2026-11-01T09:00:00Z; otherwise it ends about now.")
	f.Var(&c.chatRate, "chat-rate", "events/s", "The mean number of events per second of chat time.")
	f.Var(&c.rate, "rate", "events/s", "Write so many events per second, with the real now as their time; 0: as fast as possible.")
	f.Var(&c.encoding, "encoding", "encoding", "Encode values as json, protobuf or mixed.")
	f.String(&c.out, "out", "Write to this file instead of Kafka, one event a line, compressed when it ends in .gz; \"-\" is standard output.")
	f.Var((*whole)(&c.chat.FirstSequence), "first-sequence", "number", "The sequence before each conversation's first message.")
	f.Int(&c.chat.MaxConversations, "max-conversations", "The length of a list in the app's plan.")
	f.Duration(&c.chat.Retention, "retention", "How long messages are kept in the app's plan; 0: for ever.")
}

// complete sets the times and validates.
func (c *generateConfig) complete(now time.Time) error {
	var errs []error
	if c.count < 0 {
		errs = append(errs, fmt.Errorf("events %d: expected 0 or more", c.count))
	}
	c.chat.Rate = float64(c.chatRate)
	c.chat.Start = now
	switch {
	case c.start.value != nil && c.rate > 0:
		errs = append(errs, fmt.Errorf("start %s: expected none with --rate, whose chat is of now", c.start.value.Format(time.RFC3339)))
	case c.start.value != nil && c.start.value.After(now):
		errs = append(errs, fmt.Errorf("start %s: expected a time that is not in the future", c.start.value.Format(time.RFC3339)))
	case c.start.value != nil:
		c.chat.Start = *c.start.value
	case !c.live() && c.chatRate > 0:
		c.chat.Start = now.Add(-time.Duration(float64(c.count) / c.chat.Rate * float64(time.Second)))
	}
	return errors.Join(append(errs, c.kafka.validate(), c.chat.Validate())...)
}

// live reports whether event times are the real now.
func (c *generateConfig) live() bool {
	return c.rate > 0 || c.count == 0 && c.start.value == nil
}

func runGenerate(ctx context.Context, c *console, args []string) error {
	config := generateConfig{chat: generate.DefaultConfig(), count: 100_000, encoding: encodingFlag(), start: optionalTime()}
	config.chatRate = fraction(config.chat.Rate)
	f := c.flags("generate", generateHelp)
	config.register(f)
	if err := parse(f, args); err != nil {
		return err
	}
	if err := config.complete(time.Now()); err != nil {
		return err
	}
	p := c.newProgress("generate", int64(config.count))
	var err error
	summary := c.stdout
	if config.out == "" {
		sink := newKafkaSink(ctx, config.kafka, c.notef, p.written)
		err = sink.close(generateEvents(ctx, config, sink))
	} else {
		if config.out == "-" {
			summary = c.stderr
		}
		err = generateFile(ctx, c, config, p)
	}
	p.close()
	_, e := fmt.Fprintf(summary, "generated %s\n", p)
	return errors.Join(err, e)
}

// sink is where records go. flush hands over what add has gathered.
type sink interface {
	add(ctx context.Context, r record) error
	flush(ctx context.Context) error
}

// generateEvents writes the events of a chat. An interrupt is its usual end.
func generateEvents(ctx context.Context, config generateConfig, to sink) error {
	return generateFrom(ctx, generate.New(config.chat), config, to)
}

func generateFrom(ctx context.Context, g *generate.Generator, config generateConfig, to sink) error {
	encode := newEncoder(config.encoding.value, config.chat.Seed)
	pace := pacer{rate: float64(config.rate)}
	for n := 0; config.count == 0 || n < config.count; n++ {
		if err := pace.wait(ctx, to.flush); err != nil {
			return unlessInterrupted(ctx, err)
		}
		r, err := encode.event(next(g, config.live()))
		if err != nil {
			return err
		}
		if err := to.add(ctx, r); err != nil {
			return unlessInterrupted(ctx, err)
		}
	}
	return nil
}

func unlessInterrupted(ctx context.Context, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
		return err
	}
}

// next gives an event that is not ahead of the clock.
func next(g *generate.Generator, live bool) events.Event {
	if live {
		return g.NextAt(time.Now())
	}
	return g.NextBy(time.Now())
}

// generateFile writes the events of a chat to a file.
func generateFile(ctx context.Context, c *console, config generateConfig, p *progress) (err error) {
	w := c.stdout
	if config.out != "-" {
		f, createErr := os.Create(config.out)
		if createErr != nil {
			return createErr
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w = f
	}
	buffered := bufio.NewWriterSize(w, 256<<10)
	var to io.Writer = buffered
	finish := buffered.Flush
	if strings.HasSuffix(config.out, ".gz") {
		z := gzip.NewWriter(buffered)
		to, finish = z, func() error { return errors.Join(z.Close(), buffered.Flush()) }
	}
	return errors.Join(generateEvents(ctx, config, &fileSink{w: to, written: p.written}), finish())
}
