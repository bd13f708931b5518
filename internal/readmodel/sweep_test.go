package readmodel_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestSweep_LeavesNothing writes everything that can be said by and of a user, erases and
// sweeps, and looks for the strings in all files of the engine. Then the same comes again.
func TestSweep_LeavesNothing(t *testing.T) { inBothForms(t, leavesNothing) }

func leavesNothing(t *testing.T, open func(testing.TB) *readmodel.Store) {
	store := open(t)
	plain(t, store)
	const secret, user = "a secret of dave", "dave of the sweep" // which nobody else writes
	chat := chatOf(user, secret)
	write := func(list ...events.Event) {
		t.Helper()
		m := projection.NewModel()
		for _, e := range list {
			m.Fold(e)
		}
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	write(chat...)
	for _, s := range []string{user, secret} {
		if found := search(t, store, s); len(found) == 0 {
			t.Fatalf("%q is in no file before the sweep: the search finds nothing", s)
		}
	}
	write(event("erased", &events.UserErased{UserID: user}))
	for _, c := range []struct {
		name  string
		swept bool // something is found
	}{{"the first", true}, {"another", false}, {"one after all of it came again", true}} {
		if c.swept {
			write(chat...)
		}
		something := false
		for _, u := range sweep(t, store) {
			something = something || u.Deleted+u.Blanked > 0
		}
		if something != c.swept {
			t.Errorf("%s sweep has found something: %t, want %t", c.name, something, c.swept)
		}
		for _, s := range []string{user, secret} {
			if found := search(t, store, s); len(found) > 0 {
				t.Errorf("%s sweep has left %q in\n%s", c.name, s, strings.Join(found, "\n"))
			}
		}
	}
}

// TestSweep_AnyTime plays chats in batches, any events twice, with sweeps between any of
// them. All replies are what the brute-force reading of the events gives, as they are
// from a generation that was never swept; and the two compare equal.
func TestSweep_AnyTime(t *testing.T) {
	swept, never := open(t), open(t)
	const chats = 6
	for n := range chats {
		all := oneSenderEach(drawnChats.Example(n))
		for i := range all {
			all[i].App += strconv.Itoa(n)
		}
		chat := bruteforce.New(all, projectiontest.Now)
		rng := rand.New(rand.NewPCG(uint64(n), 0))
		repeated := append(slices.Clone(all), all[:len(all)/3]...)
		rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
		for batch := range slices.Chunk(repeated, 1+len(repeated)/4) {
			m := projection.NewModel()
			for _, e := range batch {
				m.Fold(e)
			}
			for _, store := range []*readmodel.Store{swept, never} {
				if err := store.Write(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(2) == 0 {
				if _, err := swept.Sweep(t.Context(), func(readmodel.Sweeping) {}); err != nil {
					t.Fatal(err)
				}
			}
		}
		everything := projection.NewModel()
		for _, e := range all {
			everything.Fold(e)
		}
		for name, store := range map[string]*readmodel.Store{"swept": swept, "never swept": never} {
			got := readBack(t, t, store, everything)
			for _, app := range projectiontest.Apps {
				app += strconv.Itoa(n)
				wantReplies(t, fmt.Sprintf("%s, chat %d, app %s", name, n, app), chat, projectiontest.NewReader(app, got, projectiontest.Now), app)
			}
		}
	}
	copied, err := swept.Add(t.Context(), readmodel.Options{Base: swept.Number()})
	if err != nil {
		t.Fatal(err)
	}
	rows := copied.CopyOf(swept)
	for more := true; more; {
		if _, more, err = rows.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if found, _ := differences(t, copied, swept); len(found) > 0 {
		t.Errorf("a copy differs in\n%s", strings.Join(found, "\n"))
	}
	for _, at := range []time.Time{{}, projectiontest.Now.Time()} {
		err := swept.Compare(t.Context(), never, at, func(d readmodel.Difference) error {
			t.Errorf("differs: %+v", d)
			return nil
		}, func(readmodel.Compared) {})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSweep_ManyModifications sweeps more modifications of messages that nobody has than one
// statement names.
func TestSweep_ManyModifications(t *testing.T) {
	inBothForms(t, func(t *testing.T, open func(testing.TB) *readmodel.Store) {
		store := open(t)
		const many = 16_000
		m := projection.NewModel()
		m.Fold(event("erased", &events.UserErased{UserID: "dave"}))
		for i := range uint64(many) {
			m.Fold(event(fmt.Sprint(i), &events.MessageModified{
				Conversation: events.Group("hike"), Sequence: i + 1, Version: 1, Payload: []byte(`{"text":"a secret"}`), From: "dave",
			}))
		}
		if err := store.Write(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		var blanked uint64
		for _, u := range sweep(t, store) {
			blanked += u.Blanked
		}
		if blanked < many { // each shard of the sandbox has all of them
			t.Errorf("%d rows were found to be blanked, want %d", blanked, many)
		}
		left, err := store.Unswept(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range left {
			if u.Deleted+u.Blanked > 0 {
				t.Errorf("left are %+v", u)
			}
		}
	})
}

// TestSweep_WhileItIsFilled sweeps a generation between any two steps of what fills it, a
// copy of another one and events that come again. It is that one as a sweep leaves it.
func TestSweep_WhileItIsFilled(t *testing.T) {
	base := open(t)
	write := func(list []events.Event, stores ...*readmodel.Store) {
		t.Helper()
		m := projection.NewModel()
		for _, e := range list {
			m.Fold(e)
		}
		for _, s := range stores {
			if err := s.Write(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	chat := chatOf("dave", "a secret")
	write(append(chat, event("erased", &events.UserErased{UserID: "dave"})), base)
	filled, err := base.Add(t.Context(), readmodel.Options{Base: base.Number()})
	if err != nil {
		t.Fatal(err)
	}
	var swept uint64
	sweep := func() {
		t.Helper()
		list, err := filled.Sweep(t.Context(), func(readmodel.Sweeping) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range list {
			swept += u.Deleted + u.Blanked
		}
	}
	rows := filled.CopyOf(base)
	for more := true; more; {
		if _, more, err = rows.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		sweep()
	}
	copied := swept
	for batch := range slices.Chunk(chat, 1+len(chat)/3) {
		write(batch, filled, base)
		sweep()
	}
	if copied == 0 || swept == copied {
		t.Errorf("swept %d rows of the copy and %d of what came again, want some of each", copied, swept-copied)
	}
	left, err := filled.Unswept(t.Context(), filled)
	for _, u := range left {
		if u.Deleted+u.Blanked > 0 {
			t.Errorf("left are %+v", u)
		}
	}
	if found, _ := differences(t, filled, base); err != nil || len(found) > 0 {
		t.Errorf("%v, differs in\n%s", err, strings.Join(found, "\n"))
	}
}

var drawnChats = rapid.Custom(func(t *rapid.T) []events.Event {
	all := projectiontest.Events(t, 60)
	for i, user := range rapid.SliceOfN(rapid.SampledFrom(projectiontest.Users), 1, 2).Draw(t, "erased") {
		for _, app := range projectiontest.Apps {
			all = append(all, events.Event{ID: fmt.Sprintf("erased %d in %s", i, app), App: app, Time: projectiontest.Now, Body: &events.UserErased{UserID: user}})
		}
	}
	return all
})

// oneSenderEach has all messages of a sequence sent by one user. Where they are not, a
// producer's fault, what is left of a modification depends on what was there when it was swept.
func oneSenderEach(all []events.Event) []events.Event {
	senders := map[projection.EditKey]string{}
	for i, e := range all {
		m, ok := e.Body.(*events.MessageSent)
		if !ok {
			continue
		}
		k := projection.EditKey{App: e.App, Conversation: m.Conversation, Sequence: m.Sequence}
		if from, known := senders[k]; known && from != m.From {
			changed := *m
			changed.From = from
			all[i].Body = &changed
		} else {
			senders[k] = m.From
		}
	}
	return all
}

// wantReplies compares all replies to all users of an app.
func wantReplies(t *testing.T, where string, want *bruteforce.Chat, got projectiontest.Reader, app string) {
	t.Helper()
	same := func(what string, want, got any) {
		t.Helper()
		var texts [2]bytes.Buffer
		for i, v := range []any{want, got} {
			if err := json.NewEncoder(&texts[i]).Encode(v); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(texts[0].String(), texts[1].String()); diff != "" {
			t.Fatalf("%s, %s (-want +got):\n%s", where, what, diff)
		}
	}
	for _, user := range projectiontest.Users {
		f := bruteforce.Filter{}
		list := want.List(app, user, f)
		same("list of "+user, list, got.List(user, f))
		same("total of "+user, want.Unread(app, user, f, true), got.Unread(user, f, true))
		for _, other := range projectiontest.Users {
			for _, id := range []string{"C2C" + other, "GROUP" + other, "@TIM#SYSTEM"} {
				wantItem, wantKnown := want.Profile(app, user, id)
				item, known := got.Profile(user, id)
				same(fmt.Sprintf("%s is known to %s", id, user), wantKnown, known)
				if wantKnown {
					same(fmt.Sprintf("profile of %s for %s", id, user), wantItem, item)
				}
			}
		}
		for _, group := range projectiontest.Groups {
			wantItem, wantKnown := want.Profile(app, user, "GROUP"+group)
			item, known := got.Profile(user, "GROUP"+group)
			same(fmt.Sprintf("GROUP%s is known to %s", group, user), wantKnown, known)
			if wantKnown {
				same(fmt.Sprintf("profile of GROUP%s for %s", group, user), wantItem, item)
			}
		}
	}
}

// TestSweep_KeepsWhatOthersSaid holds what a sweep leaves against what package projection
// says is left, and that all else is as it was.
func TestSweep_KeepsWhatOthersSaid(t *testing.T) { inBothForms(t, keepsWhatOthersSaid) }

func keepsWhatOthersSaid(t *testing.T, open func(testing.TB) *readmodel.Store) {
	const user = "dave"
	is := func(userID string) bool { return userID == user }
	store, want := open(t), projection.NewModel()
	for _, e := range append(chatOf(user, "of dave"),
		event("said", &events.MessageSent{
			Conversation: events.Group("hike"), From: "ann", MessageID: "m", Sequence: 8, Type: events.TypeText,
			MessageForShow: "dave said so", Payload: []byte(`{"text":"dave said so"}`), AtUsers: []string{"ann", user}, Nick: "dave's friend",
		}),
		event("modified", &events.MessageModified{Conversation: events.Group("hike"), Sequence: 8, Version: 1, Payload: []byte(`{"text":"dave"}`), From: user}),
		// A sequence that the producer has given to two messages.
		event("said too", &events.MessageSent{Conversation: events.Group("hike"), From: "ann", MessageID: "m", Sequence: 9, Type: events.TypeText}),
		event("taken", &events.MessageSent{Conversation: events.Group("hike"), From: user, MessageID: "m", Sequence: 9, Type: events.TypeText}),
		event("modified too", &events.MessageModified{Conversation: events.Group("hike"), Sequence: 9, Version: 1, Payload: []byte(`{"text":"ann"}`)}),
		event("unsent", &events.MessageModified{Conversation: events.Group("hike"), Sequence: 98, Version: 1, Payload: []byte(`{"text":"of a message that is gone"}`), From: user}),
		event("unsent in system", &events.MessageModified{Conversation: events.System("ann"), Sequence: 98, Version: 1, HasCloudCustomData: true, CloudCustomData: "dave's", From: user}),
		event("unsent by ann", &events.MessageModified{Conversation: events.Group("hike"), Sequence: 99, Version: 1, Payload: []byte(`{"text":"ann's"}`), From: "ann"}),
		event("recalled", &events.MessageRecalled{Conversation: events.Group("hike"), Sequence: 8, Revoker: user, Reason: "not what dave said"}),
		event("draft", &events.ConversationDraftSet{ConversationOf: events.ConversationOf{UserID: "ann", ConversationID: "GROUPhike"}, DraftText: "dear dave"}),
		event("other", &events.UserProfileChanged{UserID: "ann", Nick: "dave's friend"}),
		event("erased", &events.UserErased{UserID: user}),
	) {
		want.Fold(e)
	}
	if err := store.Write(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Sweep(t.Context(), func(readmodel.Sweeping) {}); err != nil {
		t.Fatal(err)
	}
	got := readBack(t, t, store, want)

	gone := func(c events.Conversation) bool {
		return c.Type != events.TypeGroup && is(c.A) || c.Type == events.TypeC2C && is(c.B)
	}
	ofUser, ofOthers := map[projection.EditKey]bool{}, map[projection.EditKey]bool{}
	for k, m := range want.Messages {
		edits := projection.EditKey{App: k.App, Conversation: k.Conversation, Sequence: k.Sequence}
		ofUser[edits], ofOthers[edits] = ofUser[edits] || is(m.From), ofOthers[edits] || !is(m.From)
		switch {
		case gone(k.Conversation):
			delete(want.Messages, k)
			continue
		case is(m.From):
			m.From, m.Text = projection.ErasedUser, ""
		}
		m.AtUsers = slices.DeleteFunc(m.AtUsers, is)
	}
	for k, s := range want.States {
		left := s.Without(k, is)
		if left == nil {
			delete(want.States, k)
			continue
		}
		if want.States[k] = left; left.Settings().Member.Value.OperatorID == user {
			left.Set.Member.Value.OperatorID = projection.ErasedUser
		}
	}
	for k, e := range want.Edits {
		switch {
		case gone(k.Conversation):
			delete(want.Edits, k)
		case !ofOthers[k] && (ofUser[k] || is(e.Modification.From)):
			*e = e.Without()
		default:
			if is(e.Recall.Value.Revoker) {
				e.Recall.Value.Revoker = projection.ErasedUser
			}
			if is(e.Modification.From) {
				e.Modification.From = projection.ErasedUser
			}
		}
	}
	delete(want.Users, projection.UserKey{App: "demo", UserID: user})
	for _, g := range want.Groups {
		g.Value.OwnerID = projection.ErasedUser
	}
	if diff := cmp.Diff(want, got, projectiontest.SameModel); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// event is one of the app demo.
func event(id string, body events.Body) events.Event {
	return events.Event{ID: id, App: "demo", Time: projectiontest.Now, Body: body}
}

// chatOf is a chat in which everything that can be said by and of a user is said, with a secret in it.
func chatOf(user, secret string) (list []events.Event) {
	add := func(body events.Body) { list = append(list, event(fmt.Sprintf("e%03d", len(list)), body)) }
	large := `{"text":"` + secret + strings.Repeat(".", projection.InlinePayloadBytes) + `"}`
	for _, c := range []events.Conversation{events.Group("hike"), events.System("ann"), events.System(user), events.C2C("ann", user), events.C2C("zoe", user), events.C2C(user, user)} {
		from, other := user, "ann"
		if c.Type == events.TypeC2C {
			other = c.Peer(user)
		}
		for i, from := range []string{other, from, from} {
			m := &events.MessageSent{
				Conversation: c, From: from, MessageID: "m", Sequence: uint64(i + 1), Type: events.TypeText,
				AtUsers: []string{"ann", user},
			}
			if c.Type != events.TypeGroup {
				m.AtUsers = nil
			}
			if from == user || c.Type == events.TypeC2C || c == events.System(user) {
				m.Payload, m.MessageForShow = []byte(`{"text":"`+secret+`"}`), secret
				m.Nick, m.Avatar, m.NameCard, m.CloudCustomData = secret, secret, secret, secret
				if i == 2 {
					m.Payload = []byte(large)
				}
				add(&events.MessageModified{
					Conversation: c, Sequence: m.Sequence, Version: 1, Payload: []byte(large), PayloadText: secret, HasMessageForShow: true,
					MessageForShow: secret, HasCloudCustomData: true, CloudCustomData: secret,
				})
				add(&events.MessageRecalled{Conversation: c, Sequence: m.Sequence, Revoker: "ann", Reason: secret})
			}
			add(m)
			add(&events.MessageRecalled{Conversation: c, Sequence: m.Sequence, Revoker: user, Reason: "spam"})
		}
		if c.Type != events.TypeC2C { // of a message that nobody has
			add(&events.MessageModified{Conversation: c, Sequence: 97, Version: 1, Payload: []byte(large), HasCloudCustomData: true, CloudCustomData: secret, From: user})
		}
	}
	for _, of := range []events.ConversationOf{
		{UserID: user, ConversationID: "GROUPhike"},
		{UserID: user, ConversationID: "@TIM#SYSTEM"},
		{UserID: user, ConversationID: "C2Cann"},
		{UserID: "ann", ConversationID: "C2C" + user},
		{UserID: user, ConversationID: "C2C" + user},
	} {
		add(&events.ConversationRead{ConversationOf: of, Sequence: 1})
		add(&events.ConversationPinned{ConversationOf: of, IsPinned: true})
		add(&events.ConversationRemindTypeSet{ConversationOf: of, MessageRemindType: events.RemindAccept})
		add(&events.ConversationMarked{ConversationOf: of, MarkList: []uint64{1}})
		add(&events.ConversationGroupsSet{ConversationOf: of, ConversationGroupList: []string{secret}})
		add(&events.ConversationCustomDataSet{ConversationOf: of, CustomData: secret})
		add(&events.ConversationDraftSet{ConversationOf: of, DraftText: secret})
		add(&events.ConversationDeleted{ConversationOf: of, ThroughSequence: 1})
		add(&events.ConversationCleared{ConversationOf: of, ThroughSequence: 1})
	}
	add(&events.GroupMemberChanged{GroupID: "hike", UserID: user, Status: events.StatusJoined, NameCard: secret, OperatorID: "ann"})
	add(&events.GroupMemberChanged{GroupID: "hike", UserID: "ann", Status: events.StatusJoined, NameCard: "Ann", OperatorID: user})
	add(&events.GroupProfileChanged{GroupID: "hike", Name: "Hike", OwnerID: user, GroupCustomField: []events.KeyValue{{Key: "k", Value: "v"}}})
	add(&events.UserProfileChanged{UserID: user, Nick: secret, Avatar: secret, ProfileCustomField: []events.KeyValue{{Key: secret, Value: secret}}})
	add(&events.FriendRemarkSet{UserID: "ann", FriendID: user, Remark: secret})
	add(&events.FriendRemarkSet{UserID: user, FriendID: "ann", Remark: secret})
	return list
}

// plain has the engine keep the tables as they are, not compressed, and remove old parts soon.
func plain(t *testing.T, store *readmodel.Store) {
	t.Helper()
	conn := connection(t, store)
	rows, err := conn.Query(t.Context(), "SELECT name FROM system.tables WHERE endsWith(engine, 'MergeTree') AND database = '"+store.Database()+"'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if err := conn.Exec(t.Context(), "ALTER TABLE "+store.Database()+"."+name+" MODIFY SETTING default_compression_codec = 'NONE', old_parts_lifetime = 0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func connection(t *testing.T, store *readmodel.Store) clickhouse.Conn {
	t.Helper()
	conn, err := clickhouse.Open(sandboxtest.Options(t, store.Database()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// sweep sweeps, and waits until the engine has removed what was rewritten.
func sweep(t *testing.T, store *readmodel.Store) []readmodel.Unswept {
	t.Helper()
	swept, err := store.Sweep(t.Context(), func(readmodel.Sweeping) {})
	if err != nil {
		t.Fatal(err)
	}
	old, err := store.OldParts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for len(old) > 0 {
		now, err := store.OldParts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for p := range old {
			if _, there := now[p]; !there {
				delete(old, p)
			}
		}
	}
	return swept
}
