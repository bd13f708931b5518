package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
)

// deadLetter is a dead letter in JSON.
type deadLetter struct {
	ID        ingest.Place  `json:"id"` // in the dead-letter topic
	Written   time.Time     `json:"written"`
	Topic     string        `json:"topic"` // that it came from
	Partition int           `json:"partition"`
	Offset    int64         `json:"offset"`
	Code      events.Code   `json:"code"`
	Reason    string        `json:"reason"`
	Bytes     int           `json:"bytes"`
	Redriven  *ingest.Place `json:"redriven,omitempty"` // the dead letter that was sent again and has become this one
}

func newDeadLetter(l *ingest.Letter) deadLetter {
	d := deadLetter{l.Place, l.Written.UTC(), l.From.Topic, l.From.ID, l.From.Offset, l.Code, l.Reason, len(l.Value), nil}
	if l.Redriven.Topic != "" {
		d.Redriven = &l.Redriven
	}
	return d
}

// deadListed is the last line of the JSON.
type deadListed struct {
	Letters  int                 `json:"letters"` // read
	Matching int                 `json:"matching"`
	Codes    map[events.Code]int `json:"codes"`
	Lost     int64               `json:"lost"` // offsets that could not be read
}

func deadList(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultDeadConfig()
	flags := lifecycle.NewFlags("projector dead list", "Lists the dead letters that there are now, partition by partition: where each is in the dead-letter topic (what dead show takes), when it was written, where its record came from, the code, the size of its value, and the reason. Then how many there are of each code.", getenv, stdout)
	config.registerFilter(flags)
	config.register(flags)
	if err := flags.Configure(args, config.validate); err != nil {
		return err
	}
	s, err := newScanning(config)
	if err != nil {
		return err
	}
	defer s.close()
	out := bufio.NewWriter(stdout)
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	codes := map[events.Code]int{}
	at, err := s.Scan(ctx, config.filter(), func(letters []ingest.Letter) error {
		if len(letters) > 0 {
			s.screen.Clear()
		}
		for i := range letters {
			l := &letters[i]
			codes[l.Code]++
			var err error
			if config.json {
				err = lines.Encode(newDeadLetter(l))
			} else {
				_, err = fmt.Fprintf(out, "%-16v  %s  %-20s  %-17s  %7d B  %s\n", l.Place, written(l.Written), from(l), codeOf(l.Code), len(l.Value), reasonOf(l))
			}
			if err != nil {
				return err
			}
		}
		return out.Flush()
	}, s.progress)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	s.screen.Clear()
	if config.json {
		err = lines.Encode(deadListed{at.Letters, at.Matching, codes, at.Lost})
	} else {
		_, err = fmt.Fprintln(out, listed(config.ingest.DeadTopic, at, codes))
	}
	return cmp.Or(err, out.Flush(), errDeadLost(at))
}

// listed sums up what was listed.
func listed(topic string, at ingest.Scanned, codes map[events.Code]int) string {
	if at.Matching == 0 {
		return noneMatch(topic, at.Letters)
	}
	var counts []string
	for _, code := range slices.SortedFunc(maps.Keys(codes), func(a, b events.Code) int {
		return cmp.Or(cmp.Compare(codes[b], codes[a]), cmp.Compare(a, b))
	}) {
		counts = append(counts, fmt.Sprintf("%d %s", codes[code], codeOf(code)))
	}
	return fmt.Sprintf("%d of %d dead letters: %s", at.Matching, at.Letters, strings.Join(counts, ", "))
}

// noneMatch says that no dead letter does.
func noneMatch(topic string, read int) string {
	return fmt.Sprintf("no dead letter matches: %d were read from %s", read, topic)
}

// from is where a letter's record came from, and "?" if nothing says so.
func from(l *ingest.Letter) string {
	if l.From.Topic == "" {
		return "?"
	}
	return line(l.From.String())
}

func codeOf(code events.Code) string { return cmp.Or(line(string(code)), "?") }

// reasonOf is the reason, and that it was sent again before.
func reasonOf(l *ingest.Letter) string {
	if l.Redriven.Topic == "" {
		return line(l.Reason)
	}
	return line(l.Reason) + " (" + line(l.Redriven.String()) + ", sent again)"
}
