package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Config says whom a client asks, and how. Of all but App, zero is the default.
type Config struct {
	// App is the tenant: 1 to 64 of A-Z, a-z, 0-9, _ and -.
	App string
	// Affinity asks at subjects with the user's token, so that a subject mapping
	// in NATS can send each user always to the same query worker. Where nobody
	// answers there, the same is asked once more without the token.
	Affinity bool
	// Attempts is how often is asked at most when the answer is that there is none
	// now. Default: 4. 1: never again. With Affinity an attempt may take two requests,
	// one with the token and one without.
	Attempts int
	// Wait is about how long to wait before the second attempt. Before each later one
	// it is twice as long as before, but never more than 2 s, however long the first
	// was. A quarter to all of it is waited, by chance. Default: 100 ms.
	Wait time.Duration
	// Buffer is how many notices a subscription keeps for its reader. Default: 1024.
	Buffer int
}

// The defaults of a Config, and what cannot be set.
const (
	defaultAttempts = 4
	defaultWait     = 100 * time.Millisecond
	defaultBuffer   = 1024

	maxWait       = 2 * time.Second
	workerTimeout = 5 * time.Second // of a request that does not say its own
	replyGrace    = time.Second     // for the way of a reply that a worker makes in time

	// What a worker does not get of the time that is left, so that its reply, be it
	// that it was too late, comes before the context is done: a tenth, at most this.
	maxReplyTime = 50 * time.Millisecond
)

var validApp = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if !validApp.MatchString(c.App) {
		errs = append(errs, fmt.Errorf("app %q: expected 1 to 64 of A-Z, a-z, 0-9, _ and -", c.App))
	}
	if c.Attempts < 0 {
		errs = append(errs, fmt.Errorf("attempts %d: expected 0 (%d) or more", c.Attempts, defaultAttempts))
	}
	if c.Wait < 0 {
		errs = append(errs, fmt.Errorf("wait %v: expected 0 (%v) or more", c.Wait, defaultWait))
	}
	if c.Buffer < 0 {
		errs = append(errs, fmt.Errorf("buffer %d: expected 0 (%d) or more", c.Buffer, defaultBuffer))
	}
	return errors.Join(errs...)
}

// Client asks for the conversations of one app's users.
type Client struct {
	cfg Config
	nc  *nats.Conn
}

// New makes a client that asks over nc, which stays the caller's.
func New(nc *nats.Conn, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = defaultAttempts
	}
	if cfg.Wait == 0 {
		cfg.Wait = defaultWait
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = defaultBuffer
	}
	return &Client{cfg, nc}, nil
}

// Endpoint is what can be asked for.
type Endpoint string

// The endpoints of the contract.
const (
	EndpointList    Endpoint = "list"
	EndpointProfile Endpoint = "profile"
	EndpointUnread  Endpoint = "unread"
)

// Ask sends a request as it is and gives the reply as it came: for what passes
// on the words of others. It asks again as the other methods do, without a token.
func (c *Client) Ask(ctx context.Context, to Endpoint, request []byte) (reply []byte, err error) {
	return c.ask(ctx, to, "", func(time.Duration) ([]byte, time.Duration, error) { return request, workerTimeout, nil })
}

// reply is what a query worker says that does not refuse.
type reply struct {
	Code       *int   `json:"code"`
	Data       any    `json:"data"` // a pointer
	NextCursor string `json:"nextCursor"`
	SyncToken  string `json:"syncToken"`
}

// call asks with a request of a user's and decodes the reply, whose data goes where the
// pointer data says. timeoutMs is the request's, and set for each attempt unless it is given.
func (c *Client) call(ctx context.Context, to Endpoint, userID string, request any, timeoutMs *uint64, data any) (*reply, error) {
	given := *timeoutMs
	encode := func(timeout time.Duration) ([]byte, time.Duration, error) {
		*timeoutMs = given
		timeout = setTimeout(timeoutMs, timeout)
		body, err := json.Marshal(request)
		return body, timeout, err
	}
	token := ""
	if c.cfg.Affinity {
		token = SubjectToken(userID)
	}
	body, err := c.ask(ctx, to, token, encode)
	if err != nil {
		return nil, err
	}
	r := &reply{Data: data}
	if err := json.Unmarshal(body, r); err != nil {
		return nil, fmt.Errorf("read a reply of %d bytes to %s: %w", len(body), to, err)
	}
	if r.Code == nil || *r.Code != 0 { // a JetStream stream acknowledges what it takes in, and would be taken for nothing at all
		return nil, fmt.Errorf("read a reply of %d bytes to %s: expected \"code\":0 in it: does anything else answer there, as a stream does?", len(body), to)
	}
	return r, nil
}

// encoder makes a request that a worker is to answer within so much time, and
// says how much it really has.
type encoder func(timeout time.Duration) (body []byte, within time.Duration, err error)

// ask asks until there is an answer, or no point in asking again.
func (c *Client) ask(ctx context.Context, to Endpoint, token string, encode encoder) ([]byte, error) {
	subject := "convoview.v1." + c.cfg.App + ".conversation." + string(to)
	wait := c.cfg.Wait
	for attempt := 1; ; attempt++ {
		reply, err := c.attempt(ctx, subject, token, encode)
		if err == nil || !mayPass(err) || attempt == c.cfg.Attempts {
			return reply, err
		}
		if !pause(ctx, wait/4+rand.N(wait*3/4+1)) {
			if ctx.Err() != nil {
				err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
			}
			return nil, err
		}
		wait = min(2*wait, maxWait)
	}
}

// attempt asks once: at the subject with the token if there is one, and at the
// subject without it if no worker is behind the other.
func (c *Client) attempt(ctx context.Context, subject, token string, encode encoder) ([]byte, error) {
	if token != "" {
		reply, err := c.send(ctx, subject, "."+token, encode)
		if !errors.Is(err, ErrUnavailable) {
			return reply, err
		}
	}
	return c.send(ctx, subject, "", encode)
}

// send sends one request.
func (c *Client) send(ctx context.Context, endpoint, token string, encode encoder) ([]byte, error) {
	subject := endpoint + token
	timeout := workerTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		timeout = max(time.Millisecond, min(timeout, left-min(left/10, maxReplyTime)))
	}
	body, timeout, err := encode(timeout)
	if err != nil {
		return nil, fmt.Errorf("encode a request to %s: %w", subject, err)
	}
	waiting, cancel := context.WithTimeout(ctx, timeout+replyGrace)
	defer cancel()
	said := c.nc.LastError()
	reply, err := c.nc.RequestWithContext(waiting, subject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w: no query worker answers on %s: %w", ErrUnavailable, subject, err)
	case err != nil && waiting.Err() != nil && c.forbidden(endpoint, token, said):
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: ask %s: %w (%w)", ErrForbidden, subject, c.nc.LastError(), err)
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("ask %s: %w", subject, context.Cause(ctx))
	case err != nil && waiting.Err() != nil:
		return nil, fmt.Errorf("%w: %s has not answered within %v", ErrTimeout, subject, timeout+replyGrace)
	case errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrReconnectBufExceeded):
		return nil, fmt.Errorf("%w: ask %s: %w", ErrUnavailable, subject, err)
	case err != nil:
		return nil, fmt.Errorf("ask %s with %d bytes: %w", subject, len(body), err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, refusal(code, reply)
	}
	return reply.Data, nil
}

// forbidden reports whether the server has said since something else that a subject may not
// be asked, or, of whenever, that its replies may not be heard: their subscription is made
// once for the connection. In place of a token a mapping has what the server then names.
func (c *Client) forbidden(endpoint, token string, before error) bool {
	err := c.nc.LastError()
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return false
	}
	inbox := c.nc.NewRespInbox()
	replies, end := inbox[:strings.LastIndexByte(inbox, '.')+1], `"`
	if token != "" {
		end = "."
	}
	return err != before && strings.Contains(err.Error(), `Publish to "`+endpoint+end) || //nolint:errorlint // is it the same one
		strings.Contains(err.Error(), `Subscription to "`+replies)
}

// refusal is the error that a reply says.
func refusal(code string, reply *nats.Msg) error {
	e := &Error{Message: reply.Header.Get("Nats-Service-Error"), Body: reply.Data}
	var err error
	if e.Code, err = strconv.Atoi(code); err != nil {
		return fmt.Errorf("a reply with the error code %q: expected a number: %s", code, e.Message)
	}
	var body LeftOut
	if json.Unmarshal(reply.Data, &body) == nil { // else another service's, which has none
		e.LeftOut = body
	}
	return e
}

// pause waits, unless ctx would be done by then.
func pause(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
