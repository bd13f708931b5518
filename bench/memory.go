package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/convoview/convoview/internal/pause"
)

// away is for how long a projector cannot reach ClickHouse.
const away = time.Minute

// remembering measures the most resident memory of a projector that reads a backlog, while
// ClickHouse is out of its reach for a while.
func remembering(ctx context.Context, b *bench, f *figures) error {
	s, err := b.stream(ctx, "backlog", inProtobuf, b.config.backlog)
	if err != nil {
		return err
	}
	return b.alone(ctx, func() error {
		var resident []float64
		err := b.turns(ctx, "memory", func(int) (string, error) {
			most, err := b.remember(ctx, s)
			resident = append(resident, most)
			return fmt.Sprintf("%.0f MiB", most), err
		})
		if err != nil {
			return err
		}
		return f.compare("resident", slices.Max(resident), 256)
	})
}

// remember gives the most resident memory of one projector, in MiB.
func (b *bench) remember(ctx context.Context, s *stream) (most float64, err error) {
	m, err := b.newModel(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.drop(ctx)) }()
	r := &relay{to: b.stack.Ports.ClickHouseAddr()}
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	defer r.close()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := b.stack.Command(ctx, filepath.Join(b.config.commands, "projector"), "run", "--admin-addr", "127.0.0.1:0",
		"--kafka-group", m.name, "--kafka-topics", s.messages+","+s.state, "--clickhouse-database", m.name, "--clickhouse-addresses", r.addr)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}()
	if _, err := b.consumed(ctx, m.name, 1, s.topics()...); err != nil {
		return 0, err
	}
	r.close()
	if err := pause.For(ctx, away); err != nil {
		return 0, err
	}
	if err := r.open(ctx); err != nil {
		return 0, err
	}
	if _, err := b.exhausted(ctx, m.name, s.topics()...); err != nil {
		return 0, err
	}
	return peakMemory(cmd.Process.Pid)
}

// peakMemory is the most memory that a process has had, in MiB.
func peakMemory(pid int) (float64, error) {
	kib, err := strconv.Atoi(strings.TrimSuffix(procField(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"), " kB"))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return float64(kib) / 1024, nil
}

// relay is a way to a server, which can be closed and opened again.
type relay struct {
	to   string
	addr string // where it listens, once it was open

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
}

// open opens the way, where it was before.
func (r *relay) open(ctx context.Context) error {
	addr := r.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("open the way to %s: %w", r.to, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener, r.addr = listener, listener.Addr().String()
	go r.serve(ctx, listener)
	return nil
}

func (r *relay) serve(ctx context.Context, listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return // closed
		}
		to, err := new(net.Dialer).DialContext(ctx, "tcp", r.to)
		if err != nil {
			_ = from.Close()
			continue
		}
		if !r.keep(listener, from, to) {
			return
		}
		for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
			go func() {
				_, _ = io.Copy(ends[0], ends[1])
				_ = from.Close()
				_ = to.Close()
			}()
		}
	}
}

// keep has connections closed with the way, or at once if it is closed.
func (r *relay) keep(listener net.Listener, conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == listener {
		r.conns = append(r.conns, conns...)
		return true
	}
	for _, c := range conns {
		_ = c.Close()
	}
	return false
}

// close closes the way and all connections over it.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != nil {
		_ = r.listener.Close()
	}
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.listener, r.conns = nil, nil
}
