package query

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/convoview/convoview/internal/projection"
)

const listHead = `{"code":0,"data":{"conversationList":[`

// listTail ends a list. removed is a JSON array.
func listTail(cursor, removed string, reset bool, token string) string {
	return `],"isSyncCompleted":` + strconv.FormatBool(cursor == "") +
		`,"removed":` + removed + `,"reset":` + strconv.FormatBool(reset) + `},"nextCursor":"` + cursor + `","syncToken":"` + token + `"}`
}

// listReply is a page in the making. It can be ended after any item that was added.
type listReply struct {
	query    *query
	maxBytes int
	buffer   *bytes.Buffer
	changes  *changes
	removed  string               // of changes, as JSON
	rest     int                  // length of the tail of a last page
	last     *projection.Position // after which there is more; nil when there is not
}

// newListReply begins a page of at most maxBytes.
func newListReply(to *bytes.Buffer, q *query, c *changes, maxBytes int) *listReply {
	r := &listReply{buffer: to, query: q, maxBytes: maxBytes, changes: c, removed: "[]"}
	if len(c.removed) > 0 {
		var b bytes.Buffer
		if err := encode(&b, c.removed); err != nil {
			panic(err) // texts
		}
		r.removed = b.String()
	}
	r.rest = len(r.tail(""))
	r.buffer.WriteString(listHead)
	return r
}

// add adds an item, unless the page ended with it would be too large: then the
// page is to end before it, or is refused when there is nothing before it. final
// says that no item comes after it on any page.
func (r *listReply) add(fragment []byte, at *projection.Position, final bool) (bool, error) {
	before := r.buffer.Len()
	if before > len(listHead) {
		r.buffer.WriteByte(',')
	}
	r.buffer.Write(fragment)
	size := r.buffer.Len() + r.rest
	if !final {
		size += cursorLength(r.changes.synced, *at) + len("false") - len("true")
	}
	switch {
	case size <= r.maxBytes:
		r.last = at
		if final {
			r.last = nil
		}
		return true, nil
	case before == len(listHead):
		refused := tooLarge(at.ConversationID, size, r.maxBytes)
		refused.Removed, refused.Reset, refused.SyncToken = r.changes.removed, r.changes.reset, r.changes.token
		if !final {
			refused.NextCursor = r.cursor(at)
		}
		return false, refused
	default:
		r.buffer.Truncate(before)
		return false, nil
	}
}

// end ends the page.
func (r *listReply) end() {
	var next string
	if r.last != nil {
		next = r.cursor(r.last)
	}
	r.buffer.WriteString(r.tail(next))
}

// cursor goes on after a position.
func (r *listReply) cursor(at *projection.Position) string {
	c := cursor{Position: *at, synced: r.changes.synced}
	if c.synced {
		c.of = r.changes.of()
	}
	return r.query.encodeCursor(c)
}

func (r *listReply) tail(cursor string) string {
	return listTail(cursor, r.removed, r.changes.reset, r.changes.token)
}

func encodeProfile(item *projection.Item, maxBytes int) ([]byte, error) {
	reply := appendItem([]byte(`{"code":0,"data":{"conversation":`), item, nil)
	reply = append(reply, `}}`...)
	if len(reply) > maxBytes {
		return nil, tooLarge(item.ConversationID, len(reply), maxBytes)
	}
	return reply, nil
}

func encodeUnread(total uint64) []byte {
	return fmt.Appendf(nil, `{"code":0,"data":{"totalUnreadMessageCount":%d}}`, total)
}

func tooLarge(conversationID string, size, maxBytes int) *replyError {
	refused := refusal(codeTooLarge, "conversation %s makes a reply of %d bytes: expected at most %d, the NATS server's maximum payload",
		quote(conversationID), size, maxBytes)
	refused.ConversationID = conversationID
	return refused
}

// encode appends v as JSON that shows text as it is: nothing here is HTML.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	b.Truncate(b.Len() - 1) // the line break
	return nil
}
