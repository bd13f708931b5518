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

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
)

// dead runs the commands on dead letters.
func dead(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	return lifecycle.Commands{
		Name:    "projector dead",
		Summary: "Dead letters are the records in which projectors have found no valid event.",
		All: []lifecycle.Command{
			{Name: "list", Summary: "list those that match, and count them by code", Run: deadList},
			{Name: "show", Summary: "show one in full, and what the decoder says of it now", Run: deadShow},
			{Name: "redrive", Summary: "send again those that match and that the decoder accepts now", Run: deadRedrive},
		},
	}.Run(ctx, args, getenv, stdout)
}

type deadConfig struct {
	ingest   ingest.Config
	limits   events.Limits
	codes    []string
	topics   []string
	since    moment
	until    moment
	interval time.Duration
	json     bool
	raw      bool
	dryRun   bool
	log      lifecycle.LogConfig
}

func defaultDeadConfig() deadConfig {
	return deadConfig{ingest: ingest.DefaultConfig(), limits: events.DefaultLimits(), interval: time.Second, log: lifecycle.DefaultLogConfig()}
}

// register binds how dead letters are read.
func (c *deadConfig) register(f *lifecycle.Flags) {
	registerKafka(f, &c.ingest)
	f.String(&c.ingest.DeadTopic, "kafka-dead-topic", "Topic of the dead letters.")
	f.Duration(&c.ingest.StallTimeout, "stall-timeout", "How long Kafka is tried again before the command fails.")
	c.log.Register(f)
}

// registerFilter binds which dead letters are meant.
func (c *deadConfig) registerFilter(f *lifecycle.Flags) {
	f.Strings(&c.codes, "code", "Only dead letters with one of these codes, separated by commas.")
	f.Strings(&c.topics, "topic", "Only dead letters whose records came from one of these topics, separated by commas.")
	f.Var(&c.since, "since", "time or duration", "Only dead letters written since then: a time (2026-11-23T03:00:00Z), or so long ago (36h).")
	f.Var(&c.until, "until", "time or duration", "Only dead letters written before then, given as for --since.")
	f.Bool(&c.json, "json", "Write the result as JSON: a line for each dead letter, and one in the end.")
	f.Duration(&c.interval, "progress-interval", "How often to say how far it is.")
}

func (c *deadConfig) validate() error {
	errs := []error{c.ingest.Validate(), c.limits.Validate(), c.log.Validate()}
	if c.ingest.DeadTopic == "" {
		errs = append(errs, errors.New("kafka dead topic is missing: expected the name of a topic (--kafka-dead-topic)"))
	}
	var known []string
	for _, code := range events.Codes() {
		known = append(known, string(code))
	}
	for _, code := range c.codes {
		if !slices.Contains(known, code) {
			errs = append(errs, fmt.Errorf("code %q: expected one of %s", code, strings.Join(known, ", ")))
		}
	}
	if !c.since.IsZero() && !c.until.IsZero() && !c.since.Before(c.until.Time) {
		errs = append(errs, fmt.Errorf("since %v: expected a time before %v (--until)", &c.since, &c.until))
	}
	if c.interval <= 0 {
		errs = append(errs, fmt.Errorf("progress interval %v: expected more than 0", c.interval))
	}
	return errors.Join(errs...)
}

func (c *deadConfig) filter() ingest.Filter {
	f := ingest.Filter{Topics: c.topics, Since: c.since.Time, Until: c.until.Time}
	for _, code := range c.codes {
		f.Codes = append(f.Codes, events.Code(code))
	}
	return f
}

// moment is a flag: a time, or how long ago it was.
type moment struct{ time.Time }

// String gives the time.
func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.Format(time.RFC3339Nano)
}

// Set reads a time (RFC 3339) or a duration.
func (m *moment) Set(text string) error {
	if text == "" {
		*m = moment{}
		return nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		m.Time = time.Now().Add(-ago).UTC()
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.IsZero() {
		return errors.New("expected a time such as 2026-11-23T03:00:00Z, or how long ago it was, such as 36h")
	}
	m.Time = t.UTC()
	return nil
}

// scanning is what a command needs that reads all dead letters.
type scanning struct {
	*ingest.Letters
	screen   *lifecycle.Screen
	interval time.Duration
	tell     func(ingest.Scanned)
	told     time.Time
}

func newScanning(c deadConfig) (*scanning, error) {
	s := &scanning{screen: lifecycle.NewScreen(os.Stderr), interval: c.interval, told: time.Now()}
	log := lifecycle.NewLogger(c.log, s.screen)
	letters, err := ingest.NewLetters(c.ingest, log)
	if err != nil {
		return nil, err
	}
	s.Letters, s.tell = letters, tellScan(s.screen, log)
	return s, nil
}

func (s *scanning) close() {
	s.screen.Clear()
	s.Close()
}

// progress tells now and then how far it is.
func (s *scanning) progress(at ingest.Scanned) {
	if time.Since(s.told) >= s.interval {
		s.told = time.Now()
		s.tell(at)
	}
}

// errDeadLost says that dead letters could not be read, which was logged.
func errDeadLost(at ingest.Scanned) error {
	if at.Lost == 0 {
		return nil
	}
	return fmt.Errorf("%d offsets of dead letters are corrupted or were deleted meanwhile (the log names them)", at.Lost)
}

// written is a time as lines show it.
func written(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// line makes one line of a text that somebody else has written, without anything in it
// that a terminal would obey.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, strings.ToValidUTF8(text, "�"))
}
