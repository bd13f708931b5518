package docs_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// page is what the checks need of a page in Markdown.
type page struct {
	name     string
	headings []heading
	blocks   []block
}

// heading is a heading of a page.
type heading struct {
	line, level int
	title       string // as it stands there
	anchor      string // as GitHub makes it
}

// block is a piece of a page.
type block struct {
	kind  kind
	line  int    // of the page, from 1
	under string // the anchor of the heading above
	text  string // without the marks of its kind
	// info is the language of code.
	info string
	// cells are a row's, columns what its table calls them.
	cells, columns []string
	// later says that it is in a quote that begins with laterLead.
	later bool
}

// kind tells the pieces of a page apart.
type kind int

const (
	paragraph kind = iota
	item           // of a list
	row            // of a table, not its header
	code           // between fences
)

// laterLead begins the quotes that say what a later version will do.
const laterLead = "**Not in this version.**"

// readPage reads a page; its name is relative to this directory.
func readPage(t testing.TB, name string) page {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return parsePage(name, string(text))
}

var itemMark = regexp.MustCompile(`^ *(-|\d+\.) `)

// parsePage takes a page apart. Of Markdown it knows what our pages use.
func parsePage(name, text string) page {
	p := page{name: name}
	anchors := map[string]int{}
	var (
		under         string
		quoted, later bool
		fence         *block   // whose end was not seen yet
		columns       []string // of the table that goes on
		open          bool     // the last block goes on
	)
	for i, line := range strings.Split(text, "\n") {
		if fence != nil {
			if line == "```" {
				p.blocks = append(p.blocks, *fence)
				fence = nil
			} else {
				fence.text += line + "\n"
			}
			continue
		}
		rest, isQuote := strings.CutPrefix(line, ">")
		if isQuote {
			line = strings.TrimPrefix(rest, " ")
		}
		if isQuote != quoted {
			later, open = isQuote && strings.HasPrefix(line, laterLead), false
		}
		quoted = isQuote
		b := block{line: i + 1, under: under, text: line, later: later}
		isRow := strings.HasPrefix(line, "|")
		if !isRow {
			columns = nil
		}
		switch {
		case strings.HasPrefix(line, "```"):
			b.kind, b.text, b.info = code, "", strings.TrimPrefix(line, "```")
			fence, open = &b, false
		case strings.HasPrefix(line, "#"):
			title := strings.TrimLeft(line, "#")
			under = anchorOf(title)
			if n := anchors[under]; n > 0 {
				under += "-" + strconv.Itoa(n)
			}
			anchors[anchorOf(title)]++
			p.headings = append(p.headings, heading{i + 1, len(line) - len(title), strings.TrimSpace(title), under})
			open = false
		case isRow && columns == nil:
			columns, open = cellsOf(line), false
		case isRow:
			if strings.Trim(line, "|-: ") != "" { // not the line below the header
				b.kind, b.cells, b.columns = row, cellsOf(line), columns
				p.blocks = append(p.blocks, b)
			}
		case strings.TrimSpace(line) == "":
			open = false
		case itemMark.MatchString(line):
			b.kind, b.text = item, itemMark.ReplaceAllString(line, "")
			p.blocks, open = append(p.blocks, b), true
		case open:
			p.blocks[len(p.blocks)-1].text += " " + strings.TrimSpace(line)
		default:
			p.blocks, open = append(p.blocks, b), true
		}
	}
	return p
}

// cellsOf splits a table's line at the bars outside of code.
func cellsOf(line string) []string {
	var cells []string
	var cell strings.Builder
	inCode := false
	for _, r := range strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|") {
		if r == '`' {
			inCode = !inCode
		}
		if r == '|' && !inCode {
			cells = append(cells, strings.TrimSpace(cell.String()))
			cell.Reset()
			continue
		}
		cell.WriteRune(r)
	}
	return append(cells, strings.TrimSpace(cell.String()))
}

// cell is a row's cell by its column.
func (b block) cell(column string) string {
	for i, name := range b.columns {
		if name == column && i < len(b.cells) {
			return b.cells[i]
		}
	}
	return ""
}

// anchorOf is the anchor that GitHub gives the first heading of this title.
func anchorOf(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, strings.TrimSpace(plain(title)))
}

// linkMark matches a link, text and target, or a code.
var linkMark = regexp.MustCompile("`[^`]*`" + `|\[((?:[^\]` + "`]|`[^`]*`" + `)*)\]\(([^)]*)\)`)

// plain is a text without links and emphasis; code stays as it is.
func plain(text string) string {
	text = linkMark.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "`") {
			return match
		}
		return linkMark.FindStringSubmatch(match)[1]
	})
	parts := strings.Split(text, "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], "*", "")
	}
	return strings.Join(parts, "`")
}

// sentences splits a text where a point, question or exclamation mark and a
// blank are outside of code.
func sentences(text string) []string {
	var list []string
	begin, inCode := 0, false
	for i := range len(text) {
		if text[i] == '`' {
			inCode = !inCode
		}
		if inCode || !strings.ContainsRune(".?!", rune(text[i])) {
			continue
		}
		end := i + 1
		for end < len(text) && strings.ContainsRune(`)"*`, rune(text[end])) {
			end++
		}
		if end < len(text) && text[end] == ' ' {
			list = append(list, text[begin:end])
			begin = end + 1
		}
	}
	return append(list, text[begin:])
}

// spans are the codes within a text.
func spans(text string) []string {
	var list []string
	for i, part := range strings.Split(text, "`") {
		if i%2 == 1 {
			list = append(list, part)
		}
	}
	return list
}

// section gives the blocks from one heading of level 2 up to another.
func (p page) section(from, to string) []block {
	begin, end := -1, -1
	for _, h := range p.headings {
		switch {
		case h.level != 2:
		case h.title == from:
			begin = h.line
		case h.title == to:
			end = h.line
		}
	}
	var list []block
	for _, b := range p.blocks {
		if begin > 0 && b.line > begin && b.line < end {
			list = append(list, b)
		}
	}
	return list
}

func TestParsePage(t *testing.T) {
	const text = "# A `b.c`: d\n" +
		"One. Two\nlines.\n\n" +
		"- an item\n- another\n  of two lines\n" +
		"  - below it\n\n" +
		"| x | `a|b` |\n|---|---|\n| 1 | |\n| `|` | 2 |\n" +
		"```sh\nls | wc\n\n# no heading\n```\n" +
		"> *Example.* So.\n\n" +
		"> " + laterLead + " Soon.\n>\n> | y |\n> |---|\n> | 3 |\n" +
		"Now.\n## A `b.c`: d\nEnd.\n"
	got := parsePage("p.md", text)
	want := page{
		name:     "p.md",
		headings: []heading{{1, 1, "A `b.c`: d", "a-bc-d"}, {27, 2, "A `b.c`: d", "a-bc-d-1"}},
		blocks: []block{
			{kind: paragraph, line: 2, under: "a-bc-d", text: "One. Two lines."},
			{kind: item, line: 5, under: "a-bc-d", text: "an item"},
			{kind: item, line: 6, under: "a-bc-d", text: "another of two lines"},
			{kind: item, line: 8, under: "a-bc-d", text: "below it"},
			{kind: row, line: 12, under: "a-bc-d", text: "| 1 | |", cells: []string{"1", ""}, columns: []string{"x", "`a|b`"}},
			{kind: row, line: 13, under: "a-bc-d", text: "| `|` | 2 |", cells: []string{"`|`", "2"}, columns: []string{"x", "`a|b`"}},
			{kind: code, line: 14, under: "a-bc-d", text: "ls | wc\n\n# no heading\n", info: "sh"},
			{kind: paragraph, line: 19, under: "a-bc-d", text: "*Example.* So."},
			{kind: paragraph, line: 21, under: "a-bc-d", text: laterLead + " Soon.", later: true},
			{kind: row, line: 25, under: "a-bc-d", text: "| 3 |", cells: []string{"3"}, columns: []string{"y"}, later: true},
			{kind: paragraph, line: 26, under: "a-bc-d", text: "Now."},
			{kind: paragraph, line: 28, under: "a-bc-d-1", text: "End."},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(page{}, heading{}, block{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSentences(t *testing.T) {
	for text, want := range map[string][]string{
		"One.":                               {"One."},
		"One. two? (Three.) Four":            {"One.", "two?", "(Three.)", "Four"},
		"Of `a. b` and 7.0, **e.g.x.** Then": {"Of `a. b` and 7.0, **e.g.x.**", "Then"},
	} {
		if diff := cmp.Diff(want, sentences(text)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestPlain(t *testing.T) {
	const text = "**The** [`a*[x]`](b.md#c) and [two *words*](#d), `*` and `[no](link)`"
	if got, want := plain(text), "The `a*[x]` and two words, `*` and `[no](link)`"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
