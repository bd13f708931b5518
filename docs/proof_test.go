package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// The first section of the contract that must be proved, and the first that need not; and
// so once more.
const (
	firstSection     = "1. Identity"
	endSection       = "5. Limits"
	analyticsSection = "6. Analytics"
	afterAnalytics   = "7. Connections"
)

// scenarios is where the scenarios are.
const scenarios = "../internal/scenario/testdata"

// markLater marks what a later version will do.
const markLater = "later"

// marks are what a row says instead of naming tests; PROOF.md explains them.
var marks = []string{"definition", "reason", "advice", "caveat", markLater}

// TestProof_IsComplete holds that PROOF.md says of each sentence of the
// contract which test would fail without it, and that the test is there.
func TestProof_IsComplete(t *testing.T) {
	for _, fault := range faultsOf(readPage(t, "CONTRACT.md"), readPage(t, "PROOF.md"), &sources{root: ".."}) {
		t.Error(fault)
	}
}

// sentence is what needs a row: a sentence, or the row of a table.
type sentence struct {
	text        string
	page, under string
	line        int
	later       bool
}

var leadMark = regexp.MustCompile(`^\*\*[^*]+\.\*\* `)

// sentencesOf gives what needs a row. Code does not: other tests run it. An
// example is one sentence, and the bold words before a paragraph are none.
func sentencesOf(contract page) []sentence {
	var all []sentence
	blocks := append(contract.section(firstSection, endSection), contract.section(analyticsSection, afterAnalytics)...)
	for _, b := range blocks {
		s := sentence{page: contract.name, under: b.under, line: b.line, later: b.later}
		texts := []string{b.text}
		switch {
		case b.kind == code:
			continue
		case b.kind == row:
			texts[0] = strings.Join(slices.DeleteFunc(slices.Clone(b.cells), func(cell string) bool { return cell == "" }), " · ")
		case !strings.HasPrefix(b.text, "*Example.*"):
			texts = sentences(leadMark.ReplaceAllString(b.text, ""))
		}
		for _, text := range texts {
			s.text = plain(text)
			all = append(all, s)
		}
	}
	return all
}

// matches reports whether a row is about the sentence: it has all of it, or its beginning and "…".
func (s sentence) matches(key string) bool {
	begin, cut := strings.CutSuffix(key, "…")
	return s.text == key || cut && strings.HasPrefix(s.text, strings.TrimSpace(begin))
}

// faultsOf compares the contract with its proof. Each fault is a line that says what to do.
func faultsOf(contract, proof page, tests interface{ find(name string) error }) []string {
	all := sentencesOf(contract)
	if len(all) == 0 {
		return []string{fmt.Sprintf("%s: no sentences from %q to %q: mend the headings here or there", contract.name, firstSection, endSection)}
	}
	// The headings of the proof are links to those of the contract.
	under := map[string]string{}
	for _, h := range proof.headings {
		if m := linkMark.FindStringSubmatch(h.title); m != nil {
			under[h.anchor] = strings.TrimPrefix(m[2], contract.name+"#")
		}
	}
	var faults []string
	rows := make([]int, len(all)) // how many each sentence has
	for _, b := range proof.blocks {
		anchor, about := under[b.under]
		if b.kind != row || !about {
			continue
		}
		fault := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("%s:%d: ", proof.name, b.line)+fmt.Sprintf(format, args...))
		}
		if len(b.cells) != 2 {
			fault("%d cells: write the sentence and what proves it", len(b.cells))
			continue
		}
		key := plain(b.cells[0])
		var found []int
		for i, s := range all {
			if s.under == anchor && s.matches(key) {
				found = append(found, i)
				rows[i]++
			}
		}
		switch len(found) {
		case 0:
			fault("%q is no sentence of %s#%s: write it as it stands there, or remove the row", key, contract.name, anchor)
			continue
		case 1:
		default:
			fault("%q begins %d sentences of %s#%s: write more of it", key, len(found), contract.name, anchor)
		}
		by := b.cells[1]
		names := spans(by)
		switch {
		case by == markLater && !all[found[0]].later:
			fault("%q is not marked %q in %s: name its test", key, laterLead, contract.name)
		case slices.Contains(marks, by):
		case len(names) == 0 || "`"+strings.Join(names, "`, `")+"`" != by:
			fault("%q proves nothing: name tests, each in backticks with commas between, or write one of %s", by, strings.Join(marks, ", "))
		default:
			for _, name := range names {
				if err := tests.find(name); err != nil {
					fault("%v", err)
				}
			}
		}
	}
	for i, s := range all {
		switch {
		case rows[i] == 0:
			faults = append(faults, fmt.Sprintf("%s:%d: no row in %s for %q: add it below the heading of #%s, with the test that would fail without it",
				s.page, s.line, proof.name, s.text, s.under))
		case rows[i] > 1:
			faults = append(faults, fmt.Sprintf("%s:%d: %d rows in %s for %q: keep one", s.page, s.line, rows[i], proof.name, s.text))
		}
	}
	return faults
}

// sources finds tests by their names in the Go files below root.
type sources struct {
	root     string
	packages map[string]map[string]testFunc // by directory and name
}

// testFunc is a test, with the texts within it: its subtests are named by some of them.
type testFunc map[string]struct{}

var testName = regexp.MustCompile(`^([a-z0-9/]+)\.((?:Test|Fuzz)\w+)(?:/(.+))?$`)

// find looks for package.TestName, package.TestName/subtest or a scenario's file.
func (s *sources) find(name string) error {
	if strings.HasSuffix(name, ".txt") {
		if _, err := os.Stat(filepath.Join(s.root, "docs", scenarios, name)); err != nil {
			return fmt.Errorf("there is no scenario %s in internal/scenario/testdata: write it, or name another", name)
		}
		return nil
	}
	m := testName.FindStringSubmatch(name)
	if m == nil {
		return fmt.Errorf("%q is no test: write package.TestName, package.TestName/subtest or a scenario's path, which ends in .txt", name)
	}
	dir := filepath.Join(s.root, "internal", m[1])
	if _, err := os.Stat(dir); err != nil {
		dir = filepath.Join(s.root, m[1])
	}
	tests, err := s.testsOf(dir)
	if err != nil {
		return fmt.Errorf("look for %s: %w", name, err)
	}
	test, ok := tests[m[2]]
	if !ok {
		return fmt.Errorf("package %s has no test %s: write it, or name another", m[1], m[2])
	}
	if _, ok := test[m[3]]; m[3] != "" && !ok {
		return fmt.Errorf("test %s.%s has no subtest %q: write it, or name another", m[1], m[2], m[3])
	}
	return nil
}

// testsOf gives the tests of a directory.
func (s *sources) testsOf(dir string) (map[string]testFunc, error) {
	if tests, ok := s.packages[dir]; ok {
		return tests, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	tests := map[string]testFunc{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Body != nil {
				tests[f.Name.Name] = textsIn(f)
			}
		}
	}
	if s.packages == nil {
		s.packages = map[string]map[string]testFunc{}
	}
	s.packages[dir] = tests
	return tests, nil
}

// textsIn are the texts of a test, as they are in the names of its subtests.
func textsIn(f *ast.FuncDecl) testFunc {
	texts := testFunc{}
	ast.Inspect(f, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				texts[strings.Map(func(r rune) rune {
					if unicode.IsSpace(r) {
						return '_'
					}
					return r
				}, text)] = struct{}{}
			}
		}
		return true
	})
	return texts
}

// known are tests that are there.
type known []string

func (k known) find(name string) error {
	if slices.Contains(k, name) {
		return nil
	}
	return fmt.Errorf("no %s", name)
}

func TestFaultsOf(t *testing.T) {
	const contract = "## 1. Identity\n### A\n**Lead.** One [is](#x) *here*. Two is there.\n\n| f | g | h |\n|---|---|---|\n| `x` | | yes |\n| `x` | no | |\n\n" +
		"> *Example.* Three. Four.\n\n```json\n{}\n```\n### B\n> " + laterLead + " Soon. Now.\n\n## 5. Limits\nFive.\n"
	const proof = "# Proof\n| mark | |\n|---|---|\n| no row | |\n" +
		"### [A](CONTRACT.md#a)\n| sentence | test |\n|---|---|\n| One is… | `a.T` |\n| Two is there. | advice |\n| `x` · yes | `a.T`, `b.T/x, y` |\n" +
		"| `x` · n… | `c/d.txt` |\n| Example. Three. Four. | definition |\n" +
		"### [B](CONTRACT.md#b)\n| sentence | test |\n|---|---|\n| Soon. | later |\n| Now. | `a.T` |\n"
	for _, test := range []struct {
		name, from, to string // a change of the proof
		want           []string
	}{
		{"complete", "", "", nil},
		{"no row", "| Two is there. | advice |\n", "", []string{
			`CONTRACT.md:3: no row in PROOF.md for "Two is there.": add it below the heading of #a, with the test that would fail without it`,
		}},
		{"a row too many", "| Soon. |", "| Five. | advice |\n| Soon. |", []string{
			`PROOF.md:16: "Five." is no sentence of CONTRACT.md#b: write it as it stands there, or remove the row`,
		}},
		{"not all of it", "| One is… |", "| One is |", []string{
			`PROOF.md:8: "One is" is no sentence of CONTRACT.md#a: write it as it stands there, or remove the row`,
			`CONTRACT.md:3: no row in PROOF.md for "One is here.": add it below the heading of #a, with the test that would fail without it`,
		}},
		{"below another heading", "| Soon. | later |\n| Now. | `a.T` |\n", "| Soon. | later |\n| Now. | `a.T` |\n| One is here. | `a.T` |\n", []string{
			`PROOF.md:18: "One is here." is no sentence of CONTRACT.md#b: write it as it stands there, or remove the row`,
		}},
		{"too short", "| `x` · yes |", "| `x`… |", []string{
			"PROOF.md:10: \"`x`…\" begins 2 sentences of CONTRACT.md#a: write more of it",
			"CONTRACT.md:8: 2 rows in PROOF.md for \"`x` · no\": keep one",
		}},
		{"twice", "| Two is there. | advice |", "| Two is there. | advice |\n| Two… | advice |", []string{
			`CONTRACT.md:3: 2 rows in PROOF.md for "Two is there.": keep one`,
		}},
		{"no such test", "`b.T/x, y`", "`b.T/z`", []string{"PROOF.md:10: no b.T/z"}},
		{"no such mark", "| advice |", "| obvious |", []string{
			`PROOF.md:9: "obvious" proves nothing: name tests, each in backticks with commas between, or write one of definition, reason, advice, caveat, later`,
		}},
		{"a mark and a test", "| advice |", "| `a.T`, advice |", []string{
			"PROOF.md:9: \"`a.T`, advice\" proves nothing: name tests, each in backticks with commas between, or write one of definition, reason, advice, caveat, later",
		}},
		{"nothing", "| advice |", "| |", []string{
			`PROOF.md:9: "" proves nothing: name tests, each in backticks with commas between, or write one of definition, reason, advice, caveat, later`,
		}},
		{"later, but it is there", "| advice |", "| later |", []string{
			`PROOF.md:9: "Two is there." is not marked "**Not in this version.**" in CONTRACT.md: name its test`,
		}},
		{"three cells", "| advice |", "| advice | really |", []string{
			"PROOF.md:9: 3 cells: write the sentence and what proves it",
			`CONTRACT.md:3: no row in PROOF.md for "Two is there.": add it below the heading of #a, with the test that would fail without it`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			changed := strings.Replace(proof, test.from, test.to, 1)
			got := faultsOf(parsePage("CONTRACT.md", contract), parsePage("PROOF.md", changed), known{"a.T", "b.T/x, y", "c/d.txt"})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := faultsOf(parsePage("CONTRACT.md", "## 1. Names\nOne.\n"), parsePage("PROOF.md", proof), known{}); len(got) != 1 {
		t.Errorf("a contract without the sections: %q, want one fault", got)
	}
}

func TestSources_Find(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"internal/a/b/x_test.go":                "package b\n\nfunc TestX(t *testing.T) { t.Run(\"one two\", nil) }\nfunc (T) TestY() {}\nfunc helper() { _ = \"three\" }\n",
		"cmd/c/main_test.go":                    "package main\n\nfunc FuzzC(f *testing.F) {}\n",
		"cmd/c/main.go":                         "package main\n\nfunc TestNot() {}\n",
		"internal/broken/x_test.go":             "package",
		"internal/scenario/testdata/head/a.txt": "",
		"docs/x":                                "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := &sources{root: root}
	for name, want := range map[string]string{
		"a/b.TestX":         "",
		"a/b.TestX/one_two": "",
		"cmd/c.FuzzC":       "",
		"head/a.txt":        "",
		"a/b.TestX/three":   `test a/b.TestX has no subtest "three"`,
		"a/b.TestX/one two": `has no subtest "one two"`,
		"a/b.TestY":         "package a/b has no test TestY",
		"a/b.helper":        "is no test",
		"cmd/c.TestNot":     "package cmd/c has no test TestNot",
		"nowhere.TestX":     "package nowhere has no test TestX",
		"broken.TestX":      "look for broken.TestX: ",
		"head/b.txt":        "there is no scenario head/b.txt",
		"TestX":             `"TestX" is no test`,
	} {
		err := s.find(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
}
