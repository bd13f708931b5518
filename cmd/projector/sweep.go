package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/convoview/convoview/internal/erasure"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
)

// sweptAll is the last line of the JSON.
type sweptAll struct {
	ErasedUsers uint64 `json:"erasedUsers"`
	Deleted     uint64 `json:"deleted"`
	Blanked     uint64 `json:"blanked"`
	DryRun      bool   `json:"dryRun"`
}

func sweep(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	store, logging := readmodel.DefaultConfig(), lifecycle.DefaultLogConfig()
	dryRun, asJSON := false, false
	flags := lifecycle.NewFlags("projector sweep", "Takes what was an erased user's out of all tables of every generation, also of one whose drop was broken off, and waits until it is off ClickHouse's disks. projector run does so daily.", getenv, stdout)
	flags.Bool(&dryRun, "dry-run", "Change nothing, and say what is left.")
	flags.Bool(&asJSON, "json", "Write the result as JSON: a line for each table, and one in the end.")
	registerStore(flags, &store)
	logging.Register(flags)
	if err := flags.Configure(args, func() error { return errors.Join(store.Validate(), logging.Validate()) }); err != nil {
		return err
	}
	screen := lifecycle.NewScreen(os.Stderr)
	defer screen.Clear()
	log := lifecycle.NewLogger(logging, screen)
	server, err := readmodel.Open(store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()

	sweeper := erasure.New(erasure.Config{}, server, log, lifecycle.NewRegistry())
	begin := time.Now()
	var found []erasure.Swept
	if dryRun {
		found, err = sweeper.Left(ctx)
	} else {
		found, err = sweeper.Sweep(ctx, tellSweep(screen, log))
	}
	if err != nil {
		return err
	}
	all := sweptAll{DryRun: dryRun}
	if all.ErasedUsers, err = server.ErasedUsers(ctx); err != nil {
		return err
	}
	for _, s := range found {
		all.Deleted += s.Deleted
		all.Blanked += s.Blanked
	}
	screen.Clear()
	if asJSON {
		lines := json.NewEncoder(stdout)
		for _, s := range found {
			if err := lines.Encode(s); err != nil {
				return err
			}
		}
		return lines.Encode(all)
	}
	return all.tell(stdout, found, time.Since(begin))
}

// tell writes the same for people.
func (a *sweptAll) tell(stdout io.Writer, found []erasure.Swept, took time.Duration) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	if a.DryRun {
		_, _ = fmt.Fprintln(w, "generation\ttable\trows to delete\trows to blank")
	} else {
		_, _ = fmt.Fprintln(w, "generation\ttable\trows deleted\trows blanked")
	}
	for _, s := range found {
		_, _ = fmt.Fprintf(w, "%d\t%s\t%d\t%d\n", s.Generation, s.Table, s.Deleted, s.Blanked)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var err error
	switch rows := a.Deleted + a.Blanked; {
	case !a.DryRun:
		_, err = fmt.Fprintf(stdout, "swept; what was found of %d erased users is gone; it took %v\n", a.ErasedUsers, took.Round(time.Millisecond))
	case rows > 0:
		_, err = fmt.Fprintf(stdout, "%d rows have something of %d erased users\n", rows, a.ErasedUsers)
	default:
		_, err = fmt.Fprintf(stdout, "no row has anything of %d erased users\n", a.ErasedUsers)
	}
	return err
}
