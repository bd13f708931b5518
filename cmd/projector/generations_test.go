package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestGenerations_List shows how each generation was made, and what a drop has left of one.
func TestGenerations_List(t *testing.T) {
	config := readmodeltest.Config(t)
	server := readmodeltest.New(t, config)
	options := readmodel.Options{From: "2026-11-23T03:00:00Z", Base: 1}
	if err := server.LeaveOut(t.Context(), map[string]struct{}{"a": {}, "b": {}}, &options); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Add(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	list := func() string {
		t.Helper()
		var out strings.Builder
		args := []string{"generations", "list", "--clickhouse-addresses", config.Addresses[0], "--clickhouse-database", config.Database}
		if err := run(t.Context(), args, func(string) string { return "" }, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	said := list()
	lines := strings.Split(said, "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[0], "options") || !strings.Contains(lines[1], "is read") ||
		!strings.HasSuffix(lines[2], "from 2026-11-23T03:00:00Z, based on generation 1, without 2 events (list "+options.Without[:12]+")") {
		t.Errorf("got\n%s", said)
	}
	// As whoever is killed leaves it.
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "INSERT INTO "+config.Database+".generations (generation, state) SELECT 2, 'dropped'"); err != nil {
		t.Fatal(err)
	}
	const left = "dropped, its tables are still there"
	if said := list(); !strings.Contains(said, "\n2           "+left) {
		t.Errorf("got\n%s", said)
	}
	if err := server.DropGeneration(t.Context(), 2, 0); err != nil {
		t.Fatal(err)
	}
	if said := list(); strings.Contains(said, left) || !strings.Contains(said, "\n2           dropped ") {
		t.Errorf("got\n%s", said)
	}
}

// TestRebuild_Without reads its file before it connects to anything.
func TestRebuild_Without(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(file, []byte("one\ntwo\n"+strings.Repeat("x", 129)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--without " + file:                          ": line 3: \"xxxxxxxxxxxxxxxxxxxx\"… is no ID of an event",
		"--without " + file + " --max-without-ids 1": ": line 2: expected at most 1 IDs",
		"--without " + file + "-not":                 "no such file",
		"--base --without " + os.DevNull:             "expected the IDs of events, one a line",
	} {
		var out strings.Builder
		err := run(t.Context(), strings.Fields("rebuild --check "+args), func(string) string { return "" }, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", args, err, want)
		}
	}
	if err := os.WriteFile(file, []byte("one\r\ntwo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err := run(t.Context(), []string{"rebuild", "--check", "--base", "--without", file}, func(string) string { return "" }, &out)
	if err == nil || !strings.Contains(err.Error(), "base and without together") {
		t.Errorf("got %v", err)
	}
	if _ = run(t.Context(), []string{"rebuild", "--check", "--without", file}, func(string) string { return "" }, &out); !strings.Contains(out.String(), "the configuration is valid") {
		t.Errorf("got %s", out.String())
	}
}

// TestMigrate_WithoutRoles holds that a server without a store for roles gets its tables,
// and that this is said.
func TestMigrate_WithoutRoles(t *testing.T) {
	var out strings.Builder
	args := []string{"migrate", "--clickhouse-addresses", sandboxtest.Start(t).ClickHouseAddr(), "--clickhouse-database", sandboxtest.Database(t)}
	if err := run(t.Context(), args, func(string) string { return "" }, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "no roles are made: this server keeps no roles\n") {
		t.Errorf("it says %s", out.String())
	}
}
