package readmodel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/convoview/convoview/internal/lifecycle/tlstest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// links lead to the sandbox's ClickHouse, by TLS if there is a certificate, until they are ended.
type links struct {
	net.Listener
	mu   sync.Mutex
	ends []net.Conn // ours; those of the client are in dialled
	tls  *tls.Config

	dialled []*net.TCPConn
}

func newLinks(t *testing.T) *links {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return &links{Listener: listener}
}

// serve leads what comes to ClickHouse.
func (l *links) serve(address string) {
	for {
		from, err := l.Accept()
		if err != nil {
			return // closed
		}
		to, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.ends = append(l.ends, from)
		l.mu.Unlock()
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
	}
}

// Validate implements Dialer.
func (*links) Validate() error { return nil }

// Dial implements Dialer.
func (l *links) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.dialled = append(l.dialled, conn.(*net.TCPConn))
	l.mu.Unlock()
	if l.tls == nil {
		return conn, nil
	}
	secured := tls.Client(conn, l.tls)
	return secured, secured.HandshakeContext(ctx)
}

// end ends the links that there are, as a server does that is started again, and returns when
// the client could know.
func (l *links) end(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range l.ends {
		_ = end.Close()
	}
	for _, conn := range l.dialled {
		raw, err := conn.SyscallConn()
		if err == nil {
			err = raw.Read(func(fd uintptr) bool {
				_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
				return !errors.Is(err, syscall.EAGAIN)
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l.ends, l.dialled = nil, nil
}

// TestServer_KeepsNoEndedConnections has a server end connections that nobody uses: what is
// asked next is asked over others, and nobody gets an error.
func TestServer_KeepsNoEndedConnections(t *testing.T) {
	const connections = 3
	table := sandboxtest.Database(t) + ".nothing"
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "CREATE TABLE "+table+" (a UInt8) ENGINE = Null"); err != nil {
		t.Fatal(err)
	}
	ca := tlstest.NewCA(t)
	for name, secured := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			links := newLinks(t)
			config := DefaultConfig()
			config.Addresses = []string{links.Addr().String()}
			config.Dialer = links
			if secured {
				links.tls = &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
				links.Listener = tls.NewListener(links.Listener, &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, "localhost")}, MinVersion: tls.VersionTLS12})
			}
			go links.serve(sandboxtest.Start(t).ClickHouseAddr())
			server, err := Open(config)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Close() }()
			ask := func() { // all at one time
				t.Helper()
				var batches []driver.Batch
				for range connections {
					batch, err := server.conn.PrepareBatch(t.Context(), "INSERT INTO "+table)
					if err != nil {
						t.Fatal(err)
					}
					batches = append(batches, batch)
				}
				for _, batch := range batches {
					if err := batch.Send(); err != nil {
						t.Fatal(err)
					}
				}
			}
			ask()
			ask() // over the same connections
			if n := len(links.dialled); n != connections {
				t.Fatalf("there are %d connections, want %d that are used again", n, connections)
			}
			links.end(t)
			ask()
		})
	}
}
