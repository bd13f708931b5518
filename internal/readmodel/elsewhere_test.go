package readmodel_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// Elsewhere two stores drifted apart when a write had reached only one of them
// (OpenIM #3080, #3249, #3436). Here a batch that fails at any one table is
// written again, and everything is as if it had never failed.
func TestElsewhere_TwoStoresThatDriftApart(t *testing.T) {
	store := open(t)
	conn := sandboxtest.ClickHouse(t)
	rename := func(from, to string) {
		t.Helper()
		if err := conn.Exec(t.Context(), fmt.Sprintf("RENAME TABLE %[1]s.%[2]s TO %[1]s.%[3]s", store.Database(), from, to)); err != nil {
			t.Fatal(err)
		}
	}
	// Every table gets rows of every one of the batches.
	chat := rapid.Custom(func(t *rapid.T) []events.Event { return projectiontest.Events(t, 200) }).Filter(fillsEveryTable)
	var tables []string
	if err := conn.QueryRow(t.Context(), "SELECT groupArray(name) FROM system.tables WHERE database = ? AND engine LIKE '%MergeTree'",
		store.Database()).Scan(&tables); err != nil || len(tables) == 0 {
		t.Fatalf("tables %v: %v", tables, err)
	}
	want := projection.NewModel()
	var all []events.Event
	for i, table := range tables {
		list := chat.Example(i)
		for j := range list { // an ID names one event
			list[j].ID = fmt.Sprintf("%d-%s", i, list[j].ID)
		}
		all = append(all, list...)
		batch := fold(list)
		want.Merge(batch)
		rename(table, "away")
		if err := store.Write(t.Context(), batch); err == nil {
			t.Errorf("without table %s the write succeeded", table)
		}
		rename("away", table)
		if err := store.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		compare(t, t, store, want)
		if diff := cmp.Diff(countActivity(all), readActivity(t, t, store, "")); diff != "" {
			t.Errorf("activity (-want +got):\n%s", diff)
		}
	}
}

func fillsEveryTable(list []events.Event) bool {
	m := fold(list)
	var recalled, mentioned bool
	for _, s := range m.States {
		recalled = recalled || len(s.Recalled) > 0
		mentioned = mentioned || len(s.Mentions) > 0
	}
	senders := slices.ContainsFunc(slices.Collect(maps.Values(m.Messages)), func(m *projection.Message) bool { return m.From != "" })
	return recalled && mentioned && senders && len(m.Edits) > 0 && len(m.Messages) > 0 &&
		len(m.Users) > 0 && len(m.Groups) > 0 && len(m.Plans) > 0 && len(m.Erased) > 0
}

func fold(list []events.Event) *projection.Model {
	m := projection.NewModel()
	for _, e := range list {
		m.Fold(e)
	}
	return m
}
