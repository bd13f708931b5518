package clickhouse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// Config says where the engine keeps its data and where the front listens.
type Config struct {
	// Library is the path of libchdb.so; empty: findLibrary looks for it.
	Library string
	// Path is the directory of the data, which exists.
	Path string
	// Addr is the address of the native protocol, HTTPAddr that of HTTP.
	Addr, HTTPAddr string
	// Connections bounds how many queries run at once; the others wait.
	Connections int
	// TLS secures the native protocol, if it is not nil.
	TLS *tls.Config
	// Access says who may connect by the native protocol; nil: anybody, who may do everything.
	// By HTTP anybody may do everything in any case.
	Access *Access
	// Logger tells of clients that break the protocol.
	Logger *slog.Logger
}

// Server is the ClickHouse engine with its two listeners.
type Server struct {
	config Config
	engine *engine
	hello  proto.ServerHello
	native net.Listener
	web    net.Listener
	http   *http.Server
	// accounts are those who may connect now.
	accounts atomic.Pointer[map[string]Account]
	profiles sync.Map // see SetProfile: a []setting by the account's name

	ctx    context.Context // ends with Close, and every query and connection with it
	cancel context.CancelFunc
	group  sync.WaitGroup
}

// Start starts the engine and listens. A process has one Server at a time.
func Start(ctx context.Context, config Config) (*Server, error) {
	if config.Library == "" {
		path, err := findLibrary(os.Getenv)
		if err != nil {
			return nil, err
		}
		config.Library = path
	}
	s := &Server{config: config}
	if config.Access != nil {
		s.SetAccounts(config.Access.Accounts)
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if s.engine, err = openEngine(config.Library, config.Path, config.Access, config.Connections); err != nil {
		return nil, err
	}
	if err := s.listen(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context) error {
	s.hello = proto.ServerHello{Name: "ClickHouse", DisplayName: "sandbox", Revision: revision}
	err := s.engine.killer.query(ctx, "SELECT version(), timezone()", "TSVRaw", nil, func(about []byte) error {
		version, timezone, _ := strings.Cut(strings.TrimSpace(string(about)), "\t")
		s.hello.Timezone = timezone
		_, err := fmt.Sscanf(version, "%d.%d.%d", &s.hello.Major, &s.hello.Minor, &s.hello.Patch)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	var listener net.ListenConfig
	if s.native, err = listener.Listen(ctx, "tcp", s.config.Addr); err != nil {
		return fmt.Errorf("listen for ClickHouse clients: %w", err)
	}
	if s.config.TLS != nil {
		s.native = tls.NewListener(s.native, s.config.TLS)
	}
	if s.web, err = listener.Listen(ctx, "tcp", s.config.HTTPAddr); err != nil {
		return fmt.Errorf("listen for ClickHouse's HTTP: %w", err)
	}
	s.http = &http.Server{Handler: s, BaseContext: func(net.Listener) context.Context { return s.ctx }, ReadHeaderTimeout: headerTimeout}
	s.group.Go(s.accept)
	s.group.Go(func() { _ = s.http.Serve(s.web) }) // ends with Close
	return nil
}

const headerTimeout = 10 * time.Second

// Addr is the address of the native protocol.
func (s *Server) Addr() string { return s.native.Addr().String() }

// HTTPURL is the URL of the HTTP interface.
func (s *Server) HTTPURL() string { return "http://" + s.web.Addr().String() }

func (s *Server) accept() {
	for {
		conn, err := s.native.Accept()
		if err != nil {
			return // closed
		}
		s.group.Go(func() {
			defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
			session := &session{server: s, net: conn, in: proto.NewReader(conn), compressor: compress.NewWriter(compress.LevelZero, compress.LZ4)}
			if err := session.serve(s.ctx); s.ctx.Err() == nil && !gone(err) {
				s.config.Logger.Warn("ClickHouse client dropped", "client", conn.RemoteAddr().String(), "error", err)
			}
			_ = conn.Close()
		})
	}
}

// Close stops the queries, the listeners and the engine.
func (s *Server) Close() error {
	s.cancel()
	var errs []error
	if s.native != nil {
		errs = append(errs, s.native.Close())
	}
	if s.http != nil {
		errs = append(errs, s.http.Close())
	}
	s.group.Wait()
	s.engine.close(s.config.Connections)
	return errors.Join(errs...)
}

// gone tells whether the client went away, which is its right.
func gone(err error) bool {
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.Canceled, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
