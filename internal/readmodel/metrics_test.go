package readmodel_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
)

// gauges gives the metrics of a registry with the values of their labels.
func gauges(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

func TestObserver(t *testing.T) {
	s := open(t)
	m := projection.NewModel()
	m.Fold(events.Event{ID: "e", App: "demo", Time: events.MicrosOf(time.Now()), Body: &events.UserProfileChanged{UserID: "ann"}})
	if err := s.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	observer := readmodel.NewObserver(s.Server, time.Millisecond, slog.New(slog.DiscardHandler), registry)
	go func() { done <- observer.Run(ctx) }()
	await := func(name string, want float64) map[string]float64 {
		for {
			if all := gauges(t, registry); all[name] == want {
				return all
			}
		}
	}
	all := await("convoview_readmodel_table_rows 1 user_profiles", 1)
	for name, want := range map[string]float64{
		"convoview_readmodel_generation_read":             1,
		"convoview_readmodel_generation_kept 1 filled":    1,
		"convoview_readmodel_table_parts 1 user_profiles": 1,
		"convoview_readmodel_table_parts 1 messages":      0,
		"convoview_readmodel_table_rows 1 messages":       0,
		"convoview_readmodel_table_bytes 1 messages":      0,
		"convoview_readmodel_observe_failures_total":      0,
	} {
		if got, ok := all[name]; got != want || !ok {
			t.Errorf("%s is %v (there: %v), want %v", name, got, ok, want)
		}
	}
	if all["convoview_readmodel_table_bytes 1 user_profiles"] <= 0 {
		t.Error("a row without bytes")
	}
	second, err := s.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	await("convoview_readmodel_generation_kept 2 filling", 1)
	if err := s.DropGeneration(t.Context(), second.Number(), 0); err != nil {
		t.Fatal(err)
	}
	all = await("convoview_readmodel_generation_kept 2 filling", 0)
	if diff := cmp.Diff(1.0, all["convoview_readmodel_generation_kept 1 filled"]); diff != "" {
		t.Errorf("the generation that is read (-want +got):\n%s", diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
