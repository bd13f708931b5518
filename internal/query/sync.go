package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"

	"github.com/convoview/convoview/internal/projection"
)

// A sync token is, as base64url: format (1 byte), checksum of app, user and
// filters (16), and of each conversation of the list the hash of its ID (8) and
// of its item (8). It says what the client holds, and nothing of when it got it:
// whatever happened since, comparing the two lists shows it.
//
// A thousand conversations, the most that a list can have, make 21 KB.
const (
	syncFormat = 1
	syncHead   = 1 + checksumSize
	syncEntry  = 2 * hashSize
)

const hashSize = 8

// itemHash is of an item, an ID, a list or a token.
type itemHash [hashSize]byte

func hashOf(data []byte) itemHash {
	sum := sha256.Sum256(data)
	return itemHash(sum[:])
}

var syncEncoding = base64.RawURLEncoding

// changes are what the pages of a list that a client syncs show, one after the other.
type changes struct {
	synced  bool     // the client does; else there is nothing but a list
	list    []*row   // what is new to the client
	removed []string // conversation IDs
	reset   bool     // the list begins anew with this page: throw away what you have
	token   string

	whole []*row // the list as it stands
	since string // the token that it was compared with; "" for none
}

// listHash is of a list, and of the token that it was compared with.
type listHash struct{ list, since itemHash }

// hashOfList is of everything that the pages of a list show, and of the places, which change
// what is behind a cursor although no item shows it: who has cleared a conversation moves it
// silently.
func hashOfList(whole []*row) itemHash {
	hash := sha256.New()
	var entry [positionHead + syncEntry]byte
	for _, r := range whole {
		p, h := &r.is.listing.Position, r.hashes()
		appendPosition(append(append(entry[:0], h.id[:]...), h.item[:]...), projection.Position{Pinned: p.Pinned, Time: p.Time})
		hash.Write(entry[:])
	}
	return itemHash(hash.Sum(nil))
}

// of is what a cursor says of the list that its pages are of.
func (c *changes) of() listHash { return listHash{hashOfList(c.whole), hashOf([]byte(c.since))} }

// changes compares the whole list with what the client holds. Every item is shown.
// A later page goes on with what the first one has begun, the whole list or what
// has changed in it, whether or not it says again that it syncs; when the list is not that
// of the first page any more, it begins anew. What did not sync before the cursor has shown
// a list that nobody remembers: then the page is of the list as it is, and no token is of
// its first one.
func (v *view) changes(list []*row, from *cursor) changes {
	q := v.query
	whole := changes{synced: true, list: list, whole: list}
	begun := from == nil // the list that is to be shown is this one
	if from != nil {
		now := whole.of()
		begun = !from.synced || from.of.list == now.list
		// Without the token that the first page had, items come that have not changed, too.
		if begun && (q.since == nil || from.of == now) {
			return whole
		}
	}
	if begun && q.since != nil {
		if c, ok := v.compared(list, from); ok {
			return c
		}
	}
	whole.reset = q.since != nil || from != nil
	if q.sync || from != nil { // what came before is not to be relied on
		whole.token = q.encodeSync(list)
	}
	return whole
}

// compared is what has changed since the request's token. It reports false when the
// token cannot say so, or is not that of the first page.
func (v *view) compared(list []*row, from *cursor) (c changes, ok bool) {
	q := v.query
	held, ok := q.decodeSync(*q.since)
	if !ok {
		return c, false
	}
	c = changes{synced: true, whole: list, since: *q.since}
	if from != nil && from.synced && from.of.since != hashOf([]byte(c.since)) {
		return c, false
	}
	for _, r := range list {
		h := r.hashes()
		if item, known := held[h.id]; !known || item != h.item {
			c.list = append(c.list, r)
		}
		delete(held, h.id)
	}
	if from != nil {
		return c, true
	}
	// What is left was in the client's list and is not in this one.
	if len(held) > 0 {
		c.removed = v.named(held)
	}
	if q.sync {
		c.token = q.encodeSync(list)
	}
	return c, len(c.removed) == len(held) // else somebody's name is gone
}

// named are the conversations of the user whose IDs have these hashes, listed or not.
func (v *view) named(hashes map[itemHash]itemHash) []string {
	var ids []string
	rows := v.inbox.rows // ascending
	if v.inbox.all != nil {
		rows = v.inbox.all
	}
	for _, r := range rows {
		if _, ok := hashes[hashOf([]byte(r.id))]; ok {
			ids = append(ids, r.id)
		}
	}
	return ids
}

func (q *query) encodeSync(list []*row) string {
	token := make([]byte, 0, syncHead+len(list)*syncEntry)
	token = append(token, syncFormat)
	token = append(token, q.checksum(nil)...)
	for _, r := range list {
		h := r.hashes()
		token = append(append(token, h.id[:]...), h.item[:]...)
	}
	return syncEncoding.EncodeToString(token)
}

// decodeSync gives the hashes of items by those of their IDs. It reports false
// for a token that encodeSync did not make for the same app, user and filters.
func (q *query) decodeSync(token string) (map[itemHash]itemHash, bool) {
	raw, err := syncEncoding.DecodeString(token)
	if err != nil || len(raw) < syncHead || (len(raw)-syncHead)%syncEntry != 0 ||
		raw[0] != syncFormat || !bytes.Equal(raw[1:syncHead], q.checksum(nil)) {
		return nil, false
	}
	held := make(map[itemHash]itemHash, (len(raw)-syncHead)/syncEntry)
	for rest := raw[syncHead:]; len(rest) > 0; rest = rest[syncEntry:] {
		held[itemHash(rest)] = itemHash(rest[hashSize:])
	}
	return held, true
}
