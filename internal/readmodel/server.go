package readmodel

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Server is the ClickHouse server that has the read model: its generations, and the
// registry of them. It is safe for concurrent use.
type Server struct {
	conn     driver.Conn
	database string // the registry's
	form     form
	// slots bounds the queries at one time to the connections. The client's own
	// pool gives up a wait after the dial timeout; here the caller's context says how long.
	slots chan struct{}
}

// maxCompressionBuffer is how much of an insert is compressed and sent at a time.
const maxCompressionBuffer = 1 << 20

// Open makes a server. It does not connect before it is used.
func Open(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	conn, err := clickhouse.Open(&clickhouse.Options{
		Addr:         c.Addresses,
		Auth:         clickhouse.Auth{Database: "default"},
		DialContext:  c.dial,
		DialStrategy: c.identify,
		DialTimeout:  c.dialAll(),
		ReadTimeout:  c.ReadTimeout,
		MaxOpenConns: c.MaxConnections + 1, // one more for Check, which waits for no slot
		MaxIdleConns: c.MaxConnections,
		Compression:  &clickhouse.Compression{Method: compression(c.Addresses)},
		// What each connection keeps for ever once it was needed; by default 10 MB.
		MaxCompressionBuffer: maxCompressionBuffer,
		Settings:             c.settings(),
	})
	if err != nil {
		return nil, fmt.Errorf("open clickhouse: %w", err)
	}
	return &Server{conn: conn, database: c.Database, form: form{c.Cluster}, slots: make(chan struct{}, c.MaxConnections)}, nil
}

// compression is what blocks are compressed by: where nothing goes over a network it
// would cost more than it saves, as clickhouse-client has it, too.
func compression(addresses []string) clickhouse.CompressionMethod {
	for _, address := range addresses {
		host, _, _ := net.SplitHostPort(address)
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return clickhouse.CompressionLZ4
		}
	}
	return clickhouse.CompressionNone
}

// Generation gives the store of a generation, whether it is there or not.
func (s *Server) Generation(number int) *Store {
	return &Store{Server: s, number: number, db: fmt.Sprintf("%s_g%d", s.database, number)}
}

// slot waits for leave to use a connection. The caller gives it back by release.
func (s *Server) slot(ctx context.Context) (release func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for one of %d connections: %w", cap(s.slots), ctx.Err())
	}
}

// Close closes the connections.
func (s *Server) Close() error { return s.conn.Close() }

// run runs statements of the schema.
func (s *Server) run(ctx context.Context, list []string) error {
	for _, statement := range list {
		if err := s.conn.Exec(ctx, statement); err != nil {
			name, _, _ := strings.Cut(statement, "\n")
			return fmt.Errorf("%s: %w", name, classify(ctx, err))
		}
	}
	return nil
}
