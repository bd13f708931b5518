package query

import (
	"bytes"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/micro"
)

// stats are the true counts of an endpoint at one subject. micro's own end when the handler has
// queued the request.
type stats struct {
	dropped atomic.Int64

	mu        sync.Mutex
	requests  int
	errors    int
	lastError string
	took      time.Duration
}

// statsData is what micro's STATS shows of an endpoint under "data", named and in units as micro's own.
type statsData struct {
	NumRequests           int           `json:"num_requests"`
	NumErrors             int           `json:"num_errors"`
	LastError             string        `json:"last_error"`
	ProcessingTime        time.Duration `json:"processing_time"`
	AverageProcessingTime time.Duration `json:"average_processing_time"`
	NumDropped            int64         `json:"num_dropped"`
	// Feed says why nothing is answered from memory; "" when it is.
	Feed string `json:"feed"`
	// Generation is the generation of the read model that is read; 0: not known yet.
	Generation int `json:"generation"`
}

// count counts a reply, which has said an error unless that is nil.
func (s *stats) count(took time.Duration, said *replyError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.took += took
	if said != nil {
		s.errors++
		s.lastError = said.Error()
	}
}

func (s *stats) data() statsData {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := statsData{
		NumRequests: s.requests, NumErrors: s.errors, LastError: s.lastError,
		ProcessingTime: s.took, NumDropped: s.dropped.Load(),
	}
	if s.requests > 0 {
		d.AverageProcessingTime = s.took / time.Duration(s.requests)
	}
	return d
}

// stats is micro's StatsHandler.
func (w *Worker) stats(of *micro.Endpoint) any {
	for _, e := range w.endpoints {
		if e.subject == of.Subject {
			d := e.stats.data()
			c := w.cache()
			d.Feed, d.Generation = c.fault(), c.generation
			return d
		}
	}
	return nil
}

func (e *replyError) code() string { return strconv.Itoa(e.Code) }

// body is the JSON body of an error reply.
func (e *replyError) body() []byte {
	var b bytes.Buffer
	if err := encode(&b, e); err != nil {
		panic(err) // a number and a text
	}
	return b.Bytes()
}
