package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/convoview/convoview/internal/erasure"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

// screen is standard error. On a terminal a bar is its last line while something is
// shown, and what is logged goes above it.
type screen struct {
	to    io.Writer
	width func() int // of the terminal; nil: it is none
	bar   *progressbar.ProgressBar

	mu   sync.Mutex
	last string // what the last line shows; "": no bar
}

// barSteps are the steps that a bar is divided into. It never shows all: a full one
// would be over, while what is shown may still grow.
const barSteps = 1000

// clearLine takes the last line away.
const clearLine = "\r\x1b[K"

func newScreen(to *os.File) *screen {
	fd := int(to.Fd()) // files have small numbers
	if !term.IsTerminal(fd) {
		return &screen{to: to}
	}
	return newTerminal(to, func() int {
		if width, _, err := term.GetSize(fd); err == nil && width > 0 {
			return width
		}
		return 80 // it does not say
	})
}

func newTerminal(to io.Writer, width func() int) *screen {
	return &screen{to: to, width: width, bar: progressbar.NewOptions(barSteps,
		progressbar.OptionSetWriter(io.Discard), // it is only asked what it looks like
		progressbar.OptionSetWidth(10),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(),
	)}
}

// terminal reports whether a bar can be shown.
func (s *screen) terminal() bool { return s.width != nil }

// Write writes lines above the bar.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == "" {
		return s.to.Write(lines)
	}
	if _, err := io.WriteString(s.to, clearLine+string(lines)+s.last); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// show shows how much is done, from 0 to 1. Nobody calls it twice at a time.
func (s *screen) show(done float64, text string) {
	_ = s.bar.Set(min(int(done*barSteps), barSteps-1))
	s.bar.Describe(text)
	line := []rune(strings.Trim(s.bar.String(), "\r "))
	if most := max(s.width()-1, 0); len(line) > most {
		line = line[:most]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = string(line)
	_, _ = io.WriteString(s.to, clearLine+s.last)
}

// clear takes the bar away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != "" {
		_, _ = io.WriteString(s.to, clearLine)
		s.last = ""
	}
}

// part is a number of others, from 0 to 1.
func part[N int | int64](n, of N) float64 { return float64(n) / float64(max(of, 1)) }

// tellRebuild tells how far a rebuild is.
func tellRebuild(s *screen, log *slog.Logger) func(rebuild.Progress) {
	return func(p rebuild.Progress) {
		left := p.Left().Round(time.Second)
		if s.terminal() {
			text := fmt.Sprintf("generation %d: %d of %d events, ", p.Generation, p.Done, p.Total)
			switch {
			case len(p.Waiting) > 0:
				text += fmt.Sprintf("waiting for projectors of %d partitions", len(p.Waiting))
			case left > 0:
				text += fmt.Sprintf("%.0f/s, %v left", p.Rate, left)
			default: // nobody knows
				text += fmt.Sprintf("%.0f/s", p.Rate)
			}
			s.show(part(p.Done, p.Total), text)
			return
		}
		line := log.With("generation", p.Generation, "done", p.Done, "of", p.Total, "per_second", int(p.Rate))
		if p.Rate > 0 { // else nobody knows
			line = line.With("left", left.String())
		}
		if len(p.Waiting) > 0 {
			line = line.With("waiting_for_projectors_of", len(p.Waiting), "first", p.Waiting[0].String())
		}
		line.Info("rebuilding")
	}
}

// compareTold is how often at most a comparison is logged of one table.
const compareTold = time.Second

// tellComparison tells how far a comparison is.
func tellComparison(s *screen, log *slog.Logger) func(readmodel.Compared) {
	table, told := "", time.Now()
	return func(at readmodel.Compared) {
		if s.terminal() {
			text := fmt.Sprintf("%s: %d of %d ranges, %d tables left", at.Table, at.Ranges, at.Of, at.TablesLeft)
			if at.Differences > 0 {
				text += fmt.Sprintf(", %d seen to differ", at.Differences)
			}
			s.show(part(at.Ranges, at.Of), text)
			return
		}
		if at.Table != table || time.Since(told) > compareTold {
			table, told = at.Table, time.Now()
			log.Info("comparing", "table", at.Table, "rows", at.Rows, "ranges", at.Ranges, "of", at.Of, "tables_left", at.TablesLeft, "differences_seen", at.Differences)
		}
	}
}

// tellReading tells how many of all offsets are read.
func tellReading(s *screen, log *slog.Logger) func(done, total int64) {
	return func(done, total int64) {
		if s.terminal() {
			s.show(part(done, total), fmt.Sprintf("reading the topics: %d of %d events", done, total))
			return
		}
		log.Info("reading the topics", "done", done, "of", total)
	}
}

// tellScan tells how far the reading of dead letters is.
func tellScan(s *screen, log *slog.Logger) func(ingest.Scanned) {
	return func(at ingest.Scanned) {
		if s.terminal() {
			s.show(part(at.Done, at.Total), fmt.Sprintf("reading dead letters: %d of %d offsets, %d match", at.Done, at.Total, at.Matching))
			return
		}
		log.Info("reading dead letters", "done", at.Done, "of", at.Total, "letters", at.Letters, "matching", at.Matching)
	}
}

// sweepTold is how often at most a sweep is logged.
const sweepTold = 5 * time.Second

// tellSweep tells how far a sweep is.
func tellSweep(s *screen, log *slog.Logger) func(erasure.Progress) {
	told := time.Now()
	return func(at erasure.Progress) {
		if s.terminal() {
			text := fmt.Sprintf("generation %d: %s, %d parts to write anew, %d tables left", at.Generation, at.Table, at.PartsToDo, at.TablesLeft)
			if at.OldParts > 0 {
				text = fmt.Sprintf("generation %d: waiting until ClickHouse has removed %d old parts", at.Generation, at.OldParts)
			}
			s.show(0, text)
			return
		}
		if time.Since(told) < sweepTold {
			return
		}
		told = time.Now()
		if at.OldParts > 0 {
			log.Info("waiting until ClickHouse has removed old parts", "generation", at.Generation, "old_parts", at.OldParts)
		} else {
			log.Info("sweeping", "generation", at.Generation, "table", at.Table, "parts_to_do", at.PartsToDo, "tables_left", at.TablesLeft)
		}
	}
}
