package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
)

func deadShow(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultDeadConfig()
	flags := lifecycle.NewFlags("projector dead show PARTITION/OFFSET", "Shows one dead letter, named by what dead list begins its line with, or by its partition and offset alone: its headers with the whole reason, what the decoder says of it now with the limits given here, its key and its value. What is not text is shown as a hex dump.", getenv, stdout)
	flags.Bool(&config.raw, "raw", "Write the value's bytes as they are, and nothing else.")
	config.register(flags)
	registerLimits(flags, &config.limits)
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	var id int
	var offset int64
	err := flags.Configure(args, func() (err error) {
		id, offset, err = readPlace(name, config.ingest.DeadTopic)
		return errors.Join(err, config.validate())
	})
	if err != nil {
		return err
	}
	letters, err := ingest.NewLetters(config.ingest, lifecycle.NewLogger(config.log, os.Stderr))
	if err != nil {
		return err
	}
	defer letters.Close()
	l, err := letters.Get(ctx, id, offset)
	if err != nil {
		return err
	}
	if config.raw {
		_, err = stdout.Write(l.Value)
		return err
	}
	_, err = io.WriteString(stdout, shownLetter(l, events.NewDecoder(config.limits)))
	return err
}

// readPlace reads the name of a dead letter, with its topic or without.
func readPlace(name, topic string) (id int, offset int64, err error) {
	partition, number, _ := strings.Cut(strings.TrimPrefix(name, topic+"/"), "/")
	i, err := strconv.ParseInt(partition, 10, 32)
	if err == nil {
		offset, err = strconv.ParseInt(number, 10, 64)
	}
	if err != nil || i < 0 || offset < 0 {
		return 0, 0, fmt.Errorf("dead letter %q: expected its partition and offset, such as 0/17 (projector dead list)", name)
	}
	return int(i), offset, nil
}

// shownLetter is a dead letter for people.
func shownLetter(l *ingest.Letter, decoder ingest.Decoder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, written %s\nheaders:\n", l.Place, written(l.Written))
	for _, h := range l.Headers {
		value := string(h.Value)
		if !isText(h.Value) || strings.ContainsAny(value, "\n\r\t") {
			value = strconv.QuoteToASCII(value)
		}
		fmt.Fprintf(&b, "  %s: %s\n", line(h.Key), value)
	}
	event, err := decoder.Decode(events.Record{Value: l.Value, Headers: l.Own(), Timestamp: time.Now()})
	if err == nil {
		fmt.Fprintf(&b, "now: accepted, a %s of app %s with the ID %q\n", event.Body.Kind(), event.App, event.ID)
	} else {
		fmt.Fprintf(&b, "now: not accepted, %v\n", err)
	}
	fmt.Fprintf(&b, "key, %d bytes:\n%svalue, %d bytes:\n%s", len(l.Key), content(l.Key), len(l.Value), content(l.Value))
	return b.String()
}

// content is text as it is, and anything else as a hex dump.
func content(b []byte) string {
	switch {
	case len(b) == 0:
		return ""
	case !isText(b):
		return hex.Dump(b)
	default:
		return strings.TrimSuffix(string(b), "\n") + "\n"
	}
}

// isText reports whether a terminal shows the bytes as what they are.
func isText(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
		b = b[n:]
	}
	return true
}
