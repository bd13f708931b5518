package main

import (
	"math/rand/v2"
	"time"

	"github.com/segmentio/kafka-go"

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

var (
	jsonHeaders     = []kafka.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeJSON)}}
	protobufHeaders = []kafka.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeProtobuf)}}
)

// encoder decides how a value is encoded. With mixed, every value is drawn anew.
type encoder struct {
	encoding string
	rng      *rand.Rand
	decoder  *events.Decoder
	asItIs   int // values that should have become Protobuf and could not
}

func newEncoder(encoding string, seed uint64) *encoder {
	return &encoder{
		encoding: encoding,
		rng:      rand.New(rand.NewPCG(seed, 0x656e63)),
		decoder:  events.NewDecoder(events.DefaultLimits()),
	}
}

func (e *encoder) protobuf() bool {
	return e.encoding == encodingProtobuf || e.encoding == encodingMixed && e.rng.IntN(2) == 0
}

// event encodes an event.
func (e *encoder) event(event events.Event) (value []byte, headers []kafka.Header, err error) {
	if e.protobuf() {
		value, err = events.AppendProtobuf(make([]byte, 0, 512), event)
		return value, protobufHeaders, err
	}
	value, err = events.AppendJSON(make([]byte, 0, 768), event)
	return value, jsonHeaders, err
}

// farFuture is later than any event: importing does not judge times.
var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// value encodes an event that is there as JSON. One that does not decode stays
// as it is.
func (e *encoder) value(json []byte) ([]byte, []kafka.Header) {
	if !e.protobuf() {
		return json, jsonHeaders
	}
	event, err := e.decoder.Decode(events.Record{Value: json, Headers: eventHeaders, Timestamp: farFuture})
	if err == nil {
		var value []byte
		if value, err = events.AppendProtobuf(make([]byte, 0, len(json)), event); err == nil {
			return value, protobufHeaders
		}
	}
	e.asItIs++
	return json, jsonHeaders
}

var eventHeaders = []events.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeJSON)}}
