package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// exitInterrupted is the status of a process that a second signal ended.
const exitInterrupted = 130

// Main calls run with a context that the first SIGINT or SIGTERM cancels, and
// ends the process: with 0 when run returns nil, flag.ErrHelp or ErrChecked, else
// with 1 and the error on standard error. A second signal ends it at once.
func Main(run func(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx := withSignals(context.Background(), signals, os.Exit)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	os.Exit(status(err, os.Stderr, filepath.Base(os.Args[0])))
}

func status(err error, stderr io.Writer, command string) int {
	if err == nil || errors.Is(err, flag.ErrHelp) || errors.Is(err, ErrChecked) {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", command, err)
	return 1
}

// withSignals gives a context that the first signal cancels, with a cause that
// names it; the second one calls exit.
func withSignals(ctx context.Context, signals <-chan os.Signal, exit func(int)) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		cancel(fmt.Errorf("signal %v", <-signals))
		<-signals
		exit(exitInterrupted)
	}()
	return ctx
}
