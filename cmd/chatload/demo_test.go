package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// built builds all commands, as make build does, and gives their directory.
func built(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../projector", "../query", "../sandbox", ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// processes are the command lines of all processes whose program is in dir.
func processes(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		// A process may end while we look.
		if line, err := os.ReadFile(entry); err == nil && bytes.HasPrefix(line, []byte(dir)) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// TestDemo runs the very processes that make demo runs.
func TestDemo(t *testing.T) {
	dir := built(t)
	t.Run("ends by itself and leaves nothing", func(t *testing.T) { endsByItself(t, dir) })
	t.Run("an interrupt stops everything", func(t *testing.T) { interrupted(t, dir) })
}

func endsByItself(t *testing.T, dir string) {
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "chatload"), "demo", "--duration", "1ms", "--rate", "50", "--events", "2000")
	demo.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	demo.Dir = "../.." // where the engine is looked for
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"2,000 events", "CONVERSATION", "The profile of the first one", "To go on"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in what it shows:\n%s", want, out)
		}
	}
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("still running: %s", left)
	}
}

func interrupted(t *testing.T, dir string) {
	demo := exec.CommandContext(t.Context(), filepath.Join(dir, "chatload"), "demo", "--duration", "10m")
	demo.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	demo.Dir = "../.."
	var out bytes.Buffer
	demo.Stdout, demo.Stderr = &out, &out
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	for len(processes(t, dir)) < 4 { // chatload, sandbox, projector, query
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
	if err := demo.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := demo.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	if left := processes(t, dir); len(left) > 0 {
		t.Errorf("still running: %s", left)
	}
}
