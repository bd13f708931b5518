package main

import (
	"encoding/json"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// record is what is written to Kafka, or to a file.
type record struct {
	topic    string
	key      []byte // nil: none
	value    []byte
	protobuf bool // is the value's encoding; else it is JSON
}

var (
	jsonHeaders     = []kafka.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeJSON)}}
	protobufHeaders = []kafka.Header{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeProtobuf)}}
)

// headers name the value's encoding.
func (r record) headers() []kafka.Header {
	if r.protobuf {
		return protobufHeaders
	}
	return jsonHeaders
}

var decoder = events.NewDecoder(events.DefaultLimits())

// event decodes the value. Importing does not judge times.
func (r record) event() (events.Event, error) {
	var headers []events.Header
	for _, h := range r.headers() {
		headers = append(headers, events.Header{Key: h.Key, Value: h.Value})
	}
	return decoder.Decode(events.Record{Value: r.value, Headers: headers, Timestamp: events.EndOfTime})
}

// id is the event's, or "" if it has none. In JSON it need not be a valid one.
func (r record) id() string {
	if r.protobuf {
		e, err := r.event()
		if err != nil {
			return ""
		}
		return e.ID
	}
	var event struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(r.value, &event); err != nil {
		return ""
	}
	return event.ID
}
