package docs_test

import (
	"bytes"
	"go/build"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mostLines is how long a package may be without a reason.
const mostLines = 2500

// generated is what Go tools know generated code by.
var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// TestDesign_LargePackages holds that the packages of more lines are those of which
// DESIGN.md says why.
func TestDesign_LargePackages(t *testing.T) {
	page, err := os.ReadFile("DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(page), "| package | why it is one |\n|---|---|\n")
	if !found {
		t.Fatal("DESIGN.md has no table of large packages")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var said []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .").FindAllStringSubmatch(table, -1) {
		said = append(said, row[1])
	}
	if large := largePackages(t, os.DirFS("..")); !slices.Equal(said, large) {
		t.Errorf("packages of more than %d lines are %q, and DESIGN.md says why of %q", mostLines, large, said)
	}
}

// largePackages are the packages of more than mostLines lines, tests and generated code aside.
func largePackages(t *testing.T, root fs.FS) (large []string) {
	t.Helper()
	for name, n := range linesOf(t, root, func(file string) bool { return !strings.HasSuffix(file, "_test.go") }) {
		if n > mostLines {
			large = append(large, name)
		}
	}
	slices.Sort(large)
	return large
}

// linesOf are how many lines of Go each directory has in some of its files, generated code aside.
func linesOf(t *testing.T, root fs.FS, of func(file string) bool) map[string]int {
	t.Helper()
	lines := map[string]int{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || len(d.Name()) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || !of(name):
			return nil
		}
		code, err := fs.ReadFile(root, name)
		if !generated.Match(code) {
			lines[path.Dir(name)] += bytes.Count(code, []byte("\n"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestDesign_FileMap holds that the file map has every directory with code: in a row of its
// own, or by its name in that of a directory above.
func TestDesign_FileMap(t *testing.T) {
	what := map[string][]string{} // the names in the row of each path
	for _, row := range readPage(t, "DESIGN.md").section("File map", "Two Kafkas") {
		for _, p := range spans(row.cell("path")) {
			what[p] = spans(row.cell("what"))
		}
	}
	named := func(dir string) bool {
		if _, ok := what[dir]; ok {
			return true
		}
		for above := path.Dir(dir); above != "."; above = path.Dir(above) {
			if slices.Contains(what[above], path.Base(dir)) {
				return true
			}
		}
		return false
	}
	for dir := range linesOf(t, os.DirFS(".."), func(string) bool { return true }) {
		if !named(dir) {
			t.Errorf("the file map has no %s", dir)
		}
	}
}

// TestDesign_Imports holds that the packages import what the file map says, where it
// names that.
func TestDesign_Imports(t *testing.T) {
	const module = "github.com/convoview/convoview/"
	rows := 0
	for _, row := range readPage(t, "DESIGN.md").section("File map", "Two Kafkas") {
		names := regexp.MustCompile("^`((?:internal|cmd)/[^`]+|bench)`$").FindStringSubmatch(row.cell("path"))
		cell := row.cell("imports, of ours")
		if names == nil || !strings.HasPrefix(cell, "`") && cell != "–" {
			continue
		}
		rows++
		of, err := build.ImportDir(path.Join("..", names[1]), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, p := range of.Imports {
			if p, ours := strings.CutPrefix(p, module); ours {
				got = append(got, strings.TrimPrefix(p, "internal/"))
			}
		}
		want := spans(cell)
		for i, p := range want {
			want[i] = strings.TrimPrefix(p, "internal/")
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s imports %q, and DESIGN.md says %q", names[1], got, want)
		}
	}
	if rows < 10 {
		t.Errorf("the file map names the imports of %d packages", rows)
	}
}
