package generate

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/convoview/convoview/internal/events"
)

// Config describes a chat.
type Config struct {
	// Seed decides everything that is drawn.
	Seed uint64
	// Apps are the tenants; the first is the busiest.
	Apps []string
	// People is how many people each app has (at least 2).
	People int
	// Groups is how many groups each app has (0: nobody but pairs).
	Groups int
	// Start is the time of the beginning.
	Start time.Time
	// Rate is the mean number of events per second of chat time.
	Rate float64
	// FirstSequence is the sequence before each conversation's first message.
	// A second chat in the same app must begin above the first one's sequences.
	FirstSequence uint64
	// MaxConversations and Retention are the plan of every app, announced at
	// the start. A Retention of 0 keeps messages for ever.
	MaxConversations int
	Retention        time.Duration
}

// DefaultConfig is a chat of 500 people and 40 groups in the app "demo" that
// begins now, with an event each second.
func DefaultConfig() Config {
	return Config{
		Seed:             1,
		Apps:             []string{"demo"},
		People:           500,
		Groups:           40,
		Start:            time.Now(),
		Rate:             1,
		MaxConversations: 500,
		Retention:        30 * 24 * time.Hour,
	}
}

// maxPeople bounds what New draws up front; maxFirstSequence leaves room for
// more messages than anybody generates.
const (
	maxPeople        = 10_000_000
	maxFirstSequence = events.MaxSequence - 1<<40
)

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if len(c.Apps) == 0 {
		errs = append(errs, errors.New("apps are missing: expected at least one"))
	}
	seen := map[string]bool{}
	for _, app := range c.Apps {
		if !events.ValidApp(app) || seen[app] {
			errs = append(errs, fmt.Errorf("app %q: expected distinct names of 1 to 64 characters [A-Za-z0-9_-]", app))
		}
		seen[app] = true
	}
	if c.People < 2 || c.People > maxPeople {
		errs = append(errs, fmt.Errorf("people %d: expected 2 to %d", c.People, maxPeople))
	}
	if c.Groups < 0 || c.Groups > maxPeople {
		errs = append(errs, fmt.Errorf("groups %d: expected 0 to %d", c.Groups, maxPeople))
	}
	if c.Start.Year() < 2000 || c.Start.Year() > 2200 {
		errs = append(errs, fmt.Errorf("start %s: expected a time from 2000 to 2200", c.Start.Format(time.RFC3339)))
	}
	if !(c.Rate > 0) || math.IsInf(c.Rate, 0) {
		errs = append(errs, fmt.Errorf("chat rate %v: expected a positive number of events per second", c.Rate))
	}
	if c.FirstSequence > maxFirstSequence {
		errs = append(errs, fmt.Errorf("first sequence %d: expected at most %d", c.FirstSequence, uint64(maxFirstSequence)))
	}
	if c.MaxConversations < 1 || c.MaxConversations > 1000 {
		errs = append(errs, fmt.Errorf("max conversations %d: expected 1 to 1000", c.MaxConversations))
	}
	if c.Retention < 0 {
		errs = append(errs, fmt.Errorf("retention %s: expected 0 (for ever) or more", c.Retention))
	}
	return errors.Join(errs...)
}
