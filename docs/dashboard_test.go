package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
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

// TestAnalytics_Dashboard asks what each panel asks, of the chat of ANALYTICS.md: no panel
// is without data, and no column without a value.
func TestAnalytics_Dashboard(t *testing.T) {
	text, err := os.ReadFile("../deploy/grafana/dashboards/analytics.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{"database": analyzed(t, analyzedChat()), "app": demo}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		_, rows, err := ask(t, expanded(t, v.Query, values))
		if err != nil || len(rows) != 1 || rows[0][0] != values[v.Name] {
			t.Errorf("variable %s has %v, %v, expected %q", v.Name, rows, err, values[v.Name])
		}
	}
	if len(d.Panels) == 0 {
		t.Fatal("no panels at all")
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			names, rows, err := ask(t, expanded(t, target.RawSQL, values))
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

// macroMark is a macro of the ClickHouse data source, or a variable of the dashboard.
var macroMark = regexp.MustCompile(`\$__(\w+)\(([^()]*)\)|\$\{(\w+)\}`)

// expanded is a query as the data source sends it, for all days of the chat.
func expanded(t *testing.T, query string, values map[string]string) string {
	const interval = 6 * time.Hour
	query = macroMark.ReplaceAllStringFunc(query, func(mark string) string {
		m := macroMark.FindStringSubmatch(mark)
		switch column := m[2]; m[1] {
		case "timeFilter":
			return fmt.Sprintf("%s >= toDateTime(%d) AND %[1]s <= toDateTime(%[3]d)", column, chatBegin.Unix(), chatEnd.Unix())
		case "dateFilter":
			return fmt.Sprintf("%s >= toDate('%s') AND %[1]s <= toDate('%[3]s')", column, date(chatBegin), date(chatEnd))
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
