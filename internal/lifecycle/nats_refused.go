package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// refusedInterval is how often is asked whether what was refused may be heard by now.
const refusedInterval = 5 * time.Second

// refusals are what a server does not let a connection hear. It forgets such a
// subscription, be it a new one or one that a reload has taken away, and does not say when
// it would take it: so that is asked over another connection, and then this one is made anew.
type refusals struct {
	mu   sync.Mutex
	said map[string]error // by the subject; "" is none in particular
}

// refusedSubject finds what may not be heard in what the server says.
var refusedSubject = regexp.MustCompile(`Subscription to "(\S+)"`)

// note notes what a server complains of, if that is a subscription.
func (r *refusals) note(err error) {
	subject := ""
	if found := refusedSubject.FindStringSubmatch(err.Error()); errors.Is(err, nats.ErrPermissionViolation) && found != nil {
		subject = found[1]
	} else if !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said[subject] = err
}

// forget forgets all: a new connection is told again.
func (r *refusals) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.said)
}

// subjects are what may not be heard, ascending.
func (r *refusals) subjects() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.said))
}

// askAgain has a connection made anew when it may hear what was refused, until it is closed.
func (r *refusals) askAgain(c *NATSConfig, n NATS, name string, log *slog.Logger) {
	tick := time.NewTicker(refusedInterval)
	defer tick.Stop()
	for {
		select {
		case <-n.closed:
			return
		case <-tick.C:
		}
		if subject := c.heard(name, r.subjects()); subject != "" && n.ForceReconnect() == nil {
			log.Info("nats lets us hear what it had refused", "subject", subject)
		}
	}
}

// heard gives the first of some subjects that may be heard; "" is none.
func (c *NATSConfig) heard(name string, subjects []string) string {
	if len(subjects) == 0 {
		return ""
	}
	nc, err := c.connect(name, nats.NoReconnect(), nats.PermissionErrOnSubscribe(true),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		return ""
	}
	defer nc.Close()
	for _, subject := range subjects {
		sub, err := nc.SubscribeSync(subject)
		if err != nil || nc.FlushTimeout(nats.DefaultTimeout) != nil {
			continue
		}
		if _, err := sub.NextMsg(time.Nanosecond); !errors.Is(err, nats.ErrPermissionViolation) {
			return subject
		}
	}
	return ""
}

// Hears is a warning: it names what the server does not let us hear.
func (n NATS) Hears(context.Context) error {
	n.refused.mu.Lock()
	defer n.refused.mu.Unlock()
	if len(n.refused.said) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(n.refused.said)))
	return fmt.Errorf("%d subscriptions were refused, first: %w", len(n.refused.said), n.refused.said[first])
}
