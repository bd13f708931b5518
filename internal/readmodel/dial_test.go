package readmodel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestConfig_AServerThatTakesNothing holds that nothing is sent for ever to a server
// that has stopped reading.
func TestConfig_AServerThatTakesNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := Config{DialTimeout: time.Minute, WriteTimeout: 50 * time.Millisecond}.dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for part := make([]byte, 1<<20); err == nil; { // until the buffers between are full
		_, err = conn.Write(part)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// TestConfig_AServerThatBreaksOff has one be there and go away before it has said who it is, as
// one that is being stopped does.
func TestConfig_AServerThatBreaksOff(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte("\x00\x0aClick")) // of ClickHouse
			_ = conn.Close()
		}
	}()
	config := DefaultConfig()
	config.Addresses = []string{listener.Addr().String()}
	server, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	failed := (*Error)(nil)
	if err := server.Check(t.Context()); !errors.As(err, &failed) || !failed.Away {
		t.Errorf("got %v, want that ClickHouse is away", err)
	}
}

// breakingLinks are connections that take nothing more, on demand.
type breakingLinks struct {
	broken atomic.Bool
	read   func(bytes int64) // told how many there were so far
	closed chan struct{}     // is closed with the first one
	once   sync.Once
}

func (l *breakingLinks) Validate() error { return nil }

func (l *breakingLinks) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &breakingConn{Conn: conn, links: l}, err
}

type breakingConn struct {
	net.Conn
	links *breakingLinks
	bytes int64
}

func (c *breakingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes += int64(n)
	c.links.read(c.bytes)
	return n, err
}

func (c *breakingConn) Write(b []byte) (int, error) {
	if c.links.broken.Load() {
		return 0, &net.OpError{Op: "write", Err: syscall.ECONNRESET}
	}
	return c.Conn.Write(b)
}

func (c *breakingConn) Close() error {
	err := c.Conn.Close()
	c.links.once.Do(func() { close(c.links.closed) })
	return errors.Join(err, errors.New("no farewell")) // as TLS has it of a link that is broken
}

// TestConfig_ACancelledReadOfABrokenLink has the caller go away while the answer comes faster
// than it is looked at, over a link that takes nothing more: the client, which cannot take the
// query back and says so nowhere, must have ended its reader before it ends.
func TestConfig_ACancelledReadOfABrokenLink(t *testing.T) {
	const block = 100_000
	ahead := make(chan struct{})
	arrived := sync.OnceFunc(func() { close(ahead) })
	links := &breakingLinks{closed: make(chan struct{}), read: func(bytes int64) {
		if bytes >= 4*block { // one is looked at, two wait, and there is no room for another one
			arrived()
		}
	}}
	config := DefaultConfig()
	config.Addresses = []string{sandboxtest.Start(t).ClickHouseAddr()}
	config.Dialer = links
	server, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	other := sandboxtest.ClickHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	query := fmt.Sprintf("SELECT repeat('x', %d) FROM numbers(100) SETTINGS max_block_size = 1", block)
	looked := false
	err = server.each(ctx, query, func(func(...any) error) error {
		if looked {
			return nil
		}
		looked = true
		<-ahead
		links.broken.Store(true)
		cancel()
		<-links.closed
		return other.Ping(context.WithoutCancel(ctx)) // meanwhile the client does what it does then
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestCompression(t *testing.T) {
	for address, want := range map[string]clickhouse.CompressionMethod{
		"127.0.0.1:9000": clickhouse.CompressionNone, "localhost:9000": clickhouse.CompressionNone, "[::1]:9000": clickhouse.CompressionNone,
		"10.0.0.1:9000": clickhouse.CompressionLZ4, "clickhouse:9000": clickhouse.CompressionLZ4, "[2001:db8::1]:9000": clickhouse.CompressionLZ4,
	} {
		if got := compression([]string{address}); got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}
