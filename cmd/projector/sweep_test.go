package main

import (
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestSweep says what is left, takes it out, and says what it has taken.
func TestSweep(t *testing.T) {
	config := readmodeltest.Config(t)
	server := readmodeltest.New(t, config)
	conn, err := clickhouse.Open(sandboxtest.Options(t, config.Database+"_g1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.Exec(t.Context(), "ALTER TABLE user_profiles MODIFY SETTING old_parts_lifetime = 0"); err != nil {
		t.Fatal(err)
	}
	m := projection.NewModel()
	for id, body := range map[string]events.Body{"1": &events.UserProfileChanged{UserID: "dave", Nick: "Dave"}, "2": &events.UserErased{UserID: "dave"}} {
		m.Fold(events.Event{ID: id, App: "demo", Time: events.MicrosOf(time.Now()), Body: body})
	}
	if err := server.Generation(1).Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ flags, want string }{
		{"--dry-run", "\n1           user_profiles   1               0\n"},
		{"--dry-run", "\n1 rows have something of 1 erased users\n"},
		{"--dry-run --json", `{"generation":1,"table":"user_profiles","deleted":1,"blanked":0}` + "\n"},
		{"--dry-run --json", `{"erasedUsers":1,"deleted":1,"blanked":0,"dryRun":true}` + "\n"},
		{"", "\n1           user_profiles   1             0\n"},
		{"", "\nswept; what was found of 1 erased users is gone; it took "},
		{"--dry-run", "\nno row has anything of 1 erased users\n"},
		{"--json", `{"erasedUsers":1,"deleted":0,"blanked":0,"dryRun":false}` + "\n"},
	} {
		if c.want == "\nswept; what was found of 1 erased users is gone; it took " { // was run by the one before
			if err := server.Generation(1).Write(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		args := append([]string{"sweep", "--clickhouse-addresses", config.Addresses[0], "--clickhouse-database", config.Database}, strings.Fields(c.flags)...)
		if err := run(t.Context(), args, func(string) string { return "" }, &out); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("sweep %s: got\n%s\nwant in it %q", c.flags, out.String(), c.want)
		}
	}
}
