package client

import (
	"errors"
	"strconv"
)

// The errors by their codes, for errors.Is. A request that nobody answers is
// ErrUnavailable or ErrTimeout as well, without being an *Error. One with a text that is no
// UTF-8 is not sent: it is ErrBadRequest, without being an *Error either. When the context
// of a call is done first, the error is the context's.
var (
	// ErrBadRequest is 400: the request is malformed or over a limit.
	ErrBadRequest = errors.New("bad request")
	// ErrNotFound is 404: the user does not know the conversation.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge is 413: one conversation alone is larger than a reply may be.
	ErrTooLarge = errors.New("too large")
	// ErrOverloaded is 429: more requests are waiting than the worker takes.
	ErrOverloaded = errors.New("overloaded")
	// ErrInternal is 500: a fault of convoview's, which its log has.
	ErrInternal = errors.New("internal error")
	// ErrUnavailable is 503: the worker is stopping, or its store is away; or no
	// worker is there, or the connection was lost.
	ErrUnavailable = errors.New("unavailable")
	// ErrTimeout is 504: not answered in time, or After not reached; or no reply came.
	ErrTimeout = errors.New("timeout")
)

// ErrForbidden is a NATS server that does not let the connection's account ask, or hear the
// reply; see docs/SECURITY.md. The server says so only beside the request, so it takes as
// long as when there is no reply. When the context of a call is done first, the error is
// the context's, too.
var ErrForbidden = errors.New("not allowed")

// ErrUnsettled is a list of several pages that was another one whenever the next
// page was asked for, so often that Sync has given up. It may do better later.
var ErrUnsettled = errors.New("the list does not settle")

var byCode = map[int]error{
	400: ErrBadRequest,
	404: ErrNotFound,
	413: ErrTooLarge,
	429: ErrOverloaded,
	500: ErrInternal,
	503: ErrUnavailable,
	504: ErrTimeout,
}

// Error is a query worker's refusal.
type Error struct {
	// Code is one of the contract's: 400, 404, 413, 429, 500, 503, 504.
	Code int
	// Message is one line that names the field, its value and what was expected.
	Message string
	// LeftOut is, with a 413, what the page would have said besides.
	LeftOut
	// Body is the reply as it came.
	Body []byte
}

// LeftOut is a conversation that is too large for a reply, and what a page of a list
// says that begins with it. Of a profile it is the ConversationID alone.
type LeftOut struct {
	// ConversationID is that of the conversation that is too large.
	ConversationID string `json:"conversationID,omitempty"`
	// NextCursor goes on behind it; "" if there are no more.
	NextCursor string `json:"nextCursor,omitempty"`
	// Removed, Reset and SyncToken are those of a List.
	Removed   []string `json:"removed,omitempty"`
	Reset     bool     `json:"reset,omitempty"`
	SyncToken string   `json:"syncToken,omitempty"`
}

// Error is the code and the message.
func (e *Error) Error() string { return strconv.Itoa(e.Code) + " " + e.Message }

// Unwrap is the error of the code, nil for one that the contract does not have.
func (e *Error) Unwrap() error { return byCode[e.Code] }

// mayPass reports whether the same request may be answered a little later.
func mayPass(err error) bool {
	return errors.Is(err, ErrOverloaded) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrTimeout)
}
