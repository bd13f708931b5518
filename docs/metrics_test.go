package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/lifecycle"
)

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `(convoview_([a-z]+)_[a-z_]+)` \\|")
	metricName = regexp.MustCompile(`\b(convoview|go|process)_([a-z]+)_?[a-z_]*[a-z]\b`)
)

// foreign gives the metrics of our processes that are not our own, as the registry of a
// process has them.
func foreign(t *testing.T) map[string]bool {
	t.Helper()
	families, err := lifecycle.NewRegistry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, f := range families {
		all[f.GetName()] = true
	}
	return all
}

// TestMetrics_AreThoseOfOperations holds that every metric that a page names is one of
// OPERATIONS.md, which a test of deploy/grafana compares with those that are exported, or
// one that the libraries export that it speaks of. A rebuild has those of reading, too.
func TestMetrics_AreThoseOfOperations(t *testing.T) {
	operations, err := os.ReadFile(filepath.Join("..", "docs", "OPERATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, parts := foreign(t), map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(operations), -1) {
		known[row[1]], parts[row[2]] = true, true
		if reading, is := strings.CutPrefix(row[1], "convoview_ingest_"); is {
			known["convoview_rebuild_"+reading] = true
		}
	}
	if len(parts) == 0 {
		t.Fatal("OPERATIONS.md has no metrics")
	}
	for name, p := range pages(t) {
		content, err := os.ReadFile(filepath.Join("..", p.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range wrongMetrics(string(content), known, parts) {
			t.Errorf("%s: %s is no metric of OPERATIONS.md", name, fault)
		}
	}
	faults := wrongMetrics("`go_build_info`, `go_goroutines`, convoview_build_info, `convoview_ingest_lag_second`", known, parts)
	if want := []string{"go_build_info", "convoview_ingest_lag_second"}; !slices.Equal(faults, want) {
		t.Errorf("found %q, want %q", faults, want)
	}
}

// wrongMetrics gives what looks like a metric in a text and is none.
func wrongMetrics(text string, known, parts map[string]bool) (faults []string) {
	for _, m := range metricName.FindAllStringSubmatch(text, -1) {
		metric := m[0]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			metric = strings.TrimSuffix(metric, suffix)
		}
		if (m[1] != "convoview" || parts[m[2]]) && !known[metric] && !known[m[0]] {
			faults = append(faults, m[0])
		}
	}
	return faults
}
