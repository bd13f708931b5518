package readmodel_test

import (
	"fmt"
	"testing"

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
	for i, table := range tables {
		batch := fold(chat.Example(i))
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
	}
}

func fillsEveryTable(list []events.Event) bool {
	m := fold(list)
	var recalled, mentioned bool
	for _, s := range m.States {
		recalled = recalled || len(s.Recalled) > 0
		mentioned = mentioned || len(s.Mentions) > 0
	}
	return recalled && mentioned && len(m.Edits) > 0 && len(m.Messages) > 0 &&
		len(m.Users) > 0 && len(m.Groups) > 0 && len(m.Plans) > 0 && len(m.Erased) > 0
}

func fold(list []events.Event) *projection.Model {
	m := projection.NewModel()
	for _, e := range list {
		m.Fold(e)
	}
	return m
}
