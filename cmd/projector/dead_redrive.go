package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
)

// deadRedriven is what has become of a dead letter, in JSON.
type deadRedriven struct {
	ID    ingest.Place `json:"id"`
	Sent  bool         `json:"sent"`            // with --dry-run: it would be
	Event string       `json:"event,omitempty"` // its ID
	App   string       `json:"app,omitempty"`
	To    string       `json:"to,omitempty"` // the partition
	Key   string       `json:"key,omitempty"`
	Why   string       `json:"why,omitempty"` // it was not sent
}

// deadRedrove is the last line of the JSON.
type deadRedrove struct {
	Letters  int   `json:"letters"` // read
	Matching int   `json:"matching"`
	Sent     int   `json:"sent"` // with --dry-run: would be
	Same     int   `json:"same"` // not sent, since another one with the same event was
	Kept     int   `json:"kept"` // cannot be sent
	Lost     int64 `json:"lost"` // offsets that could not be read
	DryRun   bool  `json:"dryRun"`
}

func deadRedrive(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultDeadConfig()
	config.ingest.MaxRate = 20_000
	flags := lifecycle.NewFlags("projector dead redrive", "Sends dead letters again to the topics that they came from, for instance after a limit was raised. Give it the limits of the projectors: only what the decoder accepts with them is sent, and the rest is named, with why. Run it again if it is interrupted; sending twice changes nothing. It fails when anything that matches cannot be sent.", getenv, stdout)
	flags.Bool(&config.dryRun, "dry-run", "Send nothing, and say what would be sent.")
	flags.Int(&config.ingest.MaxRate, "max-rate", "Most events a second, so that the live system keeps its latency; 0: as many as there can be.")
	config.registerFilter(flags)
	config.register(flags)
	registerLimits(flags, &config.limits)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	s, err := newScanning(config)
	if err != nil {
		return err
	}
	defer s.close()
	r := &redriving{config: config, screen: s.screen, out: bufio.NewWriter(stdout)}
	r.lines = json.NewEncoder(r.out)
	r.lines.SetEscapeHTML(false)
	redrive := ingest.Redrive{
		Letters: s.Letters, Decoder: events.NewDecoder(config.limits), Filter: config.filter(),
		DryRun: config.dryRun, Told: r.told, Progress: s.progress,
	}
	at, err := redrive.Run(ctx)
	s.screen.Clear()
	if err != nil {
		return fmt.Errorf("redrive dead letters: %w (%d were sent%s; run it again: sending twice changes nothing)", err, r.sum.Sent, r.last)
	}
	r.sum.Letters, r.sum.Matching, r.sum.Lost, r.sum.DryRun = at.Letters, at.Matching, at.Lost, config.dryRun
	if err := r.end(); err != nil {
		return err
	}
	if r.sum.Kept > 0 {
		err = fmt.Errorf("%d dead letters cannot be sent", r.sum.Kept)
	}
	return errors.Join(err, errDeadLost(at))
}

// redriving tells what becomes of dead letters.
type redriving struct {
	config deadConfig
	screen *lifecycle.Screen
	out    *bufio.Writer
	lines  *json.Encoder
	sum    deadRedrove
	last   string // up to which letter they were sent
}

// told tells what has become of some, and counts them.
func (r *redriving) told(outcomes []ingest.Outcome) error {
	if len(outcomes) > 0 {
		r.screen.Clear()
	}
	for i := range outcomes {
		o := &outcomes[i]
		d := deadRedriven{ID: o.Place, Sent: o.Sent, Event: o.Event.ID, App: o.Event.App}
		switch {
		case o.Sent:
			r.sum.Sent++
			r.last = fmt.Sprintf(", the last of them %v", o.Place)
			d.To, d.Key = o.To.String(), string(o.Key)
		case o.Kept != nil:
			r.sum.Kept++
			d.Why = o.Kept.Error()
		default:
			r.sum.Same++
			d.Why = fmt.Sprintf("it is %v once more", o.Same)
		}
		if err := r.tell(d); err != nil {
			return err
		}
	}
	return r.out.Flush()
}

func (r *redriving) tell(d deadRedriven) error {
	if r.config.json {
		return r.lines.Encode(d)
	}
	what := fmt.Sprintf("is sent to %s under the key %s", d.To, line(d.Key))
	switch {
	case !d.Sent:
		what = "is not sent: " + line(d.Why)
	case r.config.dryRun:
		what = fmt.Sprintf("would be sent to %s under the key %s", d.To, line(d.Key))
	}
	_, err := fmt.Fprintf(r.out, "%v %s\n", d.ID, what)
	return err
}

// end sums up.
func (r *redriving) end() error {
	if r.config.json {
		return errors.Join(r.lines.Encode(r.sum), r.out.Flush())
	}
	text := fmt.Sprintf("%d of %d dead letters were sent", r.sum.Sent, r.sum.Matching)
	switch {
	case r.sum.Matching == 0:
		text = noneMatch(r.config.ingest.DeadTopic, r.sum.Letters)
	case r.config.dryRun:
		text = fmt.Sprintf("%d of %d dead letters would be sent", r.sum.Sent, r.sum.Matching)
	}
	if r.sum.Same > 0 {
		text += fmt.Sprintf("; repeated: %d", r.sum.Same)
	}
	if r.sum.Kept > 0 {
		text += fmt.Sprintf("; cannot be sent: %d", r.sum.Kept)
	}
	_, err := fmt.Fprintln(r.out, text)
	return errors.Join(err, r.out.Flush())
}
