package ingest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDoc_Files holds that the package's documentation says of each of its files what is in it.
func TestDoc_Files(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(doc), "// # Files\n")
	list, _, _ = strings.Cut(list, "// # ")
	said := []string{"doc.go"}
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w+\.go) +\S`).FindAllStringSubmatch(list, -1) {
		said = append(said, line[1])
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	slices.Sort(said)
	if !slices.Equal(said, files) {
		t.Errorf("doc.go says what is in %q, and the files are %q", said, files)
	}
}
