package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/convoview/convoview/internal/ingest"
)

// recovered are those whose chat goes on while projectors come and go.
var recovered = shape{app: "recovered", people: 2000, conversations: 50}

// recovering measures for how long partitions stand still when one of two projectors is
// killed, and when it is asked to stop.
func recovering(ctx context.Context, b *bench, f *figures) error {
	w, err := newWorld(recovered, b.chat)
	if err != nil {
		return err
	}
	stood := map[syscall.Signal][]float64{}
	err = b.during(ctx, w, func() error {
		after := func(signal syscall.Signal) func(int) (string, error) {
			return func(int) (string, error) {
				took, err := b.takeOver(ctx, signal)
				stood[signal] = append(stood[signal], took.Seconds())
				return fmt.Sprintf("%v after %v", took.Round(time.Millisecond), signal), err
			}
		}
		return b.turns(ctx, "recovery", after(syscall.SIGKILL), after(syscall.SIGTERM))
	})
	if err != nil {
		return err
	}
	config := ingest.DefaultConfig()
	if err := f.compare("killed", middle(stood[syscall.SIGKILL]), (config.SessionTimeout + 2*time.Second).Seconds()); err != nil {
		return err
	}
	return f.compare("stopped", middle(stood[syscall.SIGTERM]), (config.HeartbeatInterval + time.Second).Seconds())
}

// takeOver starts a second projector, sends it a signal when both are at work, and gives
// how long it then takes until all partitions have moved on.
func (b *bench) takeOver(ctx context.Context, signal syscall.Signal) (time.Duration, error) {
	offsets, err := b.offsets(ingest.DefaultConfig().GroupID)
	if err != nil {
		return 0, err
	}
	defer offsets.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	second := b.projector(ctx, "run", "--admin-addr", "127.0.0.1:0", "--clickhouse-nice", "10")
	if err := second.Start(); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = second.Wait() // it ends by the signal
	}()
	defer func() { cancel(); <-ended }()
	err = b.eventually(ctx, "two projectors share the partitions", seldom, func() (bool, error) {
		g, err := offsets.Group(ctx)
		return g.Settled && len(g.Members) == 2, err
	})
	if err == nil {
		err = b.movedOn(ctx, offsets)
	}
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := second.Process.Signal(signal); err != nil {
		return 0, err
	}
	err = b.movedOn(ctx, offsets)
	return time.Since(begin), err
}

// movedOn waits until the group has committed something of every partition that is written
// from now on.
func (b *bench) movedOn(ctx context.Context, offsets *ingest.Offsets) error {
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return err
	}
	return b.eventually(ctx, "all partitions move on", often, func() (bool, error) {
		committed, err := offsets.Committed(ctx)
		for p, end := range ends {
			if committed[p] <= end {
				return false, err
			}
		}
		return true, err
	})
}
