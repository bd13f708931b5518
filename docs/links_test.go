package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pages are README.md and all pages below docs, by their paths from the root.
func pages(t *testing.T) map[string]page {
	t.Helper()
	names := []string{"README.md"}
	err := fs.WalkDir(os.DirFS(".."), "docs", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".md") {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]page{}
	for _, name := range names {
		p := readPage(t, filepath.Join("..", name))
		p.name = name
		all[name] = p
	}
	return all
}

// TestLinks_LeadSomewhere holds that what our pages link to in this repository exists.
func TestLinks_LeadSomewhere(t *testing.T) {
	all := pages(t)
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join("..", name))
		return err == nil
	}
	for _, p := range all {
		for _, fault := range brokenLinks(p, all, exists) {
			t.Error(fault)
		}
	}
}

// brokenLinks are the links of a page to files and headings that are not there.
func brokenLinks(p page, all map[string]page, exists func(name string) bool) []string {
	var faults []string
	check := func(line int, text string) {
		for _, m := range linkMark.FindAllStringSubmatch(text, -1) {
			if m[2] == "" || strings.Contains(m[2], "://") { // a code, or elsewhere
				continue
			}
			file, anchor, _ := strings.Cut(m[2], "#")
			target := p.name
			if file != "" {
				target = path.Join(path.Dir(p.name), file)
			}
			switch to, isPage := all[target]; {
			case !isPage && !exists(target):
				faults = append(faults, fmt.Sprintf("%s:%d: there is no %s: mend the link %q", p.name, line, target, m[2]))
			case anchor != "" && !slices.ContainsFunc(to.headings, func(h heading) bool { return h.anchor == anchor }):
				faults = append(faults, fmt.Sprintf("%s:%d: %s has no heading #%s: mend the link %q", p.name, line, target, anchor, m[2]))
			}
		}
	}
	for _, h := range p.headings {
		check(h.line, h.title)
	}
	for _, b := range p.blocks {
		if b.kind != code {
			check(b.line, b.text)
		}
	}
	return faults
}

func TestBrokenLinks(t *testing.T) {
	a := parsePage("docs/a.md", "# One\n[x](#one) [x](#two) [x](b.md#three) [x](b.md#one)\n## [x](c.md)\n"+
		"| [`y`](../README.md) | [x](../README.md#four) |\n|---|---|\n| [y](d/) | [y](e.go) `[x](f)` https://x.y [y](https://x.y/z) |\n```\n[x](g)\n```\n")
	all := map[string]page{"docs/a.md": a, "docs/b.md": parsePage("docs/b.md", "# Three\n"), "README.md": parsePage("README.md", "text")}
	got := brokenLinks(a, all, func(name string) bool { return name == "docs/d" })
	want := []string{
		`docs/a.md:3: there is no docs/c.md: mend the link "c.md"`,
		`docs/a.md:2: docs/a.md has no heading #two: mend the link "#two"`,
		`docs/a.md:2: docs/b.md has no heading #one: mend the link "b.md#one"`,
		`docs/a.md:6: there is no docs/e.go: mend the link "e.go"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
