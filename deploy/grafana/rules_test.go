package grafana_test

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
	"go.yaml.in/yaml/v3"
)

// ruleTests is a file of tests of alerts, as promtool has them, but for annotations; we need
// no more of it.
type ruleTests struct {
	RuleFiles []string `yaml:"rule_files"`
	Tests     []struct {
		Name        string         `yaml:"name"`
		Interval    model.Duration `yaml:"interval"`
		InputSeries []struct {
			Series string `yaml:"series"`
			Values string `yaml:"values"`
		} `yaml:"input_series"`
		AlertRuleTest []struct {
			EvalTime  model.Duration `yaml:"eval_time"`
			Alertname string         `yaml:"alertname"`
			ExpAlerts []struct {
				ExpLabels map[string]string `yaml:"exp_labels"`
			} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

// TestAlerts_Fire runs the tests of the alerts: each fires in one of them, and in one
// does not, and those that fire have what their annotations say.
func TestAlerts_Fire(t *testing.T) {
	text, err := os.ReadFile("../prometheus/alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file ruleTests
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	rules := map[string]rulefmt.Rule{}
	for _, group := range alerts(t).Groups {
		for _, r := range group.Rules {
			rules[r.Alert] = r
		}
	}
	fired, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		t.Run(test.Name, func(t *testing.T) {
			s := newStorage(t)
			var samples []sample
			for _, in := range test.InputSeries {
				of, values, err := queries.ParseSeriesDesc(in.Series + " " + in.Values)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range values {
					if !v.Omitted {
						samples = append(samples, sample{of, time.Unix(0, 0).Add(time.Duration(i) * time.Duration(test.Interval)), v.Value})
					}
				}
			}
			slices.SortStableFunc(samples, func(a, b sample) int { return a.at.Compare(b.at) })
			s.add(t, samples...)
			for _, c := range test.AlertRuleTest {
				rule, ok := rules[c.Alertname]
				if !ok {
					t.Fatalf("there is no alert %s", c.Alertname)
				}
				want := []labels.Labels{}
				for _, e := range c.ExpAlerts {
					want = append(want, labels.FromMap(e.ExpLabels))
				}
				got := s.firing(t, rule, time.Duration(c.EvalTime), time.Duration(test.Interval))
				byText := func(a, b labels.Labels) int { return cmp.Compare(a.String(), b.String()) }
				slices.SortFunc(want, byText)
				slices.SortFunc(got, byText)
				if diff := gocmp.Diff(texts(want), texts(got)); diff != "" {
					t.Errorf("%s at %v (-want +got):\n%s", c.Alertname, time.Duration(c.EvalTime), diff)
				}
				fired[c.Alertname] = fired[c.Alertname] || len(want) > 0
				// Of two series one that does not fire is a test, too.
				quiet[c.Alertname] = quiet[c.Alertname] || len(want) == 0 || len(test.InputSeries) > len(want)
			}
		})
	}
	for name := range rules {
		if !fired[name] || !quiet[name] {
			t.Errorf("%s: is there a test in which it fires: %v, does not: %v", name, fired[name], quiet[name])
		}
	}
}

// TestAlerts_ExpiredCertificate holds that a certificate is not said to expire in less than no time.
func TestAlerts_ExpiredCertificate(t *testing.T) {
	var rule rulefmt.Rule
	for _, group := range alerts(t).Groups {
		for _, r := range group.Rules {
			if r.Alert == "ConvoviewCertificateExpires" {
				rule = r
			}
		}
	}
	of := labels.FromStrings("file", "/own.pem")
	for left, want := range map[float64]string{
		3 * 3600: "the certificate in /own.pem expires soon: It expires in 3h 0m 0s.",
		-3600:    "the certificate in /own.pem has expired: Connections that need it are refused.",
	} {
		got, err := expand(t, rule.Annotations["summary"]+": "+rule.Annotations["description"], of, promql.FPoint{F: left})
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%v seconds before its end: got %q, %v, want %q", left, got, err, want)
		}
	}
}

func texts(list []labels.Labels) (all []string) {
	for _, l := range list {
		all = append(all, l.String())
	}
	return all
}

// firing gives the labels of the alerts of a rule that fire at a time: its expression has
// held, evaluated every so often, for as long as the rule says. What these alerts say can
// be made of what they have.
func (s *storage) firing(t *testing.T, rule rulefmt.Rule, at, every time.Duration) (list []labels.Labels) {
	t.Helper()
	m, err := s.evaluate(t.Context(), rule.Expr, time.Unix(0, 0), time.Unix(0, 0).Add(at), every)
	if err != nil {
		t.Fatalf("%s: %v", rule.Alert, err)
	}
	for _, series := range m {
		since := at + every
		for i, p := range slices.Backward(series.Floats) {
			expected := at - time.Duration(len(series.Floats)-1-i)*every
			if time.Duration(p.T)*time.Millisecond != expected {
				break // it did not hold in between
			}
			since = expected
		}
		if at-since >= time.Duration(rule.For) && since <= at {
			b := labels.NewBuilder(series.Metric)
			b.Del("__name__")
			for name, value := range rule.Labels {
				b.Set(name, value)
			}
			list = append(list, b.Labels())
			last := series.Floats[len(series.Floats)-1]
			for name, text := range rule.Annotations {
				if _, err := expand(t, text, series.Metric, last); err != nil {
					t.Errorf("%s: its %s: %v", rule.Alert, name, err)
				}
			}
		}
	}
	return list
}

// expand makes what an alert says of its annotation. A label that the alert does not have is
// an error.
func expand(t *testing.T, text string, of labels.Labels, at promql.FPoint) (string, error) {
	t.Helper()
	const known = "{{$labels := .Labels}}{{$value := .Value}}" // as Prometheus has it
	data := template.AlertTemplateData(of.Map(), nil, "", promql.Sample{T: at.T, F: at.F, Metric: of})
	return template.NewTemplateExpander(t.Context(), known+text, "annotation", data, model.Time(at.T), nil, nil, []string{"missingkey=error"}).Expand()
}
