package readmodel_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestStore_InsertsBatches writes batches by one INSERT per table where there are
// connections enough for all, and one by one where there are not.
func TestStore_InsertsBatches(t *testing.T) {
	const needed = 8 + 8 // one for each table, and those of others
	all := rapid.Custom(func(rt *rapid.T) []events.Event { return projectiontest.Tied(rt, 200) }).Example(1)
	for _, connections := range []int{1, needed - 1, needed} {
		t.Run(fmt.Sprintf("%d connections", connections), func(t *testing.T) {
			config := readmodeltest.Config(t)
			config.MaxConnections = connections
			store := readmodeltest.New(t, config).Generation(1)
			conn := sandboxtest.ClickHouse(t)
			if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES "+store.Database()+".registers"); err != nil {
				t.Fatal(err)
			}
			n := 0
			err := store.Insert(t.Context(), func(yield func([]*projection.Model, []events.Event) bool) {
				for batch := range slices.Chunk(all, 1+len(all)/10) {
					if n++; !yield([]*projection.Model{fold(batch)}, nil) {
						return
					}
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if n < 5 {
				t.Fatalf("only %d batches", n)
			}
			compare(t, t, store, fold(all))

			var inserted, partitions uint64
			row := conn.QueryRow(t.Context(), "SELECT count(), uniqExact(partition) FROM system.parts WHERE level = 0 AND table = 'registers' AND database = '"+store.Database()+"'")
			if err := row.Scan(&inserted, &partitions); err != nil {
				t.Fatal(err)
			}
			if one := inserted == partitions; one != (connections >= needed) {
				t.Errorf("%d batches were inserted as %d parts of %d partitions", n, inserted, partitions)
			}
		})
	}
}
