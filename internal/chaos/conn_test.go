package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
)

// stepsOf are the steps before a request is made, and before its answer is read.
var stepsOf = map[int16][2]step{
	int16(kmsg.Produce):      {letterSent, letterDone},
	int16(kmsg.Fetch):        {fetchSent, fetchDone},
	int16(kmsg.ListOffsets):  {askSent, askDone},
	int16(kmsg.Metadata):     {askSent, askDone},
	int16(kmsg.OffsetCommit): {commitSent, commitDone},
	int16(kmsg.OffsetFetch):  {joinSent, joinDone},
	int16(kmsg.JoinGroup):    {joinSent, joinDone},
	int16(kmsg.SyncGroup):    {joinSent, joinDone},
	int16(kmsg.Heartbeat):    {heartbeatSent, heartbeatDone},
}

// conn is a process's connection to a broker.
type conn struct {
	net.Conn
	p    *process
	slow bool // something takes time on it

	mu      sync.Mutex
	commits map[int32]*kmsg.OffsetCommitRequest // under way, by correlation ID
	asked   bool                                // and not answered
	lost    bool                                // the next answer is
	late    bool                                // the process is cut off, and its last request under way
	closed  time.Time
}

// Dial connects a process to a broker.
func (p *process) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.awaitThaw()
	if p.away() {
		return nil, errors.New("no route to host")
	}
	f := p.at(dialing)
	if f != nil && f.action == refuse {
		return nil, errors.New("connection refused")
	}
	c := &conn{p: p, commits: map[int32]*kmsg.OffsetCommitRequest{}}
	under, err := p.run.network.dial(ctx, address, func(broker net.Conn) net.Conn { return &brokersEnd{broker, c} })
	if err != nil {
		return nil, err
	}
	c.Conn = under
	if f != nil {
		upstream, downstream := f.toxics()
		c.Conn, c.slow = addressed{poison(under, upstream, downstream, p.run.background.Go)}, true
	}
	if !p.keep(c) {
		_ = c.Close()
		return nil, errCut
	}
	return c, nil
}

// Validate has nothing to complain of.
func (p *process) Validate() error { return nil }

// Write sends a request, or does what its fault says.
func (c *conn) Write(b []byte) (int, error) {
	c.p.awaitThaw()
	c.mu.Lock()
	collides := c.slow && c.asked
	c.asked = true
	c.mu.Unlock()
	if c.p.away() || collides { // see the package's comment
		return c.cut()
	}
	r, whole := parse(b)
	steps, known := stepsOf[r.key]
	if !whole || !known {
		return c.Conn.Write(b)
	}
	sent := b
	switch r.key {
	case int16(kmsg.OffsetCommit):
		sent = c.committing(r, b)
	case int16(kmsg.JoinGroup):
		sent = c.joining(r, b)
	case int16(kmsg.Heartbeat):
		c.heartbeat(r)
	}
	if f := c.p.at(steps[0]); f != nil {
		switch f.action {
		case kill:
			c.p.kill()
		case late:
			c.deliver(sent, f.takes)
		default:
		}
		return c.cut()
	}
	f := c.p.at(steps[1])
	c.mu.Lock()
	c.lost = c.lost || f != nil
	c.mu.Unlock()
	_, err := c.Conn.Write(sent)
	if f != nil && f.action == kill {
		c.p.kill()
	}
	return len(b), err
}

func (c *conn) cut() (int, error) {
	_ = c.Close()
	return 0, errCut
}

// Read gives an answer, unless it is lost.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	lost := c.lost && n > 0
	c.asked = false
	c.mu.Unlock()
	if lost {
		return c.cut()
	}
	return n, err
}

func (c *conn) Close() error {
	c.p.forget(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed.IsZero() {
		c.closed = time.Now()
	}
	if c.late {
		return nil
	}
	return c.Conn.Close()
}

// closedFor reports whether it was closed so long ago.
func (c *conn) closedFor(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed.IsZero() && time.Since(c.closed) > d
}

// deliver brings the broker a request of a process that has given the connection up.
func (c *conn) deliver(b []byte, takes time.Duration) {
	c.mu.Lock()
	c.late = true
	c.mu.Unlock()
	_ = c.Conn.SetDeadline(time.Unix(1, 0)) // nobody waits for answers any more
	b = append([]byte(nil), b...)
	c.p.run.background.Go(func() {
		time.Sleep(takes)
		_ = c.Conn.SetDeadline(time.Time{})
		if _, err := c.Conn.Write(b); err == nil {
			_, _ = c.Conn.Read(make([]byte, 1<<10))
		}
		_ = c.Conn.Close()
	})
}

// SetDeadline and the like are those of a connection that is still the process's.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.unlessLate(func() error { return c.Conn.SetReadDeadline(t) })
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.unlessLate(func() error { return c.Conn.SetWriteDeadline(t) })
}

func (c *conn) unlessLate(set func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.late {
		return net.ErrClosed
	}
	return set()
}

// joining looks at a request to join, and puts a client ID of its own into it. Members are
// sorted by that, too, so that a seed spreads partitions as it did before.
func (c *conn) joining(r request, b []byte) []byte {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(r.version)
	if err := req.ReadFrom(r.body); err != nil {
		c.p.run.wrong("a request to join that cannot be read: %v", err)
		return b
	}
	if req.MemberID != "" {
		c.p.run.speaks(req.MemberID, c)
	}
	name := c.p.run.joining(c)
	joining := append([]byte(nil), b[:12]...)
	joining = kbin.AppendNullableString(joining, &name)
	joining = append(joining, r.body...)
	binary.BigEndian.PutUint32(joining, uint32(len(joining)-4))
	return joining
}

// heartbeat looks at a heartbeat.
func (c *conn) heartbeat(r request) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.SetVersion(r.version)
	if err := req.ReadFrom(r.body); err != nil {
		c.p.run.wrong("a heartbeat that cannot be read: %v", err)
		return
	}
	c.p.run.speaks(req.MemberID, c)
}

// committing looks at a commit before it is sent. A broken process sends another one.
func (c *conn) committing(r request, b []byte) []byte {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(r.version)
	if err := req.ReadFrom(r.body); err != nil {
		c.p.run.wrong("a commit that cannot be read: %v", err)
		return b
	}
	if breaks := c.p.run.broken.commit; breaks != nil {
		for _, t := range req.Topics {
			for i := range t.Partitions {
				at := &t.Partitions[i]
				at.Offset = breaks(c.p.run, events.Partition{Topic: t.Topic, ID: int(at.Partition)}, at.Offset)
			}
		}
		header := b[:len(b)-len(r.body)]
		b = req.AppendTo(append([]byte(nil), header...))
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	}
	c.mu.Lock()
	c.commits[r.id] = req
	c.mu.Unlock()
	c.p.committing(req)
	return b
}

// brokersEnd is the other end of a connection.
type brokersEnd struct {
	net.Conn
	c *conn
}

// Write takes note of the commits that the coordinator has accepted. Brokers write an
// answer at once.
func (e *brokersEnd) Write(b []byte) (int, error) {
	if len(b) >= 8 {
		e.c.mu.Lock()
		id := int32(binary.BigEndian.Uint32(b[4:])) // it is signed
		req := e.c.commits[id]
		delete(e.c.commits, id)
		e.c.mu.Unlock()
		if req != nil {
			e.answered(req, b[8:])
		}
	}
	return e.Conn.Write(b)
}

func (e *brokersEnd) answered(req *kmsg.OffsetCommitRequest, body []byte) {
	res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	if err := res.ReadFrom(body); err != nil {
		e.c.p.run.wrong("an answer to a commit that cannot be read: %v", err)
		return
	}
	refused := map[events.Partition]int16{}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			refused[events.Partition{Topic: t.Topic, ID: int(p.Partition)}] = p.ErrorCode
		}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			at := events.Partition{Topic: t.Topic, ID: int(p.Partition)}
			if code := refused[at]; code != 0 {
				e.c.p.run.note("%s: commit of %v at %d in generation %d refused: %d", e.c.p.name, at, p.Offset, req.Generation, code)
				e.c.p.run.count("a commit is refused by the coordinator")
				continue
			}
			e.c.p.run.accepted(at, req.Generation, req.MemberID, p.Offset)
		}
	}
}
