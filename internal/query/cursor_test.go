package query

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// listQuery decodes a list request.
func listQuery(t testing.TB, app, request string) *query {
	t.Helper()
	q, err := decode(app, []byte(request), decodeList)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

var place = cursor{Position: projection.Position{Pinned: true, Time: 1_795_431_600_123_456, ConversationID: "C2Cben 😀"}}

// placeOf is the same place in a list that a client syncs.
var placeOf = cursor{place.Position, true, listHash{itemHash{1, 2, 3, 4, 5, 6, 7, 8}, itemHash{9}}}

func TestCursor_RoundTrip(t *testing.T) {
	for request, like := range map[string]cursor{`{"userID":"ann"}`: place, `{"userID":"ann","sync":true}`: placeOf, `{"userID":"ann","since":""}`: placeOf} {
		q := listQuery(t, "demo", request)
		for _, p := range []projection.Position{
			place.Position,
			{Time: 1, ConversationID: "@TIM#SYSTEM"},
			{Pinned: true, Time: events.Micros(1 << 62), ConversationID: "GROUP" + strings.Repeat("x", 128)},
		} {
			c := cursor{p, like.synced, like.of}
			text := q.encodeCursor(c)
			if len(text) != cursorLength(c.synced, p) {
				t.Errorf("%+v: %d bytes, foretold %d", p, len(text), cursorLength(c.synced, p))
			}
			got, err := q.decodeCursor(text)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			if *got != c {
				t.Errorf("got %+v, want %+v", *got, c)
			}
		}
	}
}

// A cursor must outlive the worker and the version that made it.
func TestCursor_Golden(t *testing.T) {
	const request = `{"userID":"ann","conversationIDList":["GROUPg","C2Cben"],"type":"C2C","markType":0,"groupName":"","hasUnreadCount":true,"hasGroupAtInfo":false`
	const want = "AZ-zYkqz3XW_sd-SXDLq89EBAAZg736-bkBDMkNiZW4g8J-YgA"
	if got := listQuery(t, "demo", request+"}").encodeCursor(place); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	const wantSync = "Aw2a5plwT1UNV81DS1zCU_oBAgMEBQYHCAkAAAAAAAAAAQAGYO9-vm5AQzJDYmVuIPCfmIA"
	if got := listQuery(t, "demo", request+`,"sync":true}`).encodeCursor(placeOf); got != wantSync {
		t.Errorf("of a sync: got %s\nwant %s", got, wantSync)
	}
}

func TestCursor_IsBoundToAppUserAndFilters(t *testing.T) {
	base := `"userID":"ann","conversationIDList":["C2Cx","C2Cy"],"type":"C2C","markType":1,"groupName":"a","hasUnreadCount":true,"hasGroupAtInfo":true`
	cursor := listQuery(t, "demo", "{"+base+"}").encodeCursor(place)

	for _, same := range []string{
		base + `,"limit":7,"timeoutMs":3`,
		base + `,"sync":true,"since":""`,
		strings.Replace(base, `"C2Cx","C2Cy"`, `"C2Cy","C2Cx","C2Cy"`, 1),
	} {
		if _, err := listQuery(t, "demo", "{"+same+"}").decodeCursor(cursor); err != nil {
			t.Errorf("%s: %v", same, err)
		}
	}
	if _, err := listQuery(t, "other", "{"+base+"}").decodeCursor(cursor); err == nil {
		t.Error("taken for another app")
	}
	for _, change := range [][2]string{
		{`"ann"`, `"ben"`},
		{`"C2Cx","C2Cy"`, `"C2Cx"`},
		{`"C2Cx","C2Cy"`, ``},
		{`["C2Cx","C2Cy"]`, `null`},
		{`"C2C",`, `"GROUP",`},
		{`"C2C",`, `null,`},
		{`"markType":1`, `"markType":0`},
		{`"markType":1`, `"markType":null`},
		{`"a",`, `"",`},
		{`"a",`, `null,`},
		{`"hasUnreadCount":true`, `"hasUnreadCount":false`},
		{`"hasUnreadCount":true`, `"hasUnreadCount":null`},
		{`"hasGroupAtInfo":true`, `"hasGroupAtInfo":false`},
		{`"hasGroupAtInfo":true`, `"hasGroupAtInfo":null`},
	} {
		changed := strings.Replace(base, change[0], change[1], 1)
		if changed == base {
			t.Fatalf("%s is not in the request", change[0])
		}
		if _, err := listQuery(t, "demo", "{"+changed+"}").decodeCursor(cursor); err == nil {
			t.Errorf("taken with %s", changed)
		}
	}
}

func TestCursor_RefusesWhatItDidNotMake(t *testing.T) {
	t.Run("of a list", func(t *testing.T) { refusesOthers(t, `{"userID":"ann"}`, place) })
	t.Run("of a sync", func(t *testing.T) { refusesOthers(t, `{"userID":"ann","sync":true}`, placeOf) })
}

func refusesOthers(t *testing.T, request string, place cursor) {
	q := listQuery(t, "demo", request)
	good := q.encodeCursor(place)
	raw, err := cursorEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"empty":           "",
		"no base64":       "!!!!",
		"a word":          "garbage",
		"one byte":        "AQ",
		"cut":             good[:len(good)-4],
		"longer":          good + "AAAA",
		"padded":          base64.URLEncoding.EncodeToString(raw[:len(raw)-1]),
		"a line break":    good[:8] + "\n" + good[8:],
		"a line break at": good + "\r\n",
		"standard base64": base64.RawStdEncoding.EncodeToString(append([]byte{cursorFormat}, "\xff\xff\xff\xff"...)),
	}
	for bit := range 8 * len(raw) {
		flipped := []byte(string(raw))
		flipped[bit/8] ^= 1 << (bit % 8)
		bad[fmt.Sprint("with another bit ", bit)] = cursorEncoding.EncodeToString(flipped)
	}
	// A checksum is no secret: it can be made for a place written otherwise.
	forged := []byte(string(raw))
	forged[positionAt(q.syncs())] = 2
	bound := forged[cursorHead:]
	if q.syncs() {
		bound = append([]byte{syncCursorFormat}, bound...)
	}
	copy(forged[1:], q.checksum(bound))
	bad["another spelling of pinned"] = cursorEncoding.EncodeToString(forged)
	for name, cursor := range bad {
		_, err := q.decodeCursor(cursor)
		var refused *replyError
		if !errors.As(err, &refused) || refused.Code != 400 || !strings.HasPrefix(refused.Message, `cursor "`) {
			t.Errorf("%s: %q: got %v", name, cursor, err)
		}
	}
}
