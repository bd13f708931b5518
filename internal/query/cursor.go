package query

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// A cursor is, as base64url: format (1 byte), checksum (16), if the page is of a list that
// a client syncs the hash of that list (8) and of the token that it was compared with (8),
// pinned (1), time (8), conversation ID. It
// is a place in the order of the list, not in the list, so that a list that changes
// between two pages neither repeats nor skips what did not change. The checksum
// ties it to app, user and filters. It guards against mistakes, not against
// forgery: whoever may ask for a page may ask for any other page of that list, too.
type cursor struct {
	projection.Position
	synced bool     // the list is one that a client syncs
	of     listHash // if so; see changes
}

const (
	cursorFormat     = 1
	syncCursorFormat = 3
	checksumSize     = 16
	cursorHead       = 1 + checksumSize
	positionHead     = 1 + 8
)

var cursorEncoding = base64.RawURLEncoding

// positionAt is where in a cursor the position is.
func positionAt(synced bool) int {
	if synced {
		return cursorHead + 2*hashSize
	}
	return cursorHead
}

func (q *query) encodeCursor(c cursor) string {
	bound := make([]byte, 0, 1+2*hashSize+positionHead+len(c.ConversationID)) // what the checksum is of
	if !c.synced {
		bound = appendPosition(bound, c.Position)
		return cursorEncoding.EncodeToString(slices.Concat([]byte{cursorFormat}, q.checksum(bound), bound))
	}
	bound = append(append(append(bound, syncCursorFormat), c.of.list[:]...), c.of.since[:]...)
	bound = appendPosition(bound, c.Position)
	return cursorEncoding.EncodeToString(slices.Concat(bound[:1], q.checksum(bound), bound[1:]))
}

func appendPosition(dst []byte, p projection.Position) []byte {
	var pinned byte
	if p.Pinned {
		pinned = 1
	}
	dst = binary.BigEndian.AppendUint64(append(dst, pinned), uint64(p.Time)) // two's complement, there and back
	return append(dst, p.ConversationID...)
}

// cursorLength is the length of a cursor.
func cursorLength(synced bool, p projection.Position) int {
	return cursorEncoding.EncodedLen(positionAt(synced) + positionHead + len(p.ConversationID))
}

// decodeCursor gives a cursor that encodeCursor made for the same app, user and filters.
func (q *query) decodeCursor(text string) (*cursor, error) {
	raw, err := cursorEncoding.DecodeString(text)
	synced := len(raw) > 0 && raw[0] == syncCursorFormat
	if at := positionAt(synced); err == nil && len(raw) >= at+positionHead {
		position := raw[at:]
		c := &cursor{synced: synced, Position: projection.Position{
			Pinned:         position[0] == 1,
			Time:           events.Micros(binary.BigEndian.Uint64(position[1:])), // see appendPosition
			ConversationID: string(position[positionHead:]),
		}}
		if synced {
			copy(c.of.list[:], raw[cursorHead:])
			copy(c.of.since[:], raw[cursorHead+hashSize:])
		}
		// One place has one cursor, to the last bit: format, checksum and spelling.
		if q.encodeCursor(*c) == text {
			return c, nil
		}
	}
	return nil, badRequest("cursor %s: %s", quote(text), expectCursor)
}

// checksum is that of something about the list that the request names: by app,
// user and filters in a canonical form, whatever the limit of a page.
func (q *query) checksum(bound []byte) []byte {
	f := q.filter
	var ids []string
	if f.IDs != nil {
		ids = slices.AppendSeq([]string{}, maps.Keys(f.IDs))
		slices.Sort(ids)
	}
	canonical, err := json.Marshal([]any{
		q.app, q.userID, ids, f.Type, f.MarkType, f.GroupName, f.HasUnreadCount, f.HasGroupAtInfo,
	})
	if err != nil {
		panic(err) // texts, numbers and booleans
	}
	sum := sha256.Sum256(append(canonical, bound...))
	return sum[:checksumSize]
}
