package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	metricRow  = regexp.MustCompile("(?m)^\\| `(convoview_([a-z]+)_[a-z_]+)` \\|")
	metricName = regexp.MustCompile("convoview_([a-z]+)_[a-z_]+[a-z]")
)

// TestMetrics_AreThoseOfOperations holds that every metric that a page names is one of
// OPERATIONS.md, which a test of deploy/grafana compares with those that are exported.
func TestMetrics_AreThoseOfOperations(t *testing.T) {
	operations, err := os.ReadFile(filepath.Join("..", "docs", "OPERATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	known, parts := map[string]bool{}, map[string]bool{}
	for _, row := range metricRow.FindAllStringSubmatch(string(operations), -1) {
		known[row[1]], parts[row[2]] = true, true
	}
	if len(known) == 0 {
		t.Fatal("OPERATIONS.md has no metrics")
	}
	for name, p := range pages(t) {
		content, err := os.ReadFile(filepath.Join("..", p.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range metricName.FindAllStringSubmatch(string(content), -1) {
			metric := m[0]
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				metric = strings.TrimSuffix(metric, suffix)
			}
			if parts[m[1]] && !known[metric] && !known[m[0]] {
				t.Errorf("%s: %s is no metric of OPERATIONS.md", name, m[0])
			}
		}
	}
}
