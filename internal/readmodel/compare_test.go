package readmodel_test

import (
	"fmt"
	"testing"

	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestStore_Ranges holds that each key is in one range, whichever generation has it.
func TestStore_Ranges(t *testing.T) {
	ours := open(t)
	theirs, err := ours.Add(t.Context(), readmodel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const users = 400
	m, others := projection.NewModel(), projection.NewModel()
	for i := range users {
		key := projection.UserKey{App: fmt.Sprintf("app '%d\\", i%3), UserID: fmt.Sprintf("user '%d\\", i)}
		m.Erased[key] = struct{}{}
		others.Erased[projection.UserKey{App: key.App, UserID: "other " + key.UserID}] = struct{}{}
	}
	for store, m := range map[*readmodel.Store]*projection.Model{ours: m, theirs: others} {
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	ranges, err := ours.Ranges(t.Context(), theirs, "erased_users", 20)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ranges); n < 5 || n > 80 {
		t.Errorf("%d ranges of about 20 of %d rows", n, users)
	}
	conn := sandboxtest.ClickHouse(t)
	for _, store := range []*readmodel.Store{ours, theirs} {
		var all uint64
		for _, where := range ranges {
			var n uint64
			if err := conn.QueryRow(t.Context(), "SELECT count() FROM "+store.Database()+".erased_users WHERE "+where).Scan(&n); err != nil {
				t.Fatal(err)
			}
			all += n
		}
		if all != users {
			t.Errorf("%d rows are in the ranges of generation %d, want %d", all, store.Number(), users)
		}
	}
}
