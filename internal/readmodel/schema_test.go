package readmodel_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestMigrate_CommentsEveryColumn finds a comment on every column and table that somebody may read.
func TestMigrate_CommentsEveryColumn(t *testing.T) {
	store := open(t)
	conn := sandboxtest.ClickHouse(t)
	var columns uint64
	if err := conn.QueryRow(t.Context(), `SELECT count() FROM system.columns WHERE database = '`+store.Database()+`'`).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	if columns == 0 {
		t.Fatal("no columns at all")
	}
	rows, err := conn.Query(t.Context(), `
		SELECT table, name FROM system.columns
		WHERE database = '`+store.Database()+`' AND comment = '' AND NOT endsWith(table, '_in') AND NOT endsWith(table, '_mv')
		UNION ALL
		SELECT name, '' FROM system.tables
		WHERE database = '`+store.Database()+`' AND comment = '' AND NOT endsWith(name, '_in') AND NOT endsWith(name, '_mv')`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		t.Errorf("no comment on %s %s", table, column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// TestMigrate_CanBeRepeated runs it beside what is already there, and keeps the rows.
func TestMigrate_CanBeRepeated(t *testing.T) {
	store := open(t)
	m := projection.NewModel()
	m.Fold(event("erased", &events.UserErased{UserID: "ann"}))
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	apps, err := store.Apps(t.Context(), []string{"demo"})
	if err != nil {
		t.Fatal(err)
	}
	if _, erased := apps["demo"].Erased["ann"]; !erased {
		t.Error("the row is gone")
	}
}

// TestCheck_NamesTheCommandThatHelps is what a readiness check shows before the first migration.
func TestCheck_NamesTheCommandThatHelps(t *testing.T) {
	config := readmodel.DefaultConfig()
	config.Addresses = []string{sandboxtest.Start(t).ClickHouseAddr()}
	config.Database = "nothing_here"
	server, err := readmodel.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	store := server.Generation(1)
	if err := store.Check(t.Context()); !errors.Is(err, readmodel.ErrNotMigrated) {
		t.Errorf("got %v, want %v", err, readmodel.ErrNotMigrated)
	}
	// Until somebody does it, the read model is not ready.
	m := projection.NewModel()
	m.Fold(event("erased", &events.UserErased{UserID: "u"}))
	_, readErr := store.Apps(t.Context(), []string{"a"})
	for name, err := range map[string]error{"write": store.Write(t.Context(), m), "read": readErr} {
		var failed *readmodel.Error
		if !errors.As(err, &failed) || !failed.Unavailable() {
			t.Errorf("%s: got %v, want an error that says «away»", name, err)
		}
	}
}

// TestStore_IsAwayWithoutClickHouse tells a server that cannot be reached from one that says no.
func TestStore_IsAwayWithoutClickHouse(t *testing.T) {
	config := readmodel.DefaultConfig()
	config.Addresses = []string{"127.0.0.1:1"}
	server, err := readmodel.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	store := server.Generation(1)
	_, err = store.Apps(t.Context(), []string{"a"})
	var failed *readmodel.Error
	if !errors.As(err, &failed) || !failed.Unavailable() {
		t.Errorf("got %v, want an error that says «away»", err)
	}
}

func TestConfig_Validate(t *testing.T) {
	if err := readmodel.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, change := range map[string]func(*readmodel.Config){
		`clickhouse addresses []: expected one host:port`:            func(c *readmodel.Config) { c.Addresses = nil },
		`clickhouse addresses ["a:1" "b:1"]: expected one host:port`: func(c *readmodel.Config) { c.Addresses = []string{"a:1", "b:1"} },
		`clickhouse addresses "clickhouse": expected host:port`:      func(c *readmodel.Config) { c.Addresses = []string{"clickhouse"} },
		`clickhouse addresses "a:99999": expected host:port`:         func(c *readmodel.Config) { c.Addresses = []string{"a:99999"} },
		`clickhouse addresses "a:0": expected host:port`:             func(c *readmodel.Config) { c.Addresses = []string{"a:0"} },
		`clickhouse addresses are missing: expected host:port`:       func(c *readmodel.Config) { c.Cluster, c.Addresses = "c", nil },
		`clickhouse cluster "{c}": expected`:                         func(c *readmodel.Config) { c.Cluster = "{c}" },
		`clickhouse insert quorum "0": expected`:                     func(c *readmodel.Config) { c.InsertQuorum = "0" },
		`clickhouse insert quorum "all": expected`:                   func(c *readmodel.Config) { c.InsertQuorum = "all" },
		`clickhouse database "": expected`:                           func(c *readmodel.Config) { c.Database = "" },
		`clickhouse database "a;b": expected`:                        func(c *readmodel.Config) { c.Database = "a;b" },
		`clickhouse max connections 5000: expected 1 to`:             func(c *readmodel.Config) { c.MaxConnections = 5000 },
		`clickhouse max connections 0: expected 1 to`:                func(c *readmodel.Config) { c.MaxConnections = 0 },
		`clickhouse dial timeout 0s: expected`:                       func(c *readmodel.Config) { c.DialTimeout = 0 },
		`clickhouse read timeout -1ns: expected`:                     func(c *readmodel.Config) { c.ReadTimeout = -1 },
		`clickhouse write timeout 0s: expected`:                      func(c *readmodel.Config) { c.WriteTimeout = 0 },
		`clickhouse nice 20: expected 0 to 19`:                       func(c *readmodel.Config) { c.Nice = 20 },
		`clickhouse nice -1: expected 0 to 19`:                       func(c *readmodel.Config) { c.Nice = -1 },
	} {
		c := readmodel.DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

// TestWrite_WaitsForTheViews meets a migration that broke off: without a view a Null
// table would take the rows and drop them, and messages would be in no activity.
func TestWrite_WaitsForTheViews(t *testing.T) {
	for _, view := range []string{"registers_mv", "activity_mv", "activity_users_mv"} {
		t.Run(view, func(t *testing.T) {
			made := open(t)
			if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "DROP VIEW "+made.Database()+"."+view); err != nil {
				t.Fatal(err)
			}
			list := []events.Event{sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 7, "e1")}
			m := fold(list)
			if err := made.Write(t.Context(), m); !errors.Is(err, readmodel.ErrNotMigrated) {
				t.Fatalf("got %v, want %v", err, readmodel.ErrNotMigrated)
			}
			if err := made.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := made.Write(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			key := projection.Key{App: "demo", ConversationID: "GROUPg"}
			got, err := made.States(t.Context(), []projection.Key{key})
			if err != nil || got[key] == nil {
				t.Errorf("after the migration: %v, %v", got, err)
			}
			if diff := cmp.Diff(countActivity(list), readActivity(t, t, made, "")); diff != "" {
				t.Errorf("activity (-want +got):\n%s", diff)
			}
		})
	}
}

// TestWrite_WaitsForTheViewsAgain has the tables go under a writer that has seen all of them,
// and come back without their view.
func TestWrite_WaitsForTheViewsAgain(t *testing.T) {
	made := open(t)
	m := fold([]events.Event{sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 7, "e1")})
	if err := made.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	do := func(statement string) {
		t.Helper()
		if err := sandboxtest.ClickHouse(t).Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	do("DROP VIEW " + made.Database() + ".registers_mv")
	do("DETACH TABLE " + made.Database() + ".registers_in")
	if err := made.Write(t.Context(), m); err == nil {
		t.Fatal("written into a table that is not there")
	}
	do("ATTACH TABLE " + made.Database() + ".registers_in")
	if err := made.Write(t.Context(), m); !errors.Is(err, readmodel.ErrNotMigrated) {
		t.Errorf("got %v, want %v", err, readmodel.ErrNotMigrated)
	}
}
