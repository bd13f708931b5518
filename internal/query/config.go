package query

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Config is what can be set of a Worker.
type Config struct {
	// Version is what micro's INFO shows: a semantic version.
	Version string
	// MaxRunning is how many requests are answered from memory at the same time.
	// More than there are cores is of little use: none of them waits for anything.
	MaxRunning int
	// MaxQueued is how many more wait for that; past both the reply is 429.
	MaxQueued int
	// MaxQueuedBytes is how large all of these may be together, and all that wait
	// otherwise; past it, too, the reply is 429.
	MaxQueuedBytes int
	// MaxWaiting is how many requests may besides wait for what is not in memory,
	// or for what they are to be answered after; past it the reply to those is 429.
	MaxWaiting int
	// MaxRequestBytes is the greatest request.
	MaxRequestBytes int
	// LoadConcurrency is how many cohorts are loaded for at the same time, and how
	// many calls of one kind run in the store. Few calls of many keys serve a herd
	// better than many of few.
	LoadConcurrency int
	// LoadPatience is how long a cohort that is not full waits for more requests
	// while another is under way: two small ones take more than a large one.
	LoadPatience time.Duration
	// LoadLinger is how long what a cohort lacks goes on being loaded when all of its requests
	// have had to give up: those who ask again find it, or wait for the rest of it only.
	LoadLinger time.Duration
	// BatchInboxes is the greatest number of requests in a cohort, and of whole
	// inboxes that one call asks for.
	BatchInboxes int
	// BatchKeys is the greatest number of anything else that one call asks for.
	BatchKeys int
	// CacheBytes is about how much memory may hold of the read model.
	CacheBytes int
	// CacheMaxAge is after what time at the latest what is in memory is loaded
	// again, although every change of it was heard of.
	CacheMaxAge time.Duration
	// GenerationInterval is how often is looked which generation is read.
	GenerationInterval time.Duration
	// WarmUpUsers is how many users' lists are loaded at start, before they are asked
	// for, as far as memory goes: of those who have sent a message most recently; 0: none.
	WarmUpUsers int
	// AffinityTokens are the last tokens of the subjects that the worker serves
	// besides those without one: "*" alone is every token. Requests of one user that
	// are sent to one token find that user in one worker's memory.
	AffinityTokens []string
	// DrainTimeout bounds a stop. Requests in hand that are not answered after
	// half of it get 503; the other half is for getting the replies out.
	DrainTimeout time.Duration
}

// DefaultConfig is what a worker runs with when nothing else is said.
func DefaultConfig() Config {
	return Config{
		Version:            "0.1.0",
		MaxRunning:         16,
		MaxQueued:          1024,
		MaxQueuedBytes:     64 << 20,
		MaxWaiting:         1024,
		MaxRequestBytes:    256 << 10,
		LoadConcurrency:    2,
		LoadPatience:       500 * time.Millisecond,
		LoadLinger:         10 * time.Second,
		BatchInboxes:       100,
		BatchKeys:          8192,
		CacheBytes:         512 << 20,
		CacheMaxAge:        10 * time.Minute,
		GenerationInterval: time.Second,
		AffinityTokens:     []string{"*"},
		DrainTimeout:       10 * time.Second,
	}
}

const (
	maxSetting = 1 << 20 // of what takes memory for each, from the start
	maxTokens  = 1024    // of which each is three subscriptions
)

// version is a semantic version, as micro wants one.
var version = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?` +
	`(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?$`)

// Validate gives all that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if !version.MatchString(c.Version) {
		errs = append(errs, fmt.Errorf("version %q: expected a semantic version", c.Version))
	}
	for _, bound := range []struct {
		name            string
		value, min, max int
	}{
		{"max running", c.MaxRunning, 1, maxSetting},
		{"max queued", c.MaxQueued, 0, maxSetting},
		{"max queued bytes", c.MaxQueuedBytes, c.MaxRequestBytes, math.MaxInt},
		{"max waiting", c.MaxWaiting, 1, maxSetting},
		{"max request bytes", c.MaxRequestBytes, 1, math.MaxInt},
		{"load concurrency", c.LoadConcurrency, 1, maxSetting},
		{"batch inboxes", c.BatchInboxes, 1, maxSetting},
		{"batch keys", c.BatchKeys, 1, maxSetting},
		{"warm up users", c.WarmUpUsers, 0, math.MaxInt},
		{"cache bytes", c.CacheBytes, 1 << 20, math.MaxInt},
	} {
		if bound.value < bound.min {
			errs = append(errs, fmt.Errorf("%s %d: expected at least %d", bound.name, bound.value, bound.min))
		}
		if bound.value > bound.max {
			errs = append(errs, fmt.Errorf("%s %d: expected at most %d", bound.name, bound.value, bound.max))
		}
	}
	if len(c.AffinityTokens) > maxTokens {
		errs = append(errs, fmt.Errorf("%d affinity tokens: expected at most %d, or * for all", len(c.AffinityTokens), maxTokens))
	}
	if c.LoadPatience < 0 {
		errs = append(errs, fmt.Errorf("load patience %s: expected at least 0", c.LoadPatience))
	}
	if c.LoadLinger < 0 {
		errs = append(errs, fmt.Errorf("load linger %s: expected at least 0", c.LoadLinger))
	}
	if c.CacheMaxAge < time.Second { // what is loaded would be too old when it is there
		errs = append(errs, fmt.Errorf("cache max age %s: expected at least 1s", c.CacheMaxAge))
	}
	if c.GenerationInterval < time.Millisecond {
		errs = append(errs, fmt.Errorf("generation interval %s: expected at least 1ms", c.GenerationInterval))
	}
	errs = append(errs, validTokens(c.AffinityTokens))
	if c.DrainTimeout <= 0 {
		errs = append(errs, fmt.Errorf("drain timeout %s: expected more than 0", c.DrainTimeout))
	}
	return errors.Join(errs...)
}

// validTokens gives all that is wrong with affinity tokens.
func validTokens(tokens []string) error {
	if len(tokens) == 0 {
		return errors.New("affinity tokens: expected at least one, or * for all")
	}
	var errs []error
	for i, token := range tokens {
		switch {
		case token == "*" && len(tokens) > 1:
			errs = append(errs, errors.New("affinity token *: expected no other beside it"))
		case token == "*":
		case token == "" || strings.ContainsAny(token, ".*>") || strings.ContainsFunc(token, isBlank):
			errs = append(errs, fmt.Errorf("affinity token %q: expected one token of a subject: no dot, blank or wildcard in it", token))
		case slices.Contains(tokens[:i], token):
			errs = append(errs, fmt.Errorf("affinity token %s: expected once", token))
		}
	}
	return errors.Join(errs...)
}

func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }
