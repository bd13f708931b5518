package readmodel

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// Error is a failure to read or write the read model.
type Error struct {
	Err error
	// Away says that ClickHouse could not be reached or would not take the query now:
	// the same may go through later, and nothing is wrong with it.
	Away bool
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Unavailable reports whether ClickHouse was away, as package query asks.
func (e *Error) Unavailable() bool { return e.Away }

// awayCodes are the server's codes for "not now", with what each means.
var awayCodes = map[int32]string{
	3:    "UNEXPECTED_END_OF_FILE: the connection broke",
	60:   "UNKNOWN_TABLE: projector migrate has not run yet",
	81:   "UNKNOWN_DATABASE: projector migrate has not run yet",
	159:  "TIMEOUT_EXCEEDED: too slow now",
	160:  "TOO_SLOW: too slow now",
	202:  "TOO_MANY_SIMULTANEOUS_QUERIES: overloaded",
	203:  "NO_FREE_CONNECTION: overloaded",
	209:  "SOCKET_TIMEOUT: the network",
	210:  "NETWORK_ERROR: the network",
	225:  "NO_ZOOKEEPER: the keeper is away",
	236:  "ABORTED: the server is stopping",
	241:  "MEMORY_LIMIT_EXCEEDED: overloaded",
	242:  "TABLE_IS_READ_ONLY: the replica has lost its keeper",
	252:  "TOO_MANY_PARTS: merges are behind",
	285:  "TOO_FEW_LIVE_REPLICAS: not enough replicas",
	319:  "UNKNOWN_STATUS_OF_INSERT: not enough replicas have answered",
	394:  "QUERY_WAS_CANCELLED: the server is stopping",
	999:  "KEEPER_EXCEPTION: the keeper is away",
	1002: "UNKNOWN_EXCEPTION: something outside ClickHouse",
}

// classify says of an error whether ClickHouse is away. The caller's own
// cancellation and deadline are passed on as they are.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), err)
	}
	var exception *clickhouse.Exception
	if errors.As(err, &exception) {
		_, away := awayCodes[exception.Code]
		return &Error{Err: err, Away: away}
	}
	var network net.Error
	away := errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, clickhouse.ErrAcquireConnTimeout) || errors.Is(err, clickhouse.ErrConnectionClosed)
	return &Error{Err: err, Away: away}
}
