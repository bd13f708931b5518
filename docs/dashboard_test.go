package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// dashboard is what is looked at of deploy/grafana/dashboards/analytics.json.
type dashboard struct {
	Panels []struct {
		Title   string `json:"title"`
		Targets []struct {
			RawSQL string `json:"rawSql"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Type  string `json:"type"`
			Query string `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/dashboards/analytics.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestAnalytics_Dashboard asks what each panel asks, of the chat of ANALYTICS.md: no panel
// is without data, and no column without a value.
func TestAnalytics_Dashboard(t *testing.T) {
	d := readDashboard(t)
	values := map[string]string{"database": analyzed(t, analyzedChat()), "app": demo}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		_, rows, err := ask(t, expanded(t, v.Query, values, chatBegin, chatEnd))
		if err != nil || len(rows) != 1 || rows[0][0] != values[v.Name] {
			t.Errorf("variable %s has %v, %v, expected %q", v.Name, rows, err, values[v.Name])
		}
	}
	if len(d.Panels) == 0 {
		t.Fatal("no panels at all")
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			names, rows, err := ask(t, expanded(t, target.RawSQL, values, chatBegin, chatEnd))
			if err != nil || len(rows) == 0 {
				t.Errorf("panel %q: %d rows, %v", p.Title, len(rows), err)
				continue
			}
			for i, name := range names {
				some := false
				for _, row := range rows {
					some = some || row[i] != "" && row[i] != "0"
				}
				if !some {
					t.Errorf("panel %q: column %s has nothing in %d rows", p.Title, name, len(rows))
				}
			}
		}
	}
}

// TestAnalytics_WhoStays has somebody come two weeks ago: what is not over is not 0.
func TestAnalytics_WhoStays(t *testing.T) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	came, now := monday(today).AddDate(0, 0, -14), monday(today)
	list := append(said(came, hike(1, "ann")), said(now, hike(2, "ann"), hike(3, "bob"))...)
	values := map[string]string{"database": analyzed(t, list), "app": demo}
	for _, p := range readDashboard(t).Panels {
		if p.Title != "Who stays" {
			continue
		}
		_, rows, err := ask(t, expanded(t, p.Targets[0].RawSQL, values, came, today))
		if diff := cmp.Diff([][]string{{date(came), "1", "0", none, none, none}}, rows); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		return
	}
	t.Error("no panel asks it")
}

// macroMark is a macro of the ClickHouse data source, or a variable of the dashboard.
var macroMark = regexp.MustCompile(`\$__(\w+)\(([^()]*)\)|\$\{(\w+)\}`)

// expanded is a query as the data source sends it for a range of time.
func expanded(t *testing.T, query string, values map[string]string, begin, end time.Time) string {
	const interval = 6 * time.Hour
	query = macroMark.ReplaceAllStringFunc(query, func(mark string) string {
		m := macroMark.FindStringSubmatch(mark)
		switch column := m[2]; m[1] {
		case "timeFilter":
			return fmt.Sprintf("%s >= toDateTime(%d) AND %[1]s <= toDateTime(%[3]d)", column, begin.Unix(), end.Unix())
		case "dateFilter":
			return fmt.Sprintf("%s >= toDate('%s') AND %[1]s <= toDate('%[3]s')", column, date(begin), date(end))
		case "timeInterval":
			return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", column, int(interval.Seconds()))
		case "":
			return values[m[3]]
		default:
			t.Errorf("%s: a macro that the data source does not have, or this test does not know", mark)
			return mark
		}
	})
	if strings.Contains(query, "$") {
		t.Errorf("something is left to expand: %s", query)
	}
	return query
}
