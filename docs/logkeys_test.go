package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLogKeys_AreThoseOfThePage holds that our commands log with the keys of the table in
// OPERATIONS.md, and with all of them.
func TestLogKeys_AreThoseOfThePage(t *testing.T) {
	told := map[string]bool{}
	for _, b := range readPage(t, "OPERATIONS.md").blocks {
		if b.kind == row && b.under == "logs" {
			for _, key := range spans(b.cell("key")) {
				told[key] = true
			}
		}
	}
	used := map[string]string{}
	for _, dir := range []string{"cmd", "internal"} {
		err := fs.WalkDir(os.DirFS(".."), dir, func(name string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			text, err := os.ReadFile("../" + name)
			if err != nil {
				return err
			}
			keys, err := logKeys(name, text)
			for _, key := range keys {
				used[key] = name
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for key, name := range used {
		if !told[key] {
			t.Errorf("%s: logs with the key %q, which OPERATIONS.md does not have: use one that it has, or add it there", name, key)
		}
	}
	for key := range told {
		if used[key] == "" && !slices.Contains([]string{"time", "level", "msg"}, key) { // slog's own
			t.Errorf("OPERATIONS.md: nobody logs with the key %q: take it out", key)
		}
	}
}

// The methods of a logger, and the functions that make an attribute.
var (
	logMethods = []string{"Debug", "Info", "Warn", "Error", "With"}
	attributes = []string{"Any", "Bool", "Duration", "Float64", "Int", "Int64", "String", "Time", "Uint64"}
)

// logKeys are the keys that a file logs with: those texts, every second one, that follow
// the message of a call of a logger's method, and those of attributes. Other methods of
// these names are told by what they are called with.
func logKeys(name string, text []byte) (keys []string, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	add := func(arg ast.Expr) bool {
		literal, ok := arg.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return false
		}
		key, err := strconv.Unquote(literal.Value)
		keys = append(keys, key)
		return err == nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		args := call.Args
		switch of := call.Fun.(type) {
		case *ast.Ident:
			if of.Name != "tell" { // a method of a logger, chosen before
				return true
			}
		case *ast.SelectorExpr:
			if pkg, is := of.X.(*ast.Ident); is && pkg.Name == "slog" && slices.Contains(attributes, of.Sel.Name) {
				add(args[0])
				return true
			}
			if !slices.Contains(logMethods, of.Sel.Name) {
				return true
			}
			if of.Sel.Name == "With" {
				args = append([]ast.Expr{&ast.BasicLit{Kind: token.STRING, Value: `""`}}, args...)
			}
		default:
			return true
		}
		if len(args) == 0 {
			return true
		}
		if message, ok := args[0].(*ast.BasicLit); !ok || message.Kind != token.STRING {
			return true
		}
		for i := 1; i+1 < len(args); i += 2 {
			if !add(args[i]) {
				break
			}
		}
		return true
	})
	return keys, nil
}

func TestLogKeys(t *testing.T) {
	got, err := logKeys("a.go", []byte(`package a
func f() {
	log.Info("it happened", "topic", t, "partition", p)
	w.log.With("generation", 7, slog.Int("rows", 2)).Warn("it happened " , "error", err)
	promauto.With(r).NewGauge()
	r.Error(code, "message", data)
	tell("it happened", "lost", x)
	log.Debug("it happened")
	fmt.Errorf("of", "no", "interest")
}
`))
	want := []string{"topic", "partition", "error", "generation", "rows", "lost"}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
