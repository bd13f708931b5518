package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

// sampled is the last line of the JSON.
type sampled struct {
	Generation    int    `json:"generation"`
	Conversations int    `json:"conversations"`
	Replies       int    `json:"replies"`
	Seed          uint64 `json:"seed"`
	Differences   int    `json:"differences"`
	Whole         bool   `json:"whole"` // there are no more
}

// errDiffersFromTopics says that a generation does, which was told.
var errDiffersFromTopics = errors.New("the generation differs from the topics")

// sample holds conversations of a generation against the topics.
func sample(ctx context.Context, config verifyConfig, server *readmodel.Server, number int, stdout io.Writer) error {
	screen := lifecycle.NewScreen(os.Stderr)
	defer screen.Clear()
	log := lifecycle.NewLogger(config.log, screen)
	r, err := server.Registry(ctx)
	if err != nil {
		return err
	}
	if g, ok := r.Find(number); !ok || g.State != readmodel.Filled {
		return fmt.Errorf("generation %d: expected one that is filled (projector generations list)", number)
	}
	seed := uint64(config.seed) // validated
	if seed == 0 {
		seed = uint64(rand.Int64()) // not negative
	}
	s := rebuild.Sample{
		Generation: server.Generation(number), Ingest: config.ingest, Decoder: events.NewDecoder(config.limits),
		Size: config.sample, Seed: seed, Now: time.Now(), MaxDifferences: config.most,
		Interval: time.Second, Progress: tellReading(screen, log), Log: log,
	}
	found, err := s.Run(ctx)
	if err != nil {
		return fmt.Errorf("hold generation %d against the topics: %w", number, err)
	}
	screen.Clear()
	last := sampled{number, found.Conversations, found.Replies, seed, len(found.Differences), found.Whole}
	if config.json {
		err = tellSampleJSON(stdout, found, last)
	} else {
		err = tellSample(stdout, found, last)
	}
	if err == nil && len(found.Differences) > 0 {
		return errDiffersFromTopics
	}
	return err
}

func tellSampleJSON(stdout io.Writer, found *rebuild.Sampled, last sampled) error {
	lines := json.NewEncoder(stdout)
	lines.SetEscapeHTML(false)
	for _, d := range found.Differences {
		if err := lines.Encode(d); err != nil {
			return err
		}
	}
	return lines.Encode(last)
}

func tellSample(stdout io.Writer, found *rebuild.Sampled, last sampled) error {
	var b strings.Builder
	for _, d := range found.Differences {
		tellShown(&b, "", &d)
	}
	more := ""
	if !found.Whole {
		more = ", and in more (--max-differences)"
	}
	if n := len(found.Differences); n > 0 {
		fmt.Fprintf(&b, "generation %d differs from the topics in %d of %d replies%s", last.Generation, n, found.Replies, more)
	} else {
		fmt.Fprintf(&b, "generation %d is as the topics have it: %d replies", last.Generation, found.Replies)
	}
	fmt.Fprintf(&b, " on %d conversations (--seed %d)\n", found.Conversations, last.Seed)
	_, err := io.WriteString(stdout, b.String())
	return err
}
