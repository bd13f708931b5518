package query

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// TestCache_ForgetsErasedUsers has everything of a user in memory, or on its way there, and
// looks for it in all memory of the process once the user is known to be erased.
func TestCache_ForgetsErasedUsers(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(t *testing.T, w *Worker, m *memory, list func(users ...string))
	}{
		{"what was in memory", func(t *testing.T, w *Worker, m *memory, list func(...string)) {
			tellSecrets(func(at events.Micros, bodies ...events.Body) { m.fold(at, bodies...) })
			list("ann", "ben")
			m.empty()
			list("ann", "ben")
			if n := secrets(t); n == 0 {
				t.Error("the secret is not in memory before: the search finds nothing")
			}
			w.Apply(modelOf(ago(time.Minute), &events.UserErased{UserID: "ben"}), nil)
		}},
		{"what was shown as erased before it was taken out", func(_ *testing.T, w *Worker, m *memory, list func(...string)) {
			tellSecrets(func(at events.Micros, bodies ...events.Body) { m.fold(at, bodies...) })
			list("ann", "ben")
			w.Apply(modelOf(ago(time.Minute), &events.UserErased{UserID: "ben"}), nil)
			list("ann", "ben")
			m.empty()
		}},
		{"what is loaded later", func(_ *testing.T, _ *Worker, m *memory, list func(...string)) {
			tellSecrets(func(at events.Micros, bodies ...events.Body) { m.fold(at, bodies...) })
			m.fold(ago(time.Minute), &events.UserErased{UserID: "ben"})
			list("ann", "ben")
			list("ann", "ben")
			m.empty()
		}},
		{"what is heard later", func(_ *testing.T, w *Worker, m *memory, list func(...string)) {
			m.fold(ago(9*time.Hour), joined("ann", "g1", 0), c2c("cid", "ann", 1, "from cid"), &events.UserErased{UserID: "ben"})
			m.fold(ago(8*time.Hour), group("cid", "g1", 1, "before"), system("ann", 1, "before"))
			list("ann", "ben")
			m.empty()
			tellSecrets(func(at events.Micros, bodies ...events.Body) { w.Apply(modelOf(at, bodies...), nil) })
			list("ann", "ben")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
				w.Follow(always{})
				c.play(t, w, m, func(users ...string) {
					for _, user := range users {
						q := &query{app: "demo", userID: user, now: events.MicrosOf(now), begin: time.Now()}
						if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
							t.Fatal(err)
						}
						w.cache().done(q)
					}
				})
				synctest.Wait() // until it is forgotten
				w.cache().table.CleanUp()
				synctest.Wait()
				if n := secrets(t); n > 0 {
					t.Errorf("%d secrets of an erased user are in memory", n)
				}
				runtime.KeepAlive(w)
			})
		})
	}
}

// TestCache_ForgetsWhoRecalled has an erased user be the one who has recalled another's
// message, in every way in which that comes into memory.
func TestCache_ForgetsWhoRecalled(t *testing.T) {
	said := []events.Body{joined("ann", "g1", 0), group("cid", "g1", 1, "hi")}
	recalledBy := func(user string) events.Body {
		return &events.MessageRecalled{Conversation: events.Group("g1"), Sequence: 1, Revoker: user, Reason: "spam"}
	}
	erased := &events.UserErased{UserID: "ben"}
	for _, c := range []struct {
		name          string
		stored, heard []events.Body
	}{
		{"was in memory", []events.Body{recalledBy("ben")}, []events.Body{erased}},
		{"is loaded", []events.Body{recalledBy("ben"), erased}, nil},
		{"is heard of", []events.Body{recalledBy("cid"), erased}, []events.Body{recalledBy("ben")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemory()
				m.fold(ago(time.Hour), append(c.stored, said...)...)
				w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
				w.Follow(always{})
				q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now()}
				if _, err := w.answered(t.Context(), w.list, q, 1<<20); err != nil {
					t.Fatal(err)
				}
				w.cache().done(q)
				w.Apply(modelOf(ago(time.Minute), c.heard...), nil)
				synctest.Wait() // until it is forgotten
				e, held := w.cache().edits.find(projection.EditKey{App: "demo", Conversation: events.Group("g1"), Sequence: 1})
				if !held {
					t.Fatal("the recall is not in memory")
				}
				edit, _ := e.read()
				if want := (projection.Recall{Revoker: projection.ErasedUser, Reason: "spam"}); edit.Recall.Value != want {
					t.Errorf("it is %+q, want %+q", edit.Recall.Value, want)
				}
			})
		})
	}
}

// TestCache_ForgetsInOneApp has the same happen in two apps, and a user be erased in one of
// them: what is in memory of the other one stays.
func TestCache_ForgetsInOneApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		fold := func(at events.Micros, bodies ...events.Body) {
			m.fold(at, bodies...)
			for _, b := range bodies {
				m.model.Fold(events.Event{ID: "e", App: "other", Time: at, Body: b})
			}
		}
		tellSecrets(fold)
		fold(ago(5*time.Hour), c2c("cid", "ann", 1, "spam"), &events.MessageRecalled{Conversation: events.C2C("ann", "cid"), Sequence: 1, Revoker: "ben"})
		w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		w.Follow(always{})
		list := func(app, user string) string {
			t.Helper()
			q := &query{app: app, userID: user, now: events.MicrosOf(now), begin: time.Now()}
			defer w.cache().done(q)
			reply, err := w.answered(t.Context(), w.list, q, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			return string(reply)
		}
		want := map[string]string{}
		for _, user := range []string{"ann", "ben"} {
			list("demo", user)
			if want[user] = list("other", user); !strings.Contains(want[user], secret()) {
				t.Fatalf("the list of %s has nothing of ben's: %s", user, want[user])
			}
		}
		m.empty()
		w.Apply(modelOf(ago(time.Minute), &events.UserErased{UserID: "ben"}), nil)
		synctest.Wait() // until it is forgotten
		for user, want := range want {
			if diff := cmp.Diff(want, list("other", user)); diff != "" {
				t.Errorf("the list of %s in the other app (-want +got):\n%s", user, diff)
			}
			if got := list("demo", user); strings.Contains(got, secret()) {
				t.Errorf("the list of %s in this app: %s", user, got)
			}
		}
	})
}

// TestCache_NamesWhatAnErasureRemoves holds that a client which syncs is told that a
// conversation is gone, although nothing else of it is left in memory.
func TestCache_NamesWhatAnErasureRemoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := some()
		w := New(DefaultConfig(), nil, Only(m), func() time.Time { return now }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		w.Follow(always{})
		list := func(since *string) listBody {
			t.Helper()
			q := &query{app: "demo", userID: "ann", now: events.MicrosOf(now), begin: time.Now(), sync: since == nil, since: since}
			defer w.cache().done(q)
			reply, err := w.answered(t.Context(), w.list, q, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			return parseList(t, reply)
		}
		token := list(nil).SyncToken
		w.Apply(modelOf(ago(time.Minute), &events.UserErased{UserID: "ben"}), nil)
		synctest.Wait() // until it is forgotten
		if got := list(&token); got.Data.Reset || strings.Join(got.Data.Removed, " ") != "C2Cben" {
			t.Errorf("reset %t, removed %q, want C2Cben", got.Data.Reset, got.Data.Removed)
		}
	})
}

// TestForgetter holds that memory is looked through after every erasure, once for those that
// came while others were waited for, by one at a time.
func TestForgetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f forgetter
		var looked []string
		looks := make(chan struct{})
		forget := func(apps ...string) {
			for _, app := range apps {
				f.forget(app, func(app string) {
					looked = append(looked, app)
					<-looks
				})
			}
			synctest.Wait()
		}
		for _, c := range []struct {
			erased string // in these apps, while the first is looked through
			want   string
		}{{"a b a b c", "a b a c"}, {"a", "a"}} {
			forget(strings.Fields(c.erased)[0])
			forget(strings.Fields(c.erased)[1:]...)
			if got := strings.Join(looked, " "); got != "a" {
				t.Errorf("looked through at once: %q", got)
			}
			for range strings.Fields(c.want) {
				looks <- struct{}{}
				synctest.Wait()
			}
			if got := strings.Join(looked, " "); got != c.want {
				t.Errorf("looked through %q, want %q", got, c.want)
			}
			looked = nil
		}
	})
}

// empty has a store forget what it had, but not who was erased.
func (m *memory) empty() {
	m.mu.Lock()
	defer m.mu.Unlock()
	model := projection.NewModel()
	model.Erased = m.model.Erased
	m.model = model
}

// tellSecrets has ben say and set a secret wherever it is kept in memory.
func tellSecrets(fold func(events.Micros, ...events.Body)) {
	say := func(m *events.MessageSent) *events.MessageSent {
		m.MessageForShow, m.Payload, m.CloudCustomData = secret(), []byte(`{"text":"`+secret()+`"}`), secret()
		m.Nick, m.Avatar, m.NameCard = secret(), secret(), secret()
		return m
	}
	modify := func(c events.Conversation, sequence uint64) events.Body {
		return &events.MessageModified{Conversation: c, Sequence: sequence, Version: 1, Payload: []byte(`{"text":"` + secret() + `"}`), PayloadText: secret()}
	}
	fromSystem := say(system("ann", 9, ""))
	fromSystem.From = "ben"
	fold(ago(9*time.Hour), joined("ann", "g1", 0), joined("ben", "g1", 0),
		&events.UserProfileChanged{UserID: "ben", Nick: secret(), Avatar: secret()},
		&events.FriendRemarkSet{UserID: "ann", FriendID: "ben", Remark: secret()},
		&events.ConversationDraftSet{ConversationOf: events.ConversationOf{UserID: "ben", ConversationID: "GROUPg1"}, DraftText: secret()},
		&events.ConversationCustomDataSet{ConversationOf: events.ConversationOf{UserID: "ann", ConversationID: "C2Cben"}, CustomData: secret()})
	fold(ago(7*time.Hour), say(c2c("ben", "ann", 1, "")), say(group("ben", "g1", 7, "", "ann")), fromSystem)
	fold(ago(6*time.Hour), modify(events.C2C("ann", "ben"), 1), modify(events.Group("g1"), 7), modify(events.System("ann"), 9))
}

// turned is a secret, turned so that what looks for it does not find it here.
const turned = "gur frperg bs ora, juvpu vf abjurer ryfr va zrzbel"

// turn turns letters, and back.
func turn(text []byte) []byte {
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			text[i] = 'a' + (c-'a'+13)%26
		}
	}
	return text
}

// secret gives the secret, in memory of its own.
func secret() string { return string(turn([]byte(turned))) }

// secrets is how often the secret is in what is reachable in memory.
func secrets(t *testing.T) (n int) {
	t.Helper()
	for range 3 { // what pools hold survives one
		runtime.GC()
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "heap"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	debug.WriteHeapDump(file.Fd())
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	dump, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	n = bytes.Count(turn(dump), []byte(turned))
	clear(dump)
	return n
}

// TestItem_OfErasedNeedsNoRules holds that what a sweep leaves of a message is shown as
// the message was while it was there, whoever is known to be erased.
func TestItem_OfErasedNeedsNoRules(t *testing.T) {
	m := newMemory()
	tellSecrets(func(at events.Micros, bodies ...events.Body) { m.fold(at, bodies...) })
	is := func(user string) bool { return user == "ben" }
	for _, k := range []projection.Key{{App: "demo", ConversationID: "GROUPg1"}, {App: "demo", Owner: "ann", ConversationID: "@TIM#SYSTEM"}} {
		s := m.model.States[k]
		of := events.ConversationOf{UserID: "ann", ConversationID: k.ConversationID}.Conversation()
		edit := *m.model.Edits[projection.EditKey{App: "demo", Conversation: of, Sequence: s.Head.Sequence}]
		item := func(s *projection.State, edit projection.Edit, is func(string) bool) string {
			own := m.model.States[projection.Key{App: "demo", Owner: "ann", ConversationID: k.ConversationID}]
			if k.Owner != "" {
				own = s
			}
			c, _ := projection.NewConversation("ann", k.ConversationID, own, s, nil)
			text, err := json.Marshal(c.Item(projection.Details{Edit: edit, Sender: func(projection.Mention) string { return "ben" }}, projection.NewRules(projection.Plan{}, events.MicrosOf(now), is)))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Replace(string(text), `"from":"ben"`, `"from":""`, 1)
		}
		want, got := item(s, edit, is), item(s.Without(k, is), edit.Without(), func(string) bool { return false })
		if want != got || strings.Contains(want, secret()) {
			t.Errorf("%s:\nwant %s\ngot  %s", k.ConversationID, want, got)
		}
	}
}
