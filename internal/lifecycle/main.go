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
// with 1, or the error's own status, and the error on standard error. A second signal ends
// it at once. It sees to --version itself.
func Main(run RunFunc) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	ctx := withSignals(context.Background(), signals, os.Exit)
	command := filepath.Base(os.Args[0])
	if len(os.Args) == 2 && (os.Args[1] == "--version" || os.Args[1] == "-version") {
		_, _ = fmt.Fprintf(os.Stdout, "%s %s, revision %s, %s\n", command, build().version, build().revision, build().goVersion)
		return
	}
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	os.Exit(status(err, os.Stderr, command))
}

// statusError is an error with which the process ends in a way of its own.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// WithStatus has Main end the process with a status of its own for an error; nil stays nil.
func WithStatus(err error, status int) error {
	if err == nil {
		return nil
	}
	return &statusError{err, status}
}

func status(err error, stderr io.Writer, command string) int {
	if err == nil || errors.Is(err, flag.ErrHelp) || errors.Is(err, ErrChecked) {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", command, err)
	if own := (*statusError)(nil); errors.As(err, &own) {
		return own.status
	}
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
