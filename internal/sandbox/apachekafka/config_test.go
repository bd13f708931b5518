package apachekafka_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/sandbox/apachekafka"
)

func TestConfig_Validate(t *testing.T) {
	if err := (apachekafka.Config{Jars: "j", Dir: "d"}).Validate(); err != nil {
		t.Error(err)
	}
	wrong := apachekafka.Config{Brokers: 3, Port: 65534, HeapMB: -1}
	err := wrong.Validate()
	for _, want := range []string{"directory of the jars", "directory of the data", "port 65534 of 3 brokers", "heap of -1 MB"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	if _, err := apachekafka.Start(t.Context(), wrong); err == nil {
		t.Error("it started with a wrong configuration")
	}
}

func TestStart_TakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	t.Setenv("JAVA_HOME", fakeJava(t))
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = apachekafka.Start(t.Context(), apachekafka.Config{Jars: t.TempDir(), Dir: t.TempDir(), Port: port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

// A Java that fails says what it said.
func TestStart_JavaFails(t *testing.T) {
	t.Setenv("JAVA_HOME", fakeJava(t))
	_, err := apachekafka.Start(t.Context(), apachekafka.Config{Jars: t.TempDir(), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
	t.Setenv("JAVA_HOME", t.TempDir())
	_, err = apachekafka.Start(t.Context(), apachekafka.Config{Jars: t.TempDir(), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "Java runtime") {
		t.Errorf("without Java: %v", err)
	}
}

// fakeJava is a Java home whose java complains.
func fakeJava(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte("#!/bin/sh\necho no such luck >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return home
}

func TestFindJars(t *testing.T) {
	dir := t.TempDir()
	jars := filepath.Join(dir, "tools", "kafka", "jars")
	if err := os.MkdirAll(jars, 0o755); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	none := func(string) string { return "" }
	if got, err := apachekafka.FindJars(none); !errors.Is(err, apachekafka.ErrJarsMissing) {
		t.Errorf("incomplete: got %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(jars, ".complete"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := apachekafka.FindJars(none); err != nil || got != jars {
		t.Errorf("got %q, %v, want %s", got, err, jars)
	}
	if got, err := apachekafka.FindJars(func(string) string { return dir }); err != nil || got != dir {
		t.Errorf("set: got %q, %v, want %s", got, err, dir)
	}
	if _, err := apachekafka.FindJars(func(string) string { return filepath.Join(dir, "not") }); !errors.Is(err, apachekafka.ErrJarsMissing) {
		t.Errorf("set to nothing: %v", err)
	}
}
