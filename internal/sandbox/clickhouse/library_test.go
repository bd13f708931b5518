package clickhouse

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindLibrary(t *testing.T) {
	none := func(string) string { return "" }
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(deep)
	_, err := findLibrary(none)
	if !errors.Is(err, errLibraryMissing) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "npm ci") {
		t.Errorf("got %v, want one line that names the command", err)
	}
	want := filepath.Join(root, "node_modules", "@chdb", libraryPackage(), "libchdb.so")
	if err := os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := findLibrary(none); got != want || err != nil {
		t.Errorf("upward: got %s, %v, want %s", got, err, want)
	}
	named := filepath.Join(root, "named.so")
	env := func(name string) string { return map[string]string{LibraryEnv: named}[name] }
	if _, err := findLibrary(env); !errors.Is(err, errLibraryMissing) || !strings.Contains(err.Error(), named) {
		t.Errorf("%s names nothing: got %v", LibraryEnv, err)
	}
	if err := os.WriteFile(named, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := findLibrary(env); got != named || err != nil {
		t.Errorf("%s: got %s, %v", LibraryEnv, got, err)
	}
	if _, err := Start(t.Context(), Config{Library: named, Path: root, Connections: 1}); err == nil || !strings.Contains(err.Error(), named) {
		t.Errorf("a library that is none: got %v", err)
	}
}
