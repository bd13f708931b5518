package rebuild

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
)

// ReadIDs reads the IDs of events, one a line, of which there may be so many. A line may
// end in a carriage return; empty ones are none.
func ReadIDs(r io.Reader, most int) (map[string]struct{}, error) {
	ids := map[string]struct{}{}
	lines := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		id := string(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")))
		if len(id) > events.MaxIDBytes {
			return nil, fmt.Errorf("line %d: %.20q… is no ID of an event: expected at most %d bytes", number, id, events.MaxIDBytes)
		}
		if id != "" {
			ids[id] = struct{}{}
		}
		if len(ids) > most {
			return nil, fmt.Errorf("line %d: expected at most %d IDs (--max-without-ids)", number, most)
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("expected the IDs of events, one a line")
	}
	return ids, nil
}

// leavingOut is a decoder that leaves events out, and counts them.
type leavingOut struct {
	ingest.Decoder
	ids   map[string]struct{}
	count *atomic.Int64
}

// Decode implements ingest.Decoder.
func (l leavingOut) Decode(record events.Record) (events.Event, error) {
	e, err := l.Decoder.Decode(record)
	if err != nil {
		return events.Event{}, err
	}
	if _, is := l.ids[e.ID]; is {
		l.count.Add(1)
		return events.Event{}, ingest.ErrLeftOut
	}
	return e, nil
}

// counting is a decoder that counts what is no valid event.
type counting struct {
	ingest.Decoder
	count *atomic.Int64
}

// Decode implements ingest.Decoder.
func (c counting) Decode(record events.Record) (events.Event, error) {
	e, err := c.Decoder.Decode(record)
	if bad := (*events.Error)(nil); errors.As(err, &bad) {
		c.count.Add(1)
	}
	return e, err
}
