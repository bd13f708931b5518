package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/convoview/convoview/internal/erasure"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

// part is a number of others, from 0 to 1.
func part[N int | int64](n, of N) float64 { return float64(n) / float64(max(of, 1)) }

// tellRebuild tells how far a rebuild is.
func tellRebuild(s *lifecycle.Screen, log *slog.Logger) func(rebuild.Progress) {
	return func(p rebuild.Progress) {
		left := p.Left().Round(time.Second)
		if s.Terminal() {
			text := fmt.Sprintf("generation %d: %d of %d events, ", p.Generation, p.Done, p.Total)
			switch {
			case len(p.Waiting) > 0:
				text += fmt.Sprintf("waiting for projectors of %d partitions", len(p.Waiting))
			case left > 0:
				text += fmt.Sprintf("%.0f/s, %v left", p.Rate, left)
			default: // nobody knows
				text += fmt.Sprintf("%.0f/s", p.Rate)
			}
			s.Show(part(p.Done, p.Total), text)
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
func tellComparison(s *lifecycle.Screen, log *slog.Logger) func(readmodel.Compared) {
	table, told := "", time.Now()
	return func(at readmodel.Compared) {
		if s.Terminal() {
			text := fmt.Sprintf("%s: %d of %d ranges, %d tables left", at.Table, at.Ranges, at.Of, at.TablesLeft)
			if at.Differences > 0 {
				text += fmt.Sprintf(", %d seen to differ", at.Differences)
			}
			s.Show(part(at.Ranges, at.Of), text)
			return
		}
		if at.Table != table || time.Since(told) > compareTold {
			table, told = at.Table, time.Now()
			log.Info("comparing", "table", at.Table, "rows", at.Rows, "ranges", at.Ranges, "of", at.Of, "tables_left", at.TablesLeft, "differences_seen", at.Differences)
		}
	}
}

// tellReading tells how many of all offsets are read.
func tellReading(s *lifecycle.Screen, log *slog.Logger) func(done, total int64) {
	return func(done, total int64) {
		if s.Terminal() {
			s.Show(part(done, total), fmt.Sprintf("reading the topics: %d of %d events", done, total))
			return
		}
		log.Info("reading the topics", "done", done, "of", total)
	}
}

// tellScan tells how far the reading of dead letters is.
func tellScan(s *lifecycle.Screen, log *slog.Logger) func(ingest.Scanned) {
	return func(at ingest.Scanned) {
		if s.Terminal() {
			s.Show(part(at.Done, at.Total), fmt.Sprintf("reading dead letters: %d of %d offsets, %d match", at.Done, at.Total, at.Matching))
			return
		}
		log.Info("reading dead letters", "done", at.Done, "of", at.Total, "letters", at.Letters, "matching", at.Matching)
	}
}

// sweepTold is how often at most a sweep is logged.
const sweepTold = 5 * time.Second

// tellSweep tells how far a sweep is.
func tellSweep(s *lifecycle.Screen, log *slog.Logger) func(erasure.Progress) {
	told := time.Now()
	return func(at erasure.Progress) {
		if s.Terminal() {
			text := fmt.Sprintf("generation %d: %s, %d parts to write anew, %d tables left", at.Generation, at.Table, at.PartsToDo, at.TablesLeft)
			if at.OldParts > 0 {
				text = fmt.Sprintf("generation %d: waiting until ClickHouse has removed %d old parts", at.Generation, at.OldParts)
			}
			s.Show(-1, text)
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
