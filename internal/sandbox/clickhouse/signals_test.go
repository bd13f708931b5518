package clickhouse_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// signalCase tells a child process what to do once the engine runs.
const signalCase = "SANDBOX_TEST_SIGNAL"

// child runs this test alone in a process of its own and returns its output.
func child(t *testing.T, name string) (output string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), signalCase+"="+name, "TMPDIR="+t.TempDir()) // they leave their data behind
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSignals_NilDereferenceIsAPanic(t *testing.T) {
	sandboxtest.ClickHouse(t)
	defer func() {
		err, _ := recover().(error)
		if err == nil || !strings.Contains(err.Error(), "nil pointer dereference") {
			t.Errorf("recovered %v", err)
		}
	}()
	var p *int
	t.Error(*p)
}

func TestSignals_UnrecoveredPanicEndsWithATrace(t *testing.T) {
	if os.Getenv(signalCase) != "" {
		_ = sandboxtest.ClickHouse(t).Exec(t.Context(), "SELECT 1")
		done := make(chan struct{})
		go func() {
			defer close(done)
			var p *int
			*p = 1
		}()
		<-done
	}
	out, err := child(t, "panic")
	code := (*exec.ExitError)(nil)
	if !errors.As(err, &code) || code.ExitCode() != 2 || !strings.Contains(out, "panic: runtime error: invalid memory address") || !strings.Contains(out, "signals_test.go") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestSignals_TerminateAsInAnyProgram(t *testing.T) {
	if os.Getenv(signalCase) != "" {
		_ = sandboxtest.ClickHouse(t).Exec(t.Context(), "SELECT 1")
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		select {}
	}
	_, err := child(t, "term")
	code := (*exec.ExitError)(nil)
	if !errors.As(err, &code) || code.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want an end by SIGTERM", err)
	}
}

func TestSignals_NotifyWorks(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTSTP} {
		arrived := make(chan os.Signal, 1)
		signal.Notify(arrived, sig)
		// Among the threads of the engine are some that take the signal.
		for range 20 {
			if err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(os.Getpid(), sig); err != nil {
				t.Fatal(err)
			}
			if got := <-arrived; got != sig {
				t.Errorf("got %v, want %v", got, sig)
			}
		}
		signal.Stop(arrived)
	}
}
