package rebuild_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// lines hears what is logged.
type lines func(line string)

func (l lines) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}

// TestRun_EndsWhenTheRegistryIsBack has the registry be away when everything is read, and holds
// that it is said how many records were no valid events: none of the topics' are.
func TestRun_EndsWhenTheRegistryIsBack(t *testing.T) {
	s, store := newTopics(t, 5), readmodeltest.Config(t)
	server, config := readmodeltest.New(t, store), s.config(t)
	config.ProgressInterval = 10 * time.Millisecond
	rename := func(from, to string) {
		if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "RENAME TABLE "+store.Database+"."+from+" TO "+store.Database+"."+to); err != nil {
			t.Error(err)
		}
	}
	away, heard := false, ""
	log := slog.New(slog.NewTextHandler(lines(func(line string) {
		heard += line
		if strings.Contains(line, "level=WARN msg=\"cannot say that the generation has everything; trying again\"") && away {
			rename("away", "generations")
			away = false
		}
	}), nil))
	r, err := rebuild.Begin(t.Context(), config, server, log)
	if err != nil {
		t.Fatal(err)
	}
	registry, err := server.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As projectors do.
	ends := map[events.Partition]int64{{Topic: s.messages}: 10, {Topic: s.messages, ID: 1}: 10, {Topic: s.state}: 10}
	if err := server.Cover(t.Context(), registry, r.Generation(), ends); err != nil {
		t.Fatal(err)
	}
	err = r.Run(t.Context(), events.NewDecoder(events.DefaultLimits()), prometheus.NewRegistry(), func(p rebuild.Progress) {
		if p.Done == 30 {
			rename("generations", "away")
			away = true
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if away {
		t.Error("it has not said that it tries again")
	}
	registry, err = server.Registry(t.Context())
	if g, _ := registry.Find(r.Generation()); err != nil || g.State != readmodel.Filled {
		t.Errorf("%+v, %v", g, err)
	}
	if !strings.Contains(heard, "level=WARN msg=\"left out what is no valid event by the limits of this rebuild\" generation=2 events=30\n") {
		t.Errorf("log: %s", heard)
	}
}
