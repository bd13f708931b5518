package readmodel

import (
	"context"
	"net"
	"time"
)

// dialer connects to ClickHouse. The client bounds how long it waits for an answer, but
// not how long a server takes nothing of what is sent.
type dialer struct {
	net.Dialer
	writeTimeout time.Duration
}

func (d *dialer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err //nolint:wrapcheck // the client says what it was
	}
	return &boundedConn{conn, d.writeTimeout}, nil
}

// boundedConn is a connection whose writes end.
type boundedConn struct {
	net.Conn
	timeout time.Duration
}

// Write implements net.Conn.
func (c *boundedConn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err //nolint:wrapcheck // as it was
	}
	return c.Conn.Write(b) //nolint:wrapcheck // as it was
}
