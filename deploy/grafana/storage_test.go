package grafana_test

import (
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
)

var queries = parser.NewParser(parser.Options{})

// storage is Prometheus' own, with its engine.
type storage struct {
	*tsdb.DB
	engine *promql.Engine
	// kinds and names of labels, by the name of a metric without what is added to it.
	kinds  map[string]string
	labels map[string][]string
}

func newStorage(t *testing.T) *storage {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &storage{
		DB: db,
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: queries,
		}),
		kinds: map[string]string{}, labels: map[string][]string{},
	}
	t.Cleanup(func() {
		if err := errors.Join(s.engine.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// sample is one value of a series.
type sample struct {
	labels.Labels
	at    time.Time
	value float64
}

func (s *storage) add(t *testing.T, samples ...sample) {
	t.Helper()
	appender := s.Appender(t.Context())
	for _, one := range samples {
		if _, err := appender.Append(0, one.Labels, one.at.UnixMilli(), one.value); err != nil {
			t.Fatalf("%v: %v", one.Labels, err)
		}
	}
	if err := appender.Commit(); err != nil {
		t.Fatal(err)
	}
}

// parts are what a name of a histogram's series has at its end.
var parts = []string{"_bucket", "_sum", "_count"}

// scraped adds what a target has said, and notes what kinds of metrics there are.
func (s *storage) scraped(t *testing.T, body []byte, job, instance string, at time.Time) {
	t.Helper()
	p, err := textparse.New(body, "text/plain; version=0.0.4", nil, textparse.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all []sample
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("metrics of %s: %v", job, err)
		}
		switch entry {
		case textparse.EntryType:
			name, kind := p.Type()
			s.kinds[string(name)] = string(kind)
		case textparse.EntrySeries:
			var of labels.Labels
			p.Labels(&of)
			_, _, value := p.Series()
			s.note(of)
			b := labels.NewBuilder(of)
			b.Set("job", job)
			b.Set("instance", instance)
			all = append(all, sample{b.Labels(), at, value})
		default:
		}
	}
	all = append(all, sample{labels.FromStrings("__name__", "up", "job", job, "instance", instance), at, 1})
	s.add(t, all...)
}

// note notes the names of labels that a metric has.
func (s *storage) note(of labels.Labels) {
	name := s.base(of.Get("__name__"))
	of.Range(func(l labels.Label) {
		if l.Name != "__name__" && l.Name != "le" && l.Name != "quantile" && !slices.Contains(s.labels[name], l.Name) {
			s.labels[name] = append(s.labels[name], l.Name)
		}
	})
}

// base is the name of the metric to which a series belongs.
func (s *storage) base(series string) string {
	for _, part := range parts {
		if name, ok := strings.CutSuffix(series, part); ok && (s.kinds[name] == "histogram" || s.kinds[name] == "summary") {
			return name
		}
	}
	return series
}

// evaluate gives what a query comes to between two times.
func (s *storage) evaluate(ctx context.Context, query string, from, to time.Time, step time.Duration) (promql.Matrix, error) {
	q, err := s.engine.NewRangeQuery(ctx, s, nil, query, from, to, step)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	m, err := result.Matrix()
	if err != nil {
		return nil, err
	}
	kept := promql.Matrix{} // what the query has must outlive it
	for _, series := range m {
		kept = append(kept, promql.Series{Metric: series.Metric, Floats: slices.Clone(series.Floats)})
	}
	return kept, nil
}

// hasData reports whether a result has a number in it.
func hasData(m promql.Matrix) bool {
	return slices.ContainsFunc(m, func(series promql.Series) bool {
		return slices.ContainsFunc(series.Floats, func(p promql.FPoint) bool { return !math.IsNaN(p.F) })
	})
}

// metricsOf gives the series that a query asks for.
func metricsOf(t *testing.T, query string) []string {
	t.Helper()
	expr, err := queries.ParseExpr(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	var names []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			names = append(names, v.Name)
		}
		return nil
	})
	return names
}
