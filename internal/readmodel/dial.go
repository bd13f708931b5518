package readmodel

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// dial connects to ClickHouse. The client bounds how long it waits for an answer, but
// neither a handshake of TLS, nor how long a server takes nothing of what is sent.
func (c Config) dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	dial := new(net.Dialer).DialContext
	if c.Dialer != nil {
		dial = c.Dialer.Dial
	}
	conn, err := dial(ctx, "tcp", addr)
	if network := net.Error(nil); err != nil && !errors.As(err, &network) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: address(addr), Err: err} // a certificate that is not trusted, say
	}
	if err != nil {
		return nil, err
	}
	bounded, under := &boundedConn{conn, c.WriteTimeout}, conn
	if secured, ok := conn.(*tls.Conn); ok {
		under = secured.NetConn()
	}
	if socket, ok := under.(syscall.Conn); ok {
		return socketConn{bounded, socket}, nil
	}
	return bounded, nil
}

// address is one of the configuration's.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }

// identify has each connection made as who we are by then, to the first address that is there.
func (c Config) identify(ctx context.Context, id int, o *clickhouse.Options, dial clickhouse.Dial) (clickhouse.DialResult, error) {
	now := *o
	now.DialTimeout = c.DialTimeout // of each
	if c.Account != nil {
		var err error
		if now.Auth.Username, now.Auth.Password, err = c.Account.Credentials(); err != nil {
			return clickhouse.DialResult{}, err
		}
	}
	result, err := clickhouse.DefaultDialStrategy(ctx, id, &now, dial)
	exception, network := (*clickhouse.Exception)(nil), net.Error(nil)
	if err != nil && !errors.As(err, &exception) && !errors.As(err, &network) {
		// A greeting that was broken off, of which the client gives the text alone.
		err = &net.OpError{Op: "greet", Net: "tcp", Addr: address(strings.Join(c.Addresses, ",")), Err: err}
	}
	return result, err
}

// dialAll bounds connecting to all addresses together: one that takes connections and says
// nothing must leave time for the others. Each is dialled, and then has to answer.
func (c Config) dialAll() time.Duration { return time.Duration(2*len(c.Addresses)) * c.DialTimeout }

// boundedConn is a connection whose writes end.
type boundedConn struct {
	net.Conn
	timeout time.Duration
}

// Write implements net.Conn.
func (c *boundedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err != nil { // what was written in part is of no use to anybody
		_ = c.Close()
	}
	return n, err
}

// Close implements net.Conn. It never fails: a connection may be closed by then, or TLS have
// nobody to say farewell to, and the client, if it is told so, does not wait for whoever still
// reads what has come of an answer. That one would hand on rows to nobody, which is a panic.
func (c *boundedConn) Close() error {
	_ = c.Conn.Close()
	return nil
}

// socketConn shows the client its socket, at which it looks before it takes a connection out of
// its pool: those that the server has ended meanwhile are passed over.
type socketConn struct {
	*boundedConn
	syscall.Conn
}
