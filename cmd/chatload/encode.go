package main

import (
	"math/rand/v2"

	"github.com/convoview/convoview/internal/events"
)

// The ways to encode values.
const (
	encodingJSON     = "json"
	encodingProtobuf = "protobuf"
	encodingMixed    = "mixed"
)

func encodingFlag() choice {
	return choice{value: encodingJSON, of: []string{encodingJSON, encodingProtobuf, encodingMixed}}
}

// encoder decides how a value is encoded. With mixed, every value is drawn anew.
type encoder struct {
	encoding string
	rng      *rand.Rand
	asItIs   int // values that should have become Protobuf and could not
}

func newEncoder(encoding string, seed uint64) *encoder {
	return &encoder{encoding: encoding, rng: rand.New(rand.NewPCG(seed, 0x656e63))}
}

func (e *encoder) protobuf() bool {
	return e.encoding == encodingProtobuf || e.encoding == encodingMixed && e.rng.IntN(2) == 0
}

// event encodes an event.
func (e *encoder) event(event events.Event) (r record, err error) {
	r = record{topic: events.Topic(event.Body), key: []byte(events.Key(event)), protobuf: e.protobuf()}
	if r.protobuf {
		r.value, err = events.AppendProtobuf(make([]byte, 0, 512), event)
	} else {
		r.value, err = events.AppendJSON(make([]byte, 0, 768), event)
	}
	return r, err
}

// record encodes an event that is there as JSON. What is in Protobuf already,
// or does not decode, stays as it is.
func (e *encoder) record(r record) record {
	if r.protobuf || !e.protobuf() {
		return r
	}
	event, err := r.event()
	if err == nil {
		var value []byte
		if value, err = events.AppendProtobuf(make([]byte, 0, len(r.value)), event); err == nil {
			r.value, r.protobuf = value, true
			return r
		}
	}
	e.asItIs++
	return r
}
