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

// A cursor is, as base64url: format (1 byte), checksum (16), pinned (1), time
// (8), conversation ID. It is a place in the order of the list, not in the
// list, so that a list that changes between two pages neither repeats nor
// skips what did not change. The checksum ties it to app, user and filters. It
// guards against mistakes, not against forgery: whoever may ask for a page may
// ask for any other page of that list, too.
const (
	cursorFormat = 1
	checksumSize = 16
	cursorHead   = 1 + checksumSize
	positionHead = 1 + 8
)

var cursorEncoding = base64.RawURLEncoding

func (q *query) encodeCursor(p projection.Position) string {
	position := make([]byte, positionHead, positionHead+len(p.ConversationID))
	if p.Pinned {
		position[0] = 1
	}
	binary.BigEndian.PutUint64(position[1:], uint64(p.Time)) //nolint:gosec // two's complement, there and back
	position = append(position, p.ConversationID...)
	return cursorEncoding.EncodeToString(slices.Concat([]byte{cursorFormat}, q.checksum(position), position))
}

// cursorLength is the length of the cursor of p.
func cursorLength(p projection.Position) int {
	return cursorEncoding.EncodedLen(cursorHead + positionHead + len(p.ConversationID))
}

// decodeCursor gives the position of a cursor that encodeCursor made for the same app, user and filters.
func (q *query) decodeCursor(cursor string) (projection.Position, error) {
	raw, err := cursorEncoding.DecodeString(cursor)
	if err == nil && len(raw) >= cursorHead+positionHead {
		position := raw[cursorHead:]
		p := projection.Position{
			Pinned:         position[0] == 1,
			Time:           events.Micros(binary.BigEndian.Uint64(position[1:])), //nolint:gosec // see encodeCursor
			ConversationID: string(position[positionHead:]),
		}
		// One place has one cursor, to the last bit: format, checksum and spelling.
		if q.encodeCursor(p) == cursor {
			return p, nil
		}
	}
	return projection.Position{}, badRequest("cursor %s: %s", quote(cursor), expectCursor)
}

// checksum is that of a position in the list that the request names: by app,
// user and filters in a canonical form, whatever the limit of a page.
func (q *query) checksum(position []byte) []byte {
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
	sum := sha256.Sum256(append(canonical, position...))
	return sum[:checksumSize]
}
