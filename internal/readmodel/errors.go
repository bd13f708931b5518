package readmodel

import (
	"context"
	"errors"
	"fmt"
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

// tooManyError says that what was asked for is too much to be read at once.
type tooManyError struct{ users, most int }

// Error implements error.
func (e *tooManyError) Error() string {
	return fmt.Sprintf("%d users have more than %d conversations: expected fewer users", e.users, e.most)
}

// TooMany says so, as package query asks.
func (e *tooManyError) TooMany() bool { return true }

// awayCodes are the server's codes for "not now".
var awayCodes = map[int32]bool{
	3:    true, // UNEXPECTED_END_OF_FILE: the connection broke
	32:   true, // ATTEMPT_TO_READ_AFTER_EOF: the connection to a shard broke
	60:   true, // UNKNOWN_TABLE: projector migrate has not run yet
	81:   true, // UNKNOWN_DATABASE: projector migrate has not run yet
	159:  true, // TIMEOUT_EXCEEDED: too slow now
	160:  true, // TOO_SLOW: too slow now
	173:  true, // CANNOT_ALLOCATE_MEMORY: overloaded
	198:  true, // DNS_ERROR: the network
	201:  true, // QUOTA_EXCEEDED: until its interval is over
	202:  true, // TOO_MANY_SIMULTANEOUS_QUERIES: overloaded
	203:  true, // NO_FREE_CONNECTION: overloaded
	209:  true, // SOCKET_TIMEOUT: the network
	210:  true, // NETWORK_ERROR: the network
	225:  true, // NO_ZOOKEEPER: the keeper is away
	236:  true, // ABORTED: the server is stopping
	241:  true, // MEMORY_LIMIT_EXCEEDED: overloaded
	242:  true, // TABLE_IS_READ_ONLY: the replica has lost its keeper
	243:  true, // NOT_ENOUGH_SPACE: until somebody makes room
	252:  true, // TOO_MANY_PARTS: merges are behind
	279:  true, // ALL_CONNECTION_TRIES_FAILED: no replica of a shard is there
	285:  true, // TOO_FEW_LIVE_REPLICAS: not enough replicas
	286:  true, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE: not enough replicas have what was written before
	289:  true, // REPLICA_IS_NOT_IN_QUORUM: the replica is behind
	319:  true, // UNKNOWN_STATUS_OF_INSERT: not enough replicas have answered
	394:  true, // QUERY_WAS_CANCELLED: the server is stopping
	439:  true, // CANNOT_SCHEDULE_TASK: overloaded
	499:  true, // S3_ERROR: the disk is an object store, and away
	516:  true, // AUTHENTICATION_FAILED: who we are is being replaced, there or here
	700:  true, // USER_SESSION_LIMIT_EXCEEDED: overloaded
	745:  true, // SERVER_OVERLOADED: it says so
	999:  true, // KEEPER_EXCEPTION: the keeper is away
	1002: true, // UNKNOWN_EXCEPTION: something outside ClickHouse
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
		return &Error{Err: err, Away: awayCodes[exception.Code]}
	}
	var network net.Error
	away := errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, clickhouse.ErrAcquireConnTimeout) || errors.Is(err, clickhouse.ErrConnectionClosed)
	return &Error{Err: err, Away: away}
}
