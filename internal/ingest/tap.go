package ingest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
)

// tap is the connection under a kafka.Conn. It reads responses whole, and of a fetch
// response lets pass only what [response] makes of it.
//
// Every request and response begins with its size, SASL's included, and a
// kafka.Conn that is used by one goroutine has one request under way: that is
// all it relies on. It sees plaintext: TLS belongs under it.
type tap struct {
	net.Conn
	// response is what the last fetch response said.
	response response

	waiting bool // for the response to the fetch with this correlation ID
	id      int32
	version int16

	size   [4]byte
	frame  *[]byte // of frames, while some of it is of use
	unread []byte
}

// frames are the buffers of responses. A partition that waits holds none.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// frameStep is how far a buffer grows on the word of a size alone.
const frameStep = 1 << 20

// fetchKey is what the protocol calls a fetch.
const fetchKey = 1

// Write takes note of fetches. kafka-go flushes requests one by one, and
// fetches fit into its buffer. One that did not would go unnoticed, hence
// [response.seen].
func (t *tap) Write(p []byte) (int, error) {
	if len(p) >= 12 && int(binary.BigEndian.Uint32(p)) == len(p)-4 && binary.BigEndian.Uint16(p[4:]) == fetchKey {
		t.waiting = true
		t.version = int16(binary.BigEndian.Uint16(p[6:]))
		t.id = int32(binary.BigEndian.Uint32(p[8:]))
	}
	return t.Conn.Write(p)
}

// Read gives the bytes of responses.
func (t *tap) Read(p []byte) (int, error) {
	if len(t.unread) == 0 {
		if err := t.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.unread)
	t.unread = t.unread[n:]
	if len(t.unread) == 0 && len(t.response.batches) == 0 {
		t.release()
	}
	return n, nil
}

// release gives up the memory of the last response, and so what it kept.
func (t *tap) release() {
	if t.frame != nil {
		clear(t.response.batches)
		t.response.batches = t.response.batches[:0]
		frames.Put(t.frame)
		t.frame, t.unread = nil, nil
	}
}

// next reads a response. After an error the connection is of no more use, and
// kafka-go closes it.
func (t *tap) next() error {
	if _, err := io.ReadFull(t.Conn, t.size[:]); err != nil {
		return err
	}
	size := int(int32(binary.BigEndian.Uint32(t.size[:])))
	if size < 0 {
		return errors.New("response of a negative size")
	}
	buffer := frames.Get().(*[]byte)
	frame := append((*buffer)[:0], t.size[:]...)
	for end := len(t.size) + size; len(frame) < end; {
		have := len(frame)
		step := min(end-have, max(cap(frame)-have, frameStep))
		frame = slices.Grow(frame, step)[:have+step]
		if _, err := io.ReadFull(t.Conn, frame[have:]); err != nil {
			return err
		}
	}
	*buffer = frame
	if t.waiting && size >= 4 && int32(binary.BigEndian.Uint32(frame[4:])) == t.id {
		t.waiting = false
		var err error
		if frame, err = t.response.filter(frame, t.version); err != nil {
			return err
		}
	}
	t.frame, t.unread = buffer, frame
	return nil
}
