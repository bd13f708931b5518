package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"

	"github.com/convoview/convoview/internal/events"
)

// maxLine bounds a line: a broker takes no more either.
const maxLine = 16 << 20

// openLines opens a file of lines, plain or compressed with gzip; "-" is stdin.
func openLines(name string, stdin io.Reader) (io.Reader, func() error, error) {
	source, closing := stdin, func() error { return nil }
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, nil, err
		}
		source, closing = f, f.Close
	}
	r := bufio.NewReaderSize(source, 256<<10)
	// What a file is decides, not what it is called.
	if magic, _ := r.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return r, closing, nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read %s: %w", name, err), closing())
	}
	return bufio.NewReaderSize(z, 256<<10), closing, nil
}

// line is one line of a file: where an event goes, and its bytes.
type line struct {
	Topic string          `json:"topic"`
	Key   *string         `json:"key"`
	Event json.RawMessage `json:"event"`
	// Protobuf is there instead of Event.
	Protobuf []byte `json:"protobuf"`
}

// readLines yields up to limit events (0: all). The error of a malformed line
// names its number and is the last thing that is yielded.
func readLines(r io.Reader, limit int) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(make([]byte, 0, 64<<10), maxLine)
		topics := map[string]string{} // one copy of each name
		number, given := 0, 0
		for (limit == 0 || given < limit) && scanner.Scan() {
			number++
			if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
				continue
			}
			rec, err := parseLine(scanner.Bytes(), topics)
			if err != nil {
				yield(record{}, fmt.Errorf("line %d: %w", number, err))
				return
			}
			given++
			if !yield(rec, nil) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			yield(record{}, fmt.Errorf("line %d: %w", number+1, err))
		}
	}
}

const expectedLine = `expected {"topic": …, "key": …, "event": …}, or "protobuf" for "event"`

func parseLine(b []byte, topics map[string]string) (record, error) {
	var l line
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields() // a misspelt key would be none
	if err := d.Decode(&l); err != nil {
		return record{}, fmt.Errorf("%w: %s", err, expectedLine)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return record{}, fmt.Errorf("something follows the object: %s", expectedLine)
	}
	if l.Topic == "" || (l.Event == nil) == (l.Protobuf == nil) {
		return record{}, errors.New(expectedLine)
	}
	topic, ok := topics[l.Topic]
	if !ok {
		topic = l.Topic
		topics[topic] = topic
	}
	rec := record{topic: topic, value: l.Event}
	if l.Protobuf != nil {
		rec.value, rec.protobuf = l.Protobuf, true
	}
	if l.Key != nil {
		rec.key = []byte(*l.Key)
	}
	return rec, nil
}

// appendLine writes a record as a line that parseLine reads.
func appendLine(dst []byte, r record) []byte {
	dst = append(dst, `{"topic":`...)
	dst = appendText(dst, r.topic)
	if r.key != nil {
		dst = append(dst, `,"key":`...)
		dst = appendText(dst, string(r.key))
	}
	if r.protobuf {
		dst = append(dst, `,"protobuf":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, r.value)
		return append(dst, "\"}\n"...)
	}
	dst = append(dst, `,"event":`...)
	dst = append(dst, r.value...)
	return append(dst, "}\n"...)
}

func appendText(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(dst, quoted...)
}

// repeat gives a share of the records twice: drawn from the seed, each of them
// at once after itself.
func repeat(records iter.Seq2[record, error], share float64, seed uint64) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		rng := rand.New(rand.NewPCG(seed, 0x647570))
		for r, err := range records {
			if !yield(r, err) {
				return
			}
			if err == nil && rng.Float64() < share && !yield(r, nil) {
				return
			}
		}
	}
}

// shuffle reads all records and gives them in an order drawn from the seed.
func shuffle(records iter.Seq2[record, error], seed uint64) ([]record, error) {
	var list []record
	for r, err := range records {
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	rng := rand.New(rand.NewPCG(seed, 0x736866))
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list, nil
}

// uniqueKey is a record's key with the event's ID at its end: nothing under it is ever
// compacted away.
func uniqueKey(r record) []byte {
	id := r.id()
	if r.key == nil || id == "" {
		return r.key
	}
	return events.KeyWithID(r.key, id)
}

// isState reports whether a topic is compacted by its usual name.
func isState(topic string) bool { return topic == events.TopicState }
