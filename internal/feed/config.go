package feed

import (
	"errors"
	"fmt"
	"time"
)

// Config is what can be set of a Follower.
type Config struct {
	// Silence is how long nothing may be heard of a partition, whose owner
	// speaks every second, before what is in memory is not relied on.
	Silence time.Duration
	// PendingBytes is how much may wait to be applied. Past it NATS drops, which is a gap.
	PendingBytes int
}

// DefaultConfig is what a follower runs with when nothing else is said.
func DefaultConfig() Config {
	return Config{Silence: 5 * time.Second, PendingBytes: 64 << 20}
}

// Validate gives all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Silence < time.Second { // owners speak as often, unless they are told otherwise
		errs = append(errs, fmt.Errorf("feed silence %v: expected at least 1s", c.Silence))
	}
	if c.PendingBytes < 1 {
		errs = append(errs, fmt.Errorf("feed pending bytes %d: expected at least 1", c.PendingBytes))
	}
	return errors.Join(errs...)
}
