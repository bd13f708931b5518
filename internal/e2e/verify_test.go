package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// verify compares the second generation with the first.
func (s *system) verify(most int) (differences []readmodel.Difference, whole bool) {
	s.t.Helper()
	offsets, err := ingest.NewOffsets(s.ingest())
	if err != nil {
		s.t.Fatal(err)
	}
	defer offsets.Close()
	v := rebuild.Verify{
		Ours: s.readModel.Generation(2), Theirs: s.readModel.Generation(1), Offsets: offsets,
		MaxDifferences: most, Interval: time.Millisecond, Log: s.log(), Progress: func(readmodel.Compared) {},
	}
	differences, whole, err = v.Run(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return differences, whole
}

// TestVerify_NamesWhatDiffers compares a rebuilt generation with the live one, while
// the chat goes on and after it, and then with one field changed, a row added and a row
// gone in each table.
func TestVerify_NamesWhatDiffers(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	s := newSystemOf(t, rng, messagePartitions, statePartitions)
	s.project()
	half := len(chat) / 2
	s.send(chat[:half]...)
	s.settle()
	if err := s.rebuild(func(rebuild.Progress) bool { return false }); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for portion := range slices.Chunk(chat[half:], 20) {
			s.send(portion...)
		}
	}()
	for under := true; under; {
		select {
		case <-sent:
			under = false
		default:
		}
		if found, whole := s.verify(100); len(found) > 0 || !whole {
			t.Fatalf("generations of one chat differ: %+v", found)
		}
	}

	conn, db := sandboxtest.ClickHouse(t), s.database+"_g2"
	var recall string // a key
	if err := conn.QueryRow(t.Context(), "SELECT toString(min((app, type, a, b, sequence))) FROM "+db+".edits WHERE edit = 'recall'").Scan(&recall); err != nil {
		t.Fatal(err)
	}
	exec := func(query string) {
		t.Helper()
		if err := conn.Exec(t.Context(), strings.NewReplacer("{db}", db, "{recall}", recall).Replace(query)); err != nil {
			t.Fatal(err)
		}
	}
	var before []readmodel.Difference
	for _, c := range []struct{ change, table, key, ours, theirs string }{
		{
			"INSERT INTO {db}.registers SELECT 'demo', 'x''y\\\\', 'C2Cz', 'read', (7, 0, '', '')",
			"registers", `= ('demo','x\'y\\','C2Cz','read')`, "(7,0,'','')", "",
		},
		{
			"INSERT INTO {db}.registers SELECT app, owner, conversation_id, register, (g.1, g.2 + 1, g.3, 'zzz') FROM (SELECT app, owner, conversation_id, register, max(greatest) AS g FROM {db}.registers WHERE register = 'draft' GROUP BY ALL LIMIT 1)",
			"registers", "'draft')", "zzz", "(0,",
		},
		{
			"INSERT INTO {db}.sequences SELECT app, owner, conversation_id, day, kind, bitmapBuild([toUInt64(4000000000)]) FROM {db}.sequences WHERE kind = 'counted' LIMIT 1",
			"sequences", ")", "4000000000", "(1,[",
		},
		{
			"ALTER TABLE {db}.edits DELETE WHERE (app, type, a, b, sequence) = {recall} AND edit = 'recall' SETTINGS mutations_sync = 2",
			"edits", "'recall')", "", "(0,",
		},
		{
			"INSERT INTO {db}.messages (app, type, a, b, day, sequence, time, id, sender) SELECT 'demo', 'GROUP', 'g', '', '2026-01-02', 5, 6, 'e1', 'ann'",
			"messages", "= ('demo','GROUP','g','','2026-01-02',5,6,'e1')", "('ann',", "",
		},
		{
			"INSERT INTO {db}.user_profiles SELECT 'demo', 'nobody', (1, 'e', 'nick')",
			"user_profiles", "= ('demo','nobody')", "(1,'e','nick')", "",
		},
		{
			"INSERT INTO {db}.group_profiles SELECT 'demo', 'nobody', (1, 'e', 'name')",
			"group_profiles", "= ('demo','nobody')", "(1,'e','name')", "",
		},
		{"INSERT INTO {db}.plans SELECT 'third', (1, 'e', 5, 6)", "plans", "= ('third')", "(1,'e',5,6)", ""},
		{"INSERT INTO {db}.erased_users SELECT 'demo', 'nobody'", "erased_users", "= ('demo','nobody')", "1", ""},
	} {
		exec(c.change)
		after, whole := s.verify(100)
		if !whole || len(after) != len(before)+1 {
			t.Fatalf("%s: %d differences, want %d: %+v", c.change, len(after), len(before)+1, after)
		}
		i := slices.IndexFunc(after, func(d readmodel.Difference) bool { return !slices.Contains(before, d) })
		d := after[i]
		is := func(value, part string) bool {
			return part == "" && value == "" || part != "" && strings.Contains(value, part)
		}
		if d.Table != c.table || !strings.HasSuffix(d.Key, c.key) || !is(d.Ours, c.ours) || !is(d.Theirs, c.theirs) {
			t.Errorf("%s: %+v", c.change, d)
		}
		before = after
	}
	if found, whole := s.verify(3); len(found) != 3 || whole {
		t.Errorf("at most 3: %d, whole %t", len(found), whole)
	}
}
