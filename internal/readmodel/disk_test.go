package readmodel_test

import (
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/convoview/convoview/internal/readmodel"
)

// TestStore_OldPartsAreOnTheDisk has the engine merge many parts, and holds that they are
// off the disk when there are no old ones any more: it takes a while to remove so many.
func TestStore_OldPartsAreOnTheDisk(t *testing.T) { inBothForms(t, oldPartsAreOnTheDisk) }

func oldPartsAreOnTheDisk(t *testing.T, open func(testing.TB) *readmodel.Store) {
	store := open(t)
	plain(t, store)
	conn := connection(t, store)
	var table, path string
	if err := conn.QueryRow(t.Context(), "SELECT name, data_paths[1] FROM system.tables WHERE startsWith(name, 'erased_users') AND endsWith(engine, 'MergeTree') AND database = '"+store.Database()+"'").Scan(&table, &path); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"SYSTEM STOP MERGES " + table,
		"INSERT INTO " + table + " (app, user_id) SELECT 'demo', toString(number) FROM numbers(300) SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1",
		"SYSTEM START MERGES " + table,
		"OPTIMIZE TABLE " + table + " FINAL",
	} {
		if err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	all := map[readmodel.OldPart]struct{}{}
	for {
		old, err := store.OldParts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(old) == 0 {
			break
		}
		maps.Copy(all, old)
	}
	if len(all) < 300 {
		t.Errorf("%d old parts were seen, want 300", len(all))
	}
	for p := range all {
		if _, err := os.Stat(filepath.Join(path, p.Name)); !os.IsNotExist(err) {
			t.Errorf("%s is on the disk: %v", p.Name, err)
		}
	}
}

// search finds the files of the engine that have a text, those of erased_users aside.
func search(t *testing.T, store *readmodel.Store, text string) (found []string) {
	t.Helper()
	var skip string
	if err := connection(t, store).QueryRow(context.WithoutCancel(t.Context()), "SELECT data_paths[1] FROM system.tables WHERE startsWith(name, 'erased_users') AND endsWith(engine, 'MergeTree') AND database = '"+store.Database()+"'").Scan(&skip); err != nil {
		t.Fatal(err)
	}
	skip = filepath.Clean(skip)
	root := filepath.Dir(filepath.Dir(filepath.Dir(skip)))
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if path == skip {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		if bytes.Contains(content, []byte(text)) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
