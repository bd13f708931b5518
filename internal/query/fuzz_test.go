package query

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// asker takes requests from their bytes to the reply's, all the way but for the
// connection.
type asker struct {
	*Worker
	memory *memory
	now    time.Time
}

func newAsker(f *testing.F, m *memory) *asker {
	a := &asker{memory: m, now: now}
	a.Worker = New(DefaultConfig(), connect(f, startServer(f, 0)), Only(m), func() time.Time { return a.now },
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	return a
}

// ask holds that whatever is asked gets one of the codes (0: no error) and a
// reply that readers of JSON can read.
func (a *asker) ask(t *testing.T, app, name string, request []byte, codes ...int) (code int, body []byte) {
	t.Helper()
	e := a.endpoints[slices.IndexFunc(a.endpoints, func(e *endpoint) bool { return e.name == name })]
	j := &job{endpoint: e, subject: "convoview.v1." + app + ".conversation." + name, data: request, arrived: time.Now(), maxBytes: minPayload}
	var buffer bytes.Buffer
	body, err := a.done(t.Context(), j, &buffer)
	if err != nil {
		said := replyFor(err)
		code, body = said.Code, said.body()
		if m := said.Message; !utf8.ValidString(m) || strings.ContainsFunc(m, func(r rune) bool { return !unicode.IsPrint(r) }) || len(m) > 1000 {
			t.Errorf("%s %q: the message is not one readable line: %q", name, request, m)
		}
	}
	if !slices.Contains(codes, code) {
		t.Fatalf("%s %q: %d %v, want one of %v", name, request, code, err, codes)
	}
	// Names within a payload are the producer's business.
	if !jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true)) || !utf8.Valid(body) || len(body) > minPayload {
		t.Fatalf("%s %q: a reply of %d bytes that is no JSON: %q", name, request, len(body), body)
	}
	return code, body
}

// FuzzRequest holds that no request is answered with a fault of ours, and that
// the pages of one list are disjoint.
func FuzzRequest(f *testing.F) {
	a := newAsker(f, some())
	endpoints := []string{"list", "unread", "profile"}
	for _, seed := range []struct {
		endpoint uint8
		request  string
	}{
		{0, `{"userID":"ann","limit":2}`},
		{0, `{"userID":"ann","conversationIDList":["C2Cben","GROUPg1","@TIM#SYSTEM"],"markType":4,"limit":1,"cursor":"x"}`},
		{0, `{"userID":"ann","limit":1,"sync":true}`},
		{0, `{"userID":"ann","limit":1,"cursor":"` + listQuery(f, "demo", `{"userID":"ann"}`).encodeCursor(place) + `"}`},
		{1, `{"userID":"ann","type":"C2C","includeMuted":true,"groupName":"\u2028","hasUnreadCount":true,"hasGroupAtInfo":false}`},
		{2, `{"userID":"ann","conversationID":"GROUPg2","timeoutMs":5000}`},
		{2, "{\"userID\":\"\\n\",\"conversationID\":\"C2C\xff\"}"},
		{0, "{\"userID\":\"a\",\"😀\u0085\":\"\"}"},
	} {
		f.Add(seed.endpoint, []byte(seed.request))
	}
	f.Fuzz(func(t *testing.T, endpoint uint8, request []byte) {
		name := endpoints[int(endpoint)%len(endpoints)]
		code, body := a.ask(t, "demo", name, request, 0, 400, 404, 413, 504)
		if code == codeBadRequest {
			return
		}
		var object map[string]any
		if err := json.Unmarshal(request, &object); err != nil || !events.ValidID(object["userID"].(string)) {
			t.Fatalf("%q is accepted: %v", request, err)
		}
		seen := map[string]bool{}
		for code == codeOK && name == "list" {
			page := parseList(t, body)
			for _, id := range page.ids(t) {
				if seen[id] {
					t.Fatalf("%q: %s is on two pages", request, id)
				}
				seen[id] = true
			}
			if page.NextCursor == "" {
				return
			}
			object["cursor"] = page.NextCursor
			next, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			code, body = a.ask(t, "demo", name, next, 0, 504)
		}
	})
}

// FuzzCursor holds that a cursor is taken in the list that it was made for, in
// no other list, and in no other spelling.
func FuzzCursor(f *testing.F) {
	const all = `{"userID":"ann","conversationIDList":["C2Cb","C2Ca"],"type":"C2C","markType":1,"groupName":"a","hasUnreadCount":true,"hasGroupAtInfo":false}`
	made := listQuery(f, "demo", `{"userID":"ann"}`).encodeCursor(place)
	f.Add("demo", `{"userID":"ann"}`, "demo", `{"limit":3,"userID":"\u0061nn","timeoutMs":7,"type":null}`, true, int64(1), "C2Cben", made)
	f.Add("demo", all, "demo", strings.Replace(all, `"C2Cb","C2Ca"`, `"C2Ca","C2Cb","C2Ca"`, 1), false, int64(-1), "", made+"\n")
	f.Add("demo", all, "demo", strings.Replace(all, `"a"`, `""`, 1), false, int64(0), "GROUP😀", made[:20])
	f.Add("demo", `{"userID":"ann","sync":true}`, "demo", `{"userID":"ann","since":""}`, false, int64(7), "C2Cben", "abcdefgh")
	f.Add("demo", `{"userID":"ann","sync":true}`, "demo", `{"userID":"ann"}`, false, int64(7), "C2Cben", "abcdefgh")
	f.Add("demo", `{"userID":"ann","conversationIDList":[]}`, "other", `{"userID":"ann","conversationIDList":null}`, false, int64(0), "\xff", "")
	f.Fuzz(func(t *testing.T, app, request, otherApp, otherRequest string, pinned bool, at int64, id, stray string) {
		q, err := decode(app, []byte(request), decodeList)
		if err != nil {
			return
		}
		want := cursor{Position: projection.Position{Pinned: pinned, Time: events.Micros(at), ConversationID: id}}
		if want.synced = q.syncs(); want.synced {
			copy(want.of.list[:], stray)
		}
		made := q.encodeCursor(want)
		if got, err := q.decodeCursor(made); err != nil || *got != want || len(made) != cursorLength(want.synced, want.Position) {
			t.Errorf("%s: %q for %+v gives %+v, %v", request, made, want, got, err)
		}
		var refused *replyError
		got, err := q.decodeCursor(stray)
		if err == nil && q.encodeCursor(*got) != stray || err != nil && (!errors.As(err, &refused) || refused.Code != codeBadRequest) {
			t.Errorf("%s: %q gives %+v, %v", request, stray, got, err)
		}
		other, err := decode(otherApp, []byte(otherRequest), decodeList)
		if err != nil {
			return
		}
		same := app == otherApp && q.userID == other.userID && reflect.DeepEqual(q.filter, other.filter)
		if _, err := other.decodeCursor(made); (err == nil) != same {
			t.Errorf("%q of %s %s for %s %s: %v", made, app, request, otherApp, otherRequest, err)
		}
	})
}

// FuzzSince holds that, whatever a token says, the reply and what the token stands for
// make the list.
func FuzzSince(f *testing.F) {
	a := newAsker(f, some())
	q := listQuery(f, "demo", `{"userID":"ann"}`)
	entry := func(id string) []byte {
		h := hashOf([]byte(id))
		return append(h[:], "another!"...)
	}
	f.Add(uint8(0), []byte(nil))
	f.Add(uint8(255), entry("C2Cdan"))
	f.Add(uint8(7), append(entry("C2Cben"), entry("C2Cdan")...))
	f.Add(uint8(7), append(entry("C2Cnobody"), entry("C2Cben")...))
	f.Add(uint8(3), []byte("seven b"))
	f.Fuzz(func(t *testing.T, held uint8, more []byte) {
		_, body := a.ask(t, "demo", "list", []byte(`{"userID":"ann"}`), 0)
		list := parseList(t, body)
		ids, items := list.ids(t), list.Data.ConversationList
		token := append([]byte{syncFormat}, q.checksum(nil)...)
		for i, id := range ids {
			if held&(1<<i) != 0 {
				h, of := hashOf([]byte(id)), hashOf(items[i])
				token = append(append(token, h[:]...), of[:]...)
			}
		}
		since := syncEncoding.EncodeToString(append(token, more...))
		stands, _ := q.decodeSync(since)

		_, body = a.ask(t, "demo", "list", []byte(`{"userID":"ann","since":"`+since+`"}`), 0)
		page := parseList(t, body)
		said := page.ids(t)
		for i, id := range ids {
			known := !page.Data.Reset && stands[hashOf([]byte(id))] == hashOf(items[i])
			if known == slices.Contains(said, id) {
				t.Errorf("%q: %s is said or the token stands for it, and not both: reset %t, said %q", since, id, page.Data.Reset, said)
			}
		}
		for _, id := range page.Data.Removed {
			if _, was := stands[hashOf([]byte(id))]; !was || slices.Contains(ids, id) || page.Data.Reset {
				t.Errorf("%q: %s is removed, and was not in the token or is in the list", since, id)
			}
		}
		if !slices.IsSortedFunc(said, func(x, y string) int { return cmp.Compare(slices.Index(ids, x), slices.Index(ids, y)) }) {
			t.Errorf("%q: %q is not in the order of the list", since, said)
		}
	})
}

// FuzzEvent holds that whatever decodes can be shown: to everybody whom it
// concerns, in list, profile and total.
func FuzzEvent(f *testing.F) {
	for i, pattern := range []string{"*.json", "*.binpb"} {
		files, err := filepath.Glob(filepath.Join("../../schemas/samples", "[a-z]*", pattern))
		if err != nil || len(files) == 0 {
			f.Fatalf("%d samples %s: %v", len(files), pattern, err)
		}
		for _, file := range files {
			value, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			if len(value) < 10_000 {
				f.Add(value, i == 1)
			}
		}
	}
	a := newAsker(f, newMemory())
	decoder := events.NewDecoder(events.DefaultLimits())
	f.Fuzz(func(t *testing.T, value []byte, protobuf bool) {
		contentType := events.ContentTypeJSON
		if protobuf {
			contentType = events.ContentTypeProtobuf
		}
		e, err := decoder.Decode(events.Record{
			Value:     bytes.Clone(value),
			Headers:   []events.Header{{Key: events.HeaderContentType, Value: []byte(contentType)}},
			Timestamp: now,
		})
		if err != nil {
			return
		}
		a.now = e.Time.Time()
		a.memory.model = projection.NewModel()
		for _, viewed := range a.memory.show(e) {
			id := viewed.ConversationID
			a.ask(t, e.App, "list", []byte(request(map[string]any{"userID": viewed.UserID})), 0, 413)
			a.ask(t, e.App, "list", []byte(request(map[string]any{"userID": viewed.UserID, "conversationIDList": []string{id}})), 0, 413)
			a.ask(t, e.App, "unread", []byte(request(map[string]any{"userID": viewed.UserID})), 0)
			a.ask(t, e.App, "profile", []byte(request(map[string]any{"userID": viewed.UserID, "conversationID": id})), 0, 404, 413)
		}
	})
}

// show folds an event and what makes it visible, and gives some of those whom
// it concerns with the conversation in which it does.
func (m *memory) show(e events.Event) []events.ConversationOf {
	m.model.Fold(e)
	concerned := map[events.ConversationOf]bool{}
	for key := range m.model.States {
		concerned[of(cmp.Or(key.Owner, "viewer"), key.ConversationID)] = true
	}
	for key := range m.model.Users {
		concerned[of("viewer", "C2C"+key.UserID)] = true
	}
	for key := range m.model.Groups {
		concerned[of("viewer", "GROUP"+key.GroupID)] = true
	}
	for key := range m.model.Erased {
		concerned[of("viewer", "C2C"+key.UserID)] = true
	}
	list := slices.SortedFunc(maps.Keys(concerned), func(a, b events.ConversationOf) int {
		return cmp.Or(strings.Compare(a.UserID, b.UserID), strings.Compare(a.ConversationID, b.ConversationID))
	})
	list = list[:min(len(list), 3)]
	for _, of := range list {
		c := of.Conversation()
		sender := "somebody"
		switch c.Type {
		case events.TypeC2C:
			sender = c.Peer(of.UserID)
		case events.TypeGroup:
			m.model.Fold(events.Event{ID: "join", App: e.App, Time: e.Time - 1, Body: joined(of.UserID, c.A, 0)})
		case events.TypeSystem:
		}
		m.model.Fold(events.Event{ID: "send", App: e.App, Time: e.Time - 1, Body: message(c, sender, 1, "before")})
	}
	return list
}
