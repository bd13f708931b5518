package security

import (
	"errors"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// accessDenied is the engine's code for who may not do something.
const accessDenied = 497

// TestRoles holds that each command does its work under its own role, in every generation
// that comes and goes, and that the role allows nothing else.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	operator := w.settings("operator", "operator")
	// The engine has its roles from the start, and keeps no others.
	if said := w.mustRun(w.settings(admin, "operator"), "projector", "migrate"); !strings.Contains(said, "no roles are made: this server keeps no roles") {
		t.Errorf("it says %s", said)
	}
	w.mustRun(operator, "projector", "migrate", "--roles=false") // again, and as who may no more

	w.project()
	w.serve()
	w.awaitShown("demo", w.send("demo"))

	w.mustRun(operator, "projector", "rebuild")
	w.mustRun(operator, "projector", "verify", "2", "--strict")
	for _, who := range []map[string]string{operator, w.settings("projector", "operator")} {
		w.mustRun(who, "projector", "verify", "2", "--sample", "100")
	}
	w.mustRun(operator, "projector", "switch", "2")
	w.awaitShown("demo", w.send("demo"))
	w.mustRun(operator, "projector", "rollback")
	w.mustRun(operator, "projector", "switch", "2")
	w.mustRun(operator, "projector", "rebuild", "--base")
	w.mustRun(operator, "projector", "switch", "3")
	w.mustRun(operator, "projector", "generations", "drop", "1")
	w.mustRun(operator, "projector", "generations", "list")
	w.awaitShown("demo", w.send("demo"))

	w.exec(admin, "INSERT INTO "+database+".generations (generation, state) SELECT 2, 'dropped'", 0) // and its tables stay
	w.erase("demo", "bob")
	w.awaitShown("demo", `"conversationList":[]`)
	if said := w.mustRun(w.settings("projector", "operator"), "projector", "sweep", "--json"); !strings.Contains(said, `{"generation":2,`) || !strings.Contains(said, `"erasedUsers":1`) {
		t.Errorf("it has swept %s", said)
	}

	// A view is read as whoever has made it, whatever the generation is that it shows.
	for _, view := range []string{"messages", "conversations", "reads", "group_members", "group_profiles", "user_profiles", "activity_daily", "activity_user_daily"} {
		w.exec("analyst", "SELECT * FROM "+database+"."+view+" WHERE app = 'demo'", 0)
	}

	for _, c := range []struct{ account, statement string }{
		{"analyst", "SELECT * FROM {db}_g3.messages"},
		{"analyst", "SELECT * FROM {db}_g3.user_profiles"},
		{"analyst", "SELECT * FROM {db}.generations"},
		{"analyst", "INSERT INTO {db}.messages SELECT * FROM {db}.messages"},
		{"analyst", "DROP VIEW {db}.messages"},
		{"analyst", "CREATE OR REPLACE VIEW {db}.messages AS SELECT 1"},
		{"analyst", "SELECT * FROM file('/etc/hostname', 'LineAsString')"},
		{"analyst", "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"},
		{"analyst", "SELECT * FROM remote('127.0.0.1', '{db}_g3.messages')"},

		{"query", "INSERT INTO {db}_g3.erased_users VALUES ('demo', 'ann')"},
		{"query", "INSERT INTO {db}.generations (generation) SELECT 9"},
		{"query", "INSERT INTO {db}.left_out VALUES ('a', 'b')"},
		{"query", "SELECT * FROM {db}.messages"},
		{"query", "CREATE TABLE {db}.switch_99 (generation UInt32) ENGINE = Null"},
		{"query", "ALTER TABLE {db}_g3.registers DELETE WHERE 1"},
		{"query", "TRUNCATE TABLE {db}_g3.registers"},
		{"query", "DROP DATABASE {db}_g3"},

		{"projector", "INSERT INTO {db}.generations (generation) SELECT 9"},
		{"projector", "INSERT INTO {db}.left_out VALUES ('a', 'b')"},
		{"projector", "CREATE TABLE {db}.switch_99 (generation UInt32) ENGINE = Null"},
		{"projector", "CREATE DATABASE {db}_g9"},
		{"projector", "CREATE TABLE {db}_g3.more (a String) ENGINE = Null"},
		{"projector", "TRUNCATE TABLE {db}_g3.registers"},
		{"projector", "DROP TABLE {db}_g3.registers"},
		{"projector", "DROP DATABASE {db}_g3"},

		{"operator", "DROP DATABASE {db}"},
		{"operator", "DROP TABLE {db}.generations"},
		{"operator", "ALTER TABLE {db}_g3.registers DELETE WHERE 1"},
		{"operator", "TRUNCATE TABLE {db}_g3.registers"},
		{"operator", "CREATE DATABASE other"},
		{"operator", "GRANT SELECT ON {db}_g3.* TO analyst"},
		{"operator", "CREATE ROLE other"},
	} {
		w.exec(c.account, strings.ReplaceAll(c.statement, "{db}", database), accessDenied)
	}
	w.exec(admin, "CREATE DATABASE elsewhere", 0)
	w.exec(admin, "CREATE TABLE elsewhere.secrets (a String) ENGINE = MergeTree ORDER BY a", 0)
	for _, account := range []string{"projector", "query", "operator", "analyst"} {
		w.exec(account, "SELECT * FROM elsewhere.secrets", accessDenied)
		w.exec(account, "CREATE USER mallory", accessDenied)
	}
}

// TestRoles_Migrate holds that who may not make roles is told what to do, when all else is done.
func TestRoles_Migrate(t *testing.T) {
	w := newWorld(t)
	said, err := w.run(w.settings("operator", "operator"), "projector", "migrate")
	for _, want := range []string{"the tables of database convoview are there", "CREATE ROLE IF NOT EXISTS projector: this account may not", "--print-roles", "--roles=false"} {
		if err == nil || !strings.Contains(said, want) {
			t.Errorf("%v: it says %s, want %q in it", err, said, want)
		}
	}
	printed := w.mustRun(map[string]string{"CLICKHOUSE_DATABASE": "chats"}, "projector", "migrate", "--print-roles")
	if n := strings.Count(printed, "CREATE ROLE"); n != 4 || !strings.Contains(printed, "GRANT SELECT ON chats_g*.* TO query;\n") {
		t.Errorf("it prints %s", printed)
	}
}

// exec runs a statement as an account, which must fail with a code; 0: it must not.
func (w *world) exec(account, statement string, code int32) {
	w.t.Helper()
	conn, err := driver.Open(&driver.Options{
		Addr: []string{w.engine.Addr()}, Auth: driver.Auth{Username: account, Password: w.secrets["clickhouse-"+account]}, TLS: w.tlsConfig(),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = conn.Exec(w.t.Context(), statement)
	exception := (*driver.Exception)(nil)
	switch {
	case code == 0 && err != nil:
		w.t.Errorf("%s: %s: %v", account, statement, err)
	case code != 0 && (!errors.As(err, &exception) || exception.Code != code):
		w.t.Errorf("%s: %s: got %v, want the code %d", account, statement, err, code)
	}
}
