package readmodel

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// observeTimeout bounds one look at the read model.
const observeTimeout = 10 * time.Second

// Observer exports how large the read model is, and which generations there are. Each
// scrape gets all of one look.
type Observer struct {
	server   *Server
	interval time.Duration
	log      *slog.Logger

	read, kept         *prometheus.Desc
	parts, rows, bytes *prometheus.Desc
	failures           prometheus.Counter

	seen atomic.Pointer[[]prometheus.Metric] // by the last look; nil: nothing
}

// NewObserver makes an observer that looks every so often while it runs.
func NewObserver(server *Server, interval time.Duration, log *slog.Logger, r prometheus.Registerer) *Observer {
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("convoview_readmodel_"+name, help, labels, nil)
	}
	o := &Observer{
		server: server, interval: interval, log: log,
		read:  gauge("generation_read", "The generation of the read model that the registry says is read."),
		kept:  gauge("generation_kept", "1 for each generation that projectors write, with its state: filling, or filled when it has everything.", "generation", "state"),
		parts: gauge("table_parts", "Active parts of a table of a generation. ClickHouse delays inserts, then refuses them, when there are too many.", "generation", "table"),
		rows:  gauge("table_rows", "Rows of a table of a generation, those that are not merged yet counted each.", "generation", "table"),
		bytes: gauge("table_bytes", "Bytes on disk of a table of a generation.", "generation", "table"),
		failures: promauto.With(r).NewCounter(prometheus.CounterOpts{
			Name: "convoview_readmodel_observe_failures_total",
			Help: "Looks at the read model that failed; what is exported of it is then not there.",
		}),
	}
	r.MustRegister(o)
	return o
}

// Describe implements prometheus.Collector.
func (o *Observer) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{o.read, o.kept, o.parts, o.rows, o.bytes} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (o *Observer) Collect(to chan<- prometheus.Metric) {
	if seen := o.seen.Load(); seen != nil {
		for _, m := range *seen {
			to <- m
		}
	}
}

// Run looks until ctx ends.
func (o *Observer) Run(ctx context.Context) error {
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for told := false; ; {
		err := o.observe(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			o.failures.Inc()
			o.seen.Store(nil) // it may be anything by now
			if !told {
				o.log.Warn("cannot look how large the read model is; trying again", "error", err)
			}
		}
		told = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (o *Observer) observe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	r, err := o.server.Registry(ctx)
	if err != nil {
		return err
	}
	sizes, err := o.server.sizes(ctx, r)
	if err != nil {
		return err
	}
	var seen []prometheus.Metric
	see := func(d *prometheus.Desc, v float64, labels ...string) {
		seen = append(seen, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...))
	}
	see(o.read, float64(r.Current))
	for _, g := range r.Generations {
		if g.Kept() {
			see(o.kept, 1, strconv.Itoa(g.Number), g.State.String())
		}
	}
	for at, s := range sizes {
		generation := strconv.Itoa(at.generation)
		see(o.parts, float64(s.parts), generation, at.table)
		see(o.rows, float64(s.rows), generation, at.table)
		see(o.bytes, float64(s.bytes), generation, at.table)
	}
	o.seen.Store(&seen)
	return nil
}

// tableOf names a table of a generation.
type tableOf struct {
	generation int
	table      string
}

// size is how large a table is.
type size struct{ parts, rows, bytes uint64 }

// sizes gives the sizes of all tables of the generations that are kept, empty ones too.
func (s *Server) sizes(ctx context.Context, r Registry) (map[tableOf]size, error) {
	sizes := map[tableOf]size{}
	numbers, names := map[string]int{}, []string{}
	for _, g := range r.Generations {
		if g.Kept() {
			db := s.Generation(g.Number).db
			numbers[db], names = g.Number, append(names, "'"+db+"'")
		}
	}
	query := "SELECT database, t.name, count(p.name), sum(p.rows), sum(p.bytes_on_disk) FROM system.tables AS t " +
		"LEFT JOIN (SELECT * FROM system.parts WHERE active) AS p ON p.database = t.database AND p.table = t.name " +
		"WHERE t.engine LIKE '%MergeTree' AND t.database IN (" + strings.Join(names, ", ") + ") GROUP BY ALL SETTINGS join_use_nulls = 1"
	err := s.each(ctx, query, func(scan func(...any) error) error {
		var db, table string
		var found size
		var rows, bytes *uint64
		if err := scan(&db, &table, &found.parts, &rows, &bytes); err != nil {
			return err
		}
		if rows != nil && bytes != nil {
			found.rows, found.bytes = *rows, *bytes
		}
		sizes[tableOf{numbers[db], table}] = found
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read system.parts: %w", classify(ctx, err))
	}
	return sizes, nil
}
