package query

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// replyError is an error as the caller is told it.
type replyError struct {
	Code    int    `json:"code"`
	Message string `json:"message"` // one line
	leftOut
}

// leftOut is what a refusal says because of a conversation that is too large for a
// page of its own: which one that is, and all else that the page would have said.
type leftOut struct {
	ConversationID string   `json:"conversationID,omitempty"`
	NextCursor     string   `json:"nextCursor,omitempty"` // after it, if there are more
	Removed        []string `json:"removed,omitempty"`
	Reset          bool     `json:"reset,omitempty"`
	SyncToken      string   `json:"syncToken,omitempty"`
}

func (e *replyError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

// The codes of the contract's errors.
const (
	codeOK          = 0
	codeBadRequest  = 400
	codeNotFound    = 404
	codeTooLarge    = 413
	codeOverloaded  = 429
	codeInternal    = 500
	codeUnavailable = 503
	codeTimeout     = 504
)

var allCodes = []int{codeOK, codeBadRequest, codeNotFound, codeTooLarge, codeOverloaded, codeInternal, codeUnavailable, codeTimeout}

var (
	errDraining   = refusal(codeUnavailable, "this worker is stopping, ask again")
	errStoreAway  = refusal(codeUnavailable, "the store is not available, ask again later")
	errStoreLate  = refusal(codeTimeout, "the store did not answer in time")
	errInternal   = refusal(codeInternal, "internal error, see the worker's log")
	errTakesLess  = refusal(codeUnavailable, "the reply is larger than the NATS server takes that the worker is connected to by now, ask again")
	errOverloaded = refusal(codeOverloaded, "overloaded: too many requests are waiting, ask again later")
)

func refusal(code int, format string, args ...any) *replyError {
	return &replyError{Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *replyError {
	return refusal(codeBadRequest, format, args...)
}

// loadError is an error of the store, already logged.
type loadError struct{ error }

func (e *loadError) Unwrap() error { return e.error }

// replyFor is the one place that says what an error means to the caller. What
// is not meant for them, such as a query's text, stays out of it.
func replyFor(err error) *replyError {
	var reply *replyError
	var store interface{ Unavailable() bool }
	switch {
	case errors.As(err, &reply): // refused, late or stopping: said by ourselves
		return reply
	case errors.As(err, &store) && store.Unavailable(): // the connection or the server is gone
		return errStoreAway
	case errors.Is(err, context.DeadlineExceeded): // a bound of the store's own, shorter than the request's
		return errStoreLate
	default:
		return errInternal
	}
}

// panicked makes an error of what a panic was called with.
func panicked(p any) error { return fmt.Errorf("panic: %v\n%s", p, debug.Stack()) }
