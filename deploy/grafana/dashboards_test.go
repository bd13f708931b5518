package grafana_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/rulefmt"
)

const (
	alertsFile = "../prometheus/alerts.yaml"
	operations = root + "/docs/OPERATIONS.md"
)

// dashboard is what is looked at of one.
type dashboard struct {
	file   string
	UID    string  `json:"uid"`
	Title  string  `json:"title"`
	Panels []panel `json:"panels"`
}

type panel struct {
	ID          int    `json:"id"`
	Type        string `json:"type"`
	Title       string `json:"title"`
	Description string `json:"description"`
	Datasource  struct {
		Type string `json:"type"`
		UID  string `json:"uid"`
	} `json:"datasource"`
	FieldConfig struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// dashboards are those whose panels ask Prometheus.
func dashboards(t *testing.T) (list []dashboard) {
	t.Helper()
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d := dashboard{file: file}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if slices.ContainsFunc(d.Panels, func(p panel) bool { return p.Datasource.Type == "prometheus" }) {
			list = append(list, d)
		}
	}
	if len(list) < 2 {
		t.Fatalf("%d dashboards, want those of the projector and of the query worker", len(list))
	}
	return list
}

// variables are what Grafana puts in place of its own.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*")

func TestDashboards_AreWellFormed(t *testing.T) {
	uids := map[string]string{}
	for _, d := range dashboards(t) {
		if other, ok := uids[d.UID]; ok || d.UID == "" || d.Title == "" {
			t.Errorf("%s: uid %q (also that of %q), title %q", d.file, d.UID, other, d.Title)
		}
		uids[d.UID] = d.file
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: %q has the id of another panel", d.file, p.Title)
			}
			ids[p.ID] = true
			if p.Type == "row" {
				continue
			}
			if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: panel %d %q lacks a title, a description, a unit, a query or the data source that is chosen", d.file, p.ID, p.Title)
			}
			for _, target := range p.Targets {
				if expr := variables.Replace(target.Expr); strings.Contains(expr, "$") {
					t.Errorf("%s: %q: a variable that nobody knows in %s", d.file, p.Title, target.Expr)
				}
			}
		}
	}
}

// TestUnderLoad runs the system, and holds dashboards, alerts and the page for operators
// against the metrics that it really exports.
func TestUnderLoad(t *testing.T) {
	s := start(t)
	s.load()

	for _, d := range dashboards(t) {
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				m, err := s.metrics.evaluate(t.Context(), variables.Replace(target.Expr), s.begin, s.clock, interval)
				if err != nil || !hasData(m) {
					t.Errorf("%s: panel %q has no data: %v\n%s", d.file, p.Title, err, target.Expr)
				}
			}
		}
	}

	exported := map[string]bool{"up": true}
	for name, kind := range s.metrics.kinds {
		exported[name] = true
		if kind == "histogram" || kind == "summary" {
			for _, part := range parts {
				exported[name+part] = true
			}
		}
	}
	for _, group := range alerts(t).Groups {
		for _, rule := range group.Rules {
			for _, name := range metricsOf(t, rule.Expr) {
				if !exported[name] && !elsewhere[name] {
					t.Errorf("alert %s asks for %s, which nobody exports", rule.Alert, name)
				}
			}
			if _, err := s.metrics.evaluate(t.Context(), rule.Expr, s.begin, s.clock, interval); err != nil {
				t.Errorf("alert %s: %v", rule.Alert, err)
			}
		}
	}

	exports := s.metrics.table()
	for name, what := range exports { // a rebuild's are those of reading, as the page says
		if rest, is := strings.CutPrefix(name, "convoview_rebuild_"); is && exports["convoview_ingest_"+rest] == what {
			delete(exports, name)
		}
	}
	if diff := cmp.Diff(tableOfMetrics(t), exports); diff != "" {
		t.Errorf("metrics in %s (-page +exported):\n%s", operations, diff)
	}
}

// elsewhere are metrics that are there only with certain settings; their own tests
// hold that they are.
var elsewhere = map[string]bool{"convoview_tls_certificate_expiry_timestamp_seconds": true}

func alerts(t *testing.T) *rulefmt.RuleGroups {
	t.Helper()
	groups, errs := rulefmt.ParseFile(alertsFile, false, model.UTF8Validation, queries, promslog.NewNopLogger())
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) > 0 {
		t.FailNow()
	}
	return groups
}

// table is of each of our metrics the kind and the names of labels.
func (s *storage) table() map[string]string {
	all := map[string]string{}
	for name, kind := range s.kinds {
		if strings.HasPrefix(name, "convoview_") {
			all[name] = kind + " " + strings.Join(slices.Sorted(slices.Values(s.labels[name])), ", ")
		}
	}
	return all
}

// metricRow is a row of the page's table: name, kind, labels.
var metricRow = regexp.MustCompile("(?m)^\\| `(convoview_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")

// tableOfMetrics is the same as the page for operators has it.
func tableOfMetrics(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, m := range metricRow.FindAllStringSubmatch(page(t), -1) {
		if !elsewhere[m[1]] {
			names := strings.Split(strings.ReplaceAll(strings.TrimSpace(m[3]), "`", ""), ", ")
			all[m[1]] = m[2] + " " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
		}
	}
	return all
}

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(operations)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runbook begins the link of an alert to its section of the page.
const runbook = "https://github.com/convoview/convoview/blob/main/docs/OPERATIONS.md#"

// TestAlerts_SayWhatToDo holds that each alert says what is wrong, how bad it is, and
// where there is written what to do; and that each section is of an alert that there is.
func TestAlerts_SayWhatToDo(t *testing.T) {
	sections := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#### (Convoview\w+)$`).FindAllStringSubmatch(page(t), -1) {
		sections[m[1]] = true
	}
	seen := map[string]bool{}
	for _, group := range alerts(t).Groups {
		for _, r := range group.Rules {
			if seen[r.Alert] {
				t.Errorf("%s: twice", r.Alert)
			}
			seen[r.Alert] = true
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" || !slices.Contains([]string{"warning", "critical"}, r.Labels["severity"]) {
				t.Errorf("%s: no summary, description or severity", r.Alert)
			}
			if got, want := r.Annotations["runbook_url"], runbook+strings.ToLower(r.Alert); got != want {
				t.Errorf("%s: runbook %s, want %s", r.Alert, got, want)
			}
			if !sections[r.Alert] {
				t.Errorf("%s: no section #### %s in %s", r.Alert, r.Alert, operations)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		if !seen[name] {
			t.Errorf("%s: a section in %s of an alert that there is not", name, operations)
		}
	}
}
