package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestSignals(t *testing.T) {
	signals, exits := make(chan os.Signal), make(chan int)
	ctx := withSignals(t.Context(), signals, func(code int) { exits <- code })
	signals <- syscall.SIGTERM
	<-ctx.Done()
	if got := context.Cause(ctx).Error(); got != "signal terminated" {
		t.Errorf("cause %q", got)
	}
	signals <- os.Interrupt
	if code := <-exits; code != exitInterrupted {
		t.Errorf("exit status %d, want %d", code, exitInterrupted)
	}
}

func TestStatus(t *testing.T) {
	var out strings.Builder
	for _, success := range []error{nil, errors.Join(nil, flag.ErrHelp), fmt.Errorf("run: %w", ErrChecked)} {
		if status(success, &out, "x") != 0 || out.Len() > 0 {
			t.Errorf("%v is success: %q", success, out.String())
		}
	}
	if status(errors.New("no broker"), &out, "projector") != 1 || out.String() != "projector: no broker\n" {
		t.Errorf("failure: %q", out.String())
	}
	if got := status(fmt.Errorf("verify: %w", WithStatus(errors.New("no broker"), 2)), io.Discard, "projector"); got != 2 {
		t.Errorf("a failure with the status 2 ends with %d", got)
	}
	if err := WithStatus(nil, 2); err != nil {
		t.Errorf("success became %v", err)
	}
}
