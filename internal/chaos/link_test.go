package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/twmb/franz-go/pkg/kbin"
)

var errCut = errors.New("connection reset by peer")

// network is where brokers listen.
type network struct {
	mu    sync.Mutex
	ports map[string]*port
}

// port takes connections in memory.
type port struct {
	addr   net.Addr
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *port) Addr() net.Addr { return l.addr }

func (l *port) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *port) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// listen is net.Listen of the network.
func (n *network) listen(_, _ string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ports == nil {
		n.ports = map[string]*port{}
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092 + len(n.ports)}
	l := &port{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[addr.String()] = l
	return l, nil
}

// dial connects; the broker gets what wrap makes of its end.
func (n *network) dial(ctx context.Context, address string, wrap func(net.Conn) net.Conn) (net.Conn, error) {
	n.mu.Lock()
	l := n.ports[address]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- wrap(addressed{theirs}):
		return addressed{ours}, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// addressed is a connection with addresses as those of TCP look.
type addressed struct{ net.Conn }

func (addressed) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50_000} }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 50_000} }

// poison puts a toxic of toxiproxy between the two ends of a connection. (Its proxies leave
// goroutines behind, which a bubble does not take; a toxic is the same without them.)
func poison(broker net.Conn, upstream, downstream toxics.Toxic, goes func(func())) net.Conn {
	near, far := net.Pipe()
	ends := sync.OnceFunc(func() { _, _ = near.Close(), broker.Close() })
	goes(func() { flow(near, broker, upstream, ends) })
	goes(func() { flow(broker, near, downstream, ends) })
	return far
}

// flow brings what is read from one connection through a toxic to another one.
func flow(from io.Reader, to io.Writer, toxic toxics.Toxic, ends func()) {
	defer ends()
	in, out := make(chan *stream.StreamChunk, 1<<10), make(chan *stream.StreamChunk)
	go func() {
		defer close(in)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				select { // it never waits: see the package's comment
				case in <- &stream.StreamChunk{Data: data[:n], Timestamp: time.Now()}:
				default:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	stub := toxics.NewToxicStub(in, out)
	if state, has := toxic.(toxics.StatefulToxic); has {
		stub.State = state.NewState()
	}
	go func() { toxic.Pipe(stub); stub.Close() }()
	failed := false
	for c := range out {
		if !failed {
			_, err := to.Write(c.Data)
			failed = err != nil
		}
		if failed {
			ends() // and the toxic's last words are of no interest
		}
	}
}

// request is the header of a request.
type request struct {
	key, version int16
	id           int32
	body         []byte
}

// parse reads a request that was written whole, as kafka-go writes those that are small.
func parse(p []byte) (r request, ok bool) {
	if len(p) < 14 || int(binary.BigEndian.Uint32(p)) != len(p)-4 {
		return request{}, false
	}
	b := kbin.Reader{Src: p[4:]}
	r = request{key: b.Int16(), version: b.Int16(), id: b.Int32()}
	_ = b.NullableString() // the client's ID
	r.body = b.Src
	return r, b.Ok()
}
