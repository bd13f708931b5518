package query

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
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

// itemHash is of an item or an ID.
type itemHash [hashSize]byte

func hashOf(data []byte) itemHash {
	sum := sha256.Sum256(data)
	return itemHash(sum[:])
}

var syncEncoding = base64.RawURLEncoding

// changes are what a request that syncs gets to see.
type changes struct {
	list    []*row   // what is new to the client
	removed []string // conversation IDs
	reset   bool     // list is whole: throw away what you have
	token   string
}

// changes compares the whole list with what the client holds. Every item is shown.
func (v *view) changes(list []*row) changes {
	q, c := v.query, changes{list: list}
	if q.sync && q.cursor == nil { // the token of the first page is that of all
		c.token = q.encodeSync(list)
	}
	if q.since == nil {
		return c
	}
	held, ok := q.decodeSync(*q.since)
	if !ok {
		c.reset = true
		return c
	}
	var changed []*row
	for _, r := range list {
		h := r.hashes()
		if item, known := held[h.id]; !known || item != h.item {
			changed = append(changed, r)
		}
		delete(held, h.id)
	}
	// What is left was in the client's list and is not in this one.
	var removed []string
	if len(held) > 0 {
		removed = v.named(held)
	}
	if len(removed) < len(held) {
		c.reset = true // somebody's name is gone
		return c
	}
	c.list = changed
	if q.cursor == nil { // said once
		c.removed = removed
	}
	return c
}

// named are the conversations of the user whose IDs have these hashes, listed or not.
func (v *view) named(hashes map[itemHash]itemHash) []string {
	var ids []string
	for _, r := range v.inbox.rows { // ascending
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
