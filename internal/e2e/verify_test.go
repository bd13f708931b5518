package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// verify compares the second generation with the first.
func (s *system) verify(now time.Time, strict bool, most int) *rebuild.Verified {
	s.t.Helper()
	offsets, err := ingest.NewOffsets(s.ingest())
	if err != nil {
		s.t.Fatal(err)
	}
	defer offsets.Close()
	v := rebuild.Verify{
		Ours: s.readModel.Generation(2), Theirs: s.readModel.Generation(1), Offsets: offsets,
		Strict: strict, Now: now, MaxDifferences: most, Interval: time.Millisecond, Log: s.log(), Progress: func(readmodel.Compared) {},
	}
	found, err := v.Run(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// notErased is the condition that expressions give no users who were erased: what is
// theirs is not compared.
func notErased(users ...string) string {
	for i, u := range users {
		users[i] = "(app, " + u + ") NOT IN (SELECT app, user_id FROM {db}.erased_users)"
	}
	return strings.Join(users, " AND ")
}

// TestVerify_NamesWhatDiffers compares a rebuilt generation with the live one, while
// the chat goes on and after it, and then with one field changed, a row added and a row
// gone in each table.
func TestVerify_NamesWhatDiffers(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
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
		if found := s.verify(now, rng.IntN(2) == 0, 100); len(found.Differences) > 0 || !found.Whole {
			t.Fatalf("generations of one chat differ: %+v", found)
		}
	}

	conn, db := sandboxtest.ClickHouse(t), s.database+"_g2"
	var recall string // a key
	if err := conn.QueryRow(t.Context(), "SELECT toString(min((app, type, a, b, sequence))) FROM "+db+".edits WHERE edit = 'recall' AND "+strings.ReplaceAll(notErased("a", "b"), "{db}", db)).Scan(&recall); err != nil {
		t.Fatal(err)
	}
	exec := func(query string) {
		t.Helper()
		if err := conn.Exec(t.Context(), strings.NewReplacer("{db}", db, "{recall}", recall).Replace(query)); err != nil {
			t.Fatal(err)
		}
	}
	var before []rebuild.Difference
	for _, c := range []struct {
		change, tables, key, ours, theirs string // the key and the values are of the first table
	}{
		{
			"INSERT INTO {db}.registers SELECT 'demo', 'x''y\\\\', 'C2Cz', 'read', (7, 0, '', '')",
			"registers", `= ('demo','x\'y\\','C2Cz','read')`, "(7,0,'','')", "",
		},
		{
			"INSERT INTO {db}.registers SELECT app, owner, conversation_id, register, (g.1, g.2 + 1, g.3, 'zzz') FROM (SELECT app, owner, conversation_id, register, max(greatest) AS g FROM {db}.registers WHERE register = 'draft' AND " + notErased("owner", "substring(conversation_id, 4)") + " GROUP BY ALL LIMIT 1)",
			"registers", "'draft')", "zzz", "(0,",
		},
		{
			"INSERT INTO {db}.sequences SELECT app, owner, conversation_id, day, kind, bitmapBuild([toUInt64(4000000000)]) FROM {db}.sequences WHERE kind = 'counted' AND " + notErased("owner", "substring(conversation_id, 4)") + " ORDER BY day DESC LIMIT 1", // old days may be dropped
			"sequences", ")", "4000000000", "(1,[",
		},
		{
			"ALTER TABLE {db}.edits DELETE WHERE (app, type, a, b, sequence) = {recall} AND edit = 'recall' SETTINGS mutations_sync = 2",
			"edits", "'recall')", "", "(0,",
		},
		{
			"INSERT INTO {db}.messages (app, type, a, b, day, sequence, time, id, sender) SELECT 'demo', 'GROUP', 'g', '', '2026-01-02', 5, 6, 'e1', 'ann'",
			"messages activity activity_users", "= ('demo','GROUP','g','','2026-01-02',5,6,'e1')", "('ann',", "",
		},
		{
			"INSERT INTO {db}.activity SELECT app, day, type, slice, uniqExactState('g', '', toUInt64(5), toInt64(6), 'e2'), uniqExactState('nobody'), uniqExactState('g', '') FROM (SELECT app, day, type, slice FROM {db}.activity WHERE type = 'C2C' LIMIT 1) GROUP BY ALL",
			"activity", ")", "((", "((",
		},
		{
			"INSERT INTO {db}.activity_users SELECT 'demo', 'nobody', '2026-01-02', uniqExactState('GROUP', 'g', '', toUInt64(5), toInt64(6), 'e1'), uniqExactState('GROUP', 'g', '')",
			"activity_users", "= ('demo','nobody','2026-01-02')", "((1,", "",
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
		{"INSERT INTO {db}.erased_users SELECT 'demo', 'somebody', 'e'", "erased_users", "= ('demo','somebody')", "1", ""},
	} {
		exec(c.change)
		found := s.verify(now, true, 100)
		after := found.Differences
		var tables []string
		var d rebuild.Difference
		for _, a := range after {
			if slices.ContainsFunc(before, func(b rebuild.Difference) bool { return b.Table == a.Table && b.Key == a.Key }) {
				continue
			}
			if len(tables) == 0 {
				d = a
			}
			tables = append(tables, a.Table)
		}
		if want := strings.Fields(c.tables); !found.Whole || !slices.Equal(tables, want) || len(after) != len(before)+len(want) {
			t.Fatalf("%s: differences in %v, want %v: %+v", c.change, tables, want, after)
		}
		is := func(value, part string) bool {
			return part == "" && value == "" || part != "" && strings.Contains(value, part)
		}
		if !strings.HasSuffix(d.Key, c.key) || !is(d.Ours, c.ours) || !is(d.Theirs, c.theirs) {
			t.Errorf("%s: %+v", c.change, d)
		}
		before = after
	}
	if found := s.verify(now, true, 3); len(found.Differences) != 3 || found.Whole {
		t.Errorf("at most 3: %d, whole %t", len(found.Differences), found.Whole)
	}
}

// TestVerify_ByReplies changes one row after the other, and wants those named that
// change a reply, with the fields that do.
func TestVerify_ByReplies(t *testing.T) {
	s := newSystem(t)
	s.project()
	at := func(ago time.Duration) events.Micros { return events.MicrosOf(time.Now().Add(-ago)) }
	annBob, annOld := events.C2C("ann", "bob"), events.C2C("ann", "old")
	hike := events.Group("hi 'ke")
	text := func(c events.Conversation, from string, sequence uint64, at ...string) *events.MessageSent {
		return &events.MessageSent{
			Conversation: c, From: from, MessageID: fmt.Sprint(c.A, sequence), Sequence: sequence, Type: events.TypeText,
			Payload: []byte(`{"text":"hello"}`), MessageForShow: "hello", AtUsers: at,
		}
	}
	var chat []events.Event
	add := func(ago time.Duration, bodies ...events.Body) {
		for _, b := range bodies {
			chat = append(chat, events.Event{ID: fmt.Sprintf("e%d", len(chat)), App: "demo", Time: at(ago), Body: b})
		}
	}
	joined := func(user string) events.Body {
		return &events.GroupMemberChanged{GroupID: "hi 'ke", UserID: user, Status: events.StatusJoined}
	}
	add(20*24*time.Hour, text(annOld, "old", 1), &events.AppPlanChanged{MaxConversations: 100, Retention: 10 * 86_400})
	add(time.Hour,
		text(annBob, "bob", 1), text(annBob, "bob", 2),
		&events.MessageRecalled{Conversation: annBob, Sequence: 2, Revoker: "bob", Reason: "oops"},
		joined("ann"), joined("bob"), joined("eve"), text(hike, "bob", 1, "ann"), text(hike, "bob", 2),
		&events.GroupProfileChanged{GroupID: "hi 'ke", Name: "Hike"}, &events.UserProfileChanged{UserID: "bob", Nick: "Bob"},
		&events.ConversationPinned{ConversationOf: events.ConversationOf{UserID: "ann", ConversationID: "C2Cbob"}, IsPinned: true},
		&events.ConversationRead{ConversationOf: events.ConversationOf{UserID: "eve", ConversationID: "GROUPhi 'ke"}, Sequence: 2},
	)
	// Of another app nobody has said how long it shows messages.
	chat = append(chat, events.Event{ID: "unplanned", App: "unplanned", Time: at(time.Hour), Body: text(events.C2C("fay", "guy"), "guy", 1)})
	s.send(chat...)
	s.settle()
	if err := s.rebuild(func(rebuild.Progress) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if found := s.verify(time.Now(), false, 10); len(found.Differences) > 0 || found.Unshown > 0 || !found.Whole {
		t.Fatalf("generations of one chat differ: %+v", found)
	}
	greatest := func(where, to string) string {
		return "INSERT INTO {db}.registers SELECT app, owner, conversation_id, register, " + to +
			" FROM (SELECT app, owner, conversation_id, register, max(greatest) AS g FROM {db}.registers WHERE " + where + " GROUP BY ALL)"
	}
	for _, c := range []struct {
		change  string
		shown   string // user, conversation, fields; or the table, of what shows everywhere
		unshown int    // rows
	}{
		// What no reply shows.
		{greatest("register = 'last_sequence'", "(g.1 + 5, g.2, g.3, g.4)"), "", 1},
		{greatest("register = 'read' AND owner = 'eve'", "(g.1 + 5, g.2, g.3, g.4)"), "", 1},
		{"INSERT INTO {db}.registers SELECT 'demo', 'ann', 'C2Cold', 'draft', (0, 1, 'e', 'of an expired conversation')", "", 1},
		{"INSERT INTO {db}.registers SELECT 'demo', 'zoe', 'C2Cyan', 'draft', (0, 1, 'e', 'of none')", "", 1},
		{"INSERT INTO {db}.sequences SELECT 'demo', 'ann', 'C2Cold', today() - 20, 'counted', bitmapBuild([toUInt64(77)])", "", 0}, // not even looked at
		{"INSERT INTO {db}.user_profiles SELECT 'demo', 'nobody', (1, 'e', 'nick')", "", 1},
		{"INSERT INTO {db}.group_profiles SELECT 'demo', 'nobody', (1, 'e', 'name')", "", 1},
		{"INSERT INTO {db}.messages (app, type, a, b, day, sequence, time, id, sender) SELECT 'demo', 'C2C', 'ann', 'bob', today(), 5, 6, 'e1', 'ann'", "", 1},
		// What replies show.
		{greatest("register = 'pinned' AND owner = 'ann'", "(g.1, g.2 + 1, g.3, '0')"), "ann C2Cbob isPinned", 0},
		{greatest("register = 'head' AND owner = ''", "(g.1, g.2, g.3, 'zzz' || g.4)"), "member GROUPhi 'ke lastMessage.messageID", 0},
		{greatest("register = 'member' AND owner = 'eve'", "(g.1, g.2 + 1, g.3, replaceOne(g.4, 'joined', 'left'))"), "member GROUPhi 'ke lastMessage.fromAccount lastMessage.lastSequence lastMessage.lastTime lastMessage.messageForShow lastMessage.messageID lastMessage.payload lastMessage.type listed order", 0},
		{"INSERT INTO {db}.sequences SELECT 'demo', '', 'GROUPhi ''ke', today(), 'counted', bitmapBuild([toUInt64(50)])", "member GROUPhi 'ke unreadCount", 0},
		{"ALTER TABLE {db}.edits DELETE WHERE a = 'ann' SETTINGS mutations_sync = 2", "ann C2Cbob lastMessage.revokeReason lastMessage.revoker", 0},
		{"INSERT INTO {db}.messages (app, type, a, b, day, sequence, time, id, sender) SELECT app, type, a, b, day, sequence, time + 1, id, 'mallory' FROM {db}.messages WHERE type = 'GROUP' AND sequence = 1", "member GROUPhi 'ke groupAtInfoList", 0},
		{"INSERT INTO {db}.sequences SELECT 'demo', '', 'GROUPhi ''ke', '1970-01-01', 'recalled', bitmapBuild([toUInt64(1)])", "member GROUPhi 'ke groupAtInfoList unreadCount", 0},
		{"INSERT INTO {db}.sequences SELECT 'unplanned', 'fay', 'C2Cguy', today(), 'counted', bitmapBuild([toUInt64(50)])", "fay C2Cguy unreadCount", 0},
		{"INSERT INTO {db}.user_profiles SELECT app, user_id, (profile.1, profile.2, 'x' || profile.3) FROM {db}.user_profiles WHERE user_id = 'bob'", "ann C2Cbob userProfile.nick", 0},
		{"INSERT INTO {db}.group_profiles SELECT app, group_id, (profile.1, profile.2, 'x' || profile.3) FROM {db}.group_profiles WHERE startsWith(group_id, 'hi')", "member GROUPhi 'ke groupProfile.name", 0},
		{greatest("register = 'head' AND owner = 'ann' AND conversation_id = 'C2Cbob'", "(g.1, g.2 + 1, g.3, g.4)"), "ann C2Cbob order", 0},
		{"INSERT INTO {db}.plans SELECT 'demo', (plan.1 + 1, plan.2, 200, plan.4) FROM {db}.plans", "plans", 0},
		{"INSERT INTO {db}.erased_users SELECT 'demo', 'eve', 'e'", "erased_users", 0},
	} {
		change := func(generation string) {
			t.Helper()
			if err := sandboxtest.ClickHouse(t).Exec(t.Context(), strings.ReplaceAll(c.change, "{db}", s.database+generation)); err != nil {
				t.Fatal(err)
			}
		}
		change("_g2")
		found := s.verify(time.Now(), false, 10)
		var shown []string
		for _, d := range found.Differences {
			if d.Shown == nil {
				shown = append(shown, d.Table)
				continue
			}
			names := []string{d.Shown.UserID, d.Shown.ConversationID}
			if strings.HasPrefix(d.Shown.ConversationID, "GROUP") { // any of them
				names[0] = "member"
			}
			for _, f := range d.Shown.Fields {
				names = append(names, f.Field)
			}
			shown = append(shown, strings.Join(names, " "))
		}
		if got := strings.Join(shown, "; "); got != c.shown || found.Unshown != c.unshown {
			t.Errorf("%s\nshows in %q, want %q; %d rows besides, want %d", c.change, got, c.shown, found.Unshown, c.unshown)
		}
		change("_g1") // equal again
	}
}
