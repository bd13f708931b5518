package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
)

// Config says where the engine keeps its data and where the front listens.
type Config struct {
	// Library is the path of libchdb.so; empty: FindLibrary looks for it.
	Library string
	// Path is the directory of the data, which exists.
	Path string
	// Addr is the address of the native protocol, HTTPAddr that of HTTP.
	Addr, HTTPAddr string
	// Connections bounds how many queries run at once; the others wait.
	Connections int
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

	ctx    context.Context // ends with Close, and every query with it
	cancel context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
}

// Start starts the engine and listens. A process has one Server at a time.
func Start(config Config) (*Server, error) {
	if config.Library == "" {
		path, err := FindLibrary(os.Getenv)
		if err != nil {
			return nil, err
		}
		config.Library = path
	}
	s := &Server{config: config, conns: map[net.Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	if s.engine, err = openEngine(config.Library, config.Path, config.Connections); err != nil {
		return nil, err
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) listen() error {
	s.hello = proto.ServerHello{Name: "ClickHouse", DisplayName: "sandbox", Revision: revision}
	err := s.engine.killer.query(s.ctx, "SELECT version(), timezone()", "TSVRaw", nil, func(about []byte) error {
		version, timezone, _ := strings.Cut(strings.TrimSpace(string(about)), "\t")
		s.hello.Timezone = timezone
		_, err := fmt.Sscanf(version, "%d.%d.%d", &s.hello.Major, &s.hello.Minor, &s.hello.Patch)
		return err
	})
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	if s.native, err = net.Listen("tcp", s.config.Addr); err != nil {
		return fmt.Errorf("listen for ClickHouse clients: %w", err)
	}
	if s.web, err = net.Listen("tcp", s.config.HTTPAddr); err != nil {
		return fmt.Errorf("listen for ClickHouse's HTTP: %w", err)
	}
	s.http = &http.Server{Handler: s, BaseContext: func(net.Listener) context.Context { return s.ctx }, ReadHeaderTimeout: headerTimeout}
	s.group.Go(s.accept)
	s.group.Go(func() { _ = s.http.Serve(s.web) }) // ends with Close
	return nil
}

const (
	headerTimeout = 10 * time.Second
	stopTimeout   = 10 * time.Second
)

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
		if !s.track(conn) {
			return
		}
		s.group.Go(func() {
			defer s.forget(conn)
			session := &session{server: s, net: conn, in: proto.NewReader(conn), compressor: compress.NewWriter(compress.LevelZero, compress.LZ4)}
			if err := session.serve(s.ctx); err != nil && s.ctx.Err() == nil && !gone(err) {
				s.config.Logger.Warn("ClickHouse client dropped", "client", conn.RemoteAddr().String(), "error", err)
			}
		})
	}
}

// track remembers a connection, so that Close can end it.
func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	_ = conn.Close()
}

// Close stops the queries, the listeners and the engine.
func (s *Server) Close() error {
	s.mu.Lock()
	s.cancel()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	var errs []error
	if s.native != nil {
		errs = append(errs, s.native.Close())
	}
	if s.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, s.http.Shutdown(ctx))
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
