package query

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/convoview/convoview/internal/projection"
)

// list answers conversation.list.
func (w *Worker) list(q *query, maxBytes int, to *bytes.Buffer) ([]byte, *missing, error) {
	var from *cursor
	if q.cursor != nil {
		var err error
		if from, err = q.decodeCursor(*q.cursor); err != nil {
			return nil, nil, err
		}
	}
	v := q.cache.view(q)
	defer v.close()
	if p := v.inbox.page; p != nil && v.sends(p, maxBytes) {
		return v.lend(p), nil, nil
	}
	for range viewAttempts {
		if lacks := v.judge(true); lacks != nil {
			return nil, lacks, nil
		}
		if reply, lacks, err := v.list(from, maxBytes, to); reply != nil || lacks != nil || err != nil {
			return reply, lacks, err
		}
	}
	return nil, nil, fmt.Errorf("the list of user %s changed %d times while it was read", quote(q.userID), viewAttempts)
}

// viewAttempts is how often rows are judged again because their groups change meanwhile.
const viewAttempts = 100

// list makes the page after a cursor. It gives nothing when a group has
// changed since its row was judged.
func (v *view) list(from *cursor, maxBytes int, to *bytes.Buffer) ([]byte, *missing, error) {
	q := v.query
	limit, err := v.limit()
	if err != nil {
		return nil, nil, err
	}
	list := v.selected()
	list = list[:q.filter.Cut(len(list), v.rules)]
	c := changes{list: list, synced: q.syncs() || from != nil && from.synced}
	if c.synced { // it takes the items of all
		if lacks, whole := v.show(list); lacks != nil || !whole {
			return nil, v.lacked(list, lacks), nil
		}
		if c = v.changes(list, from); c.reset {
			from = nil
		}
	}
	rest := c.list[after(c.list, from):]
	page := rest[:min(limit, len(rest))]
	if !c.synced {
		if lacks, whole := v.show(page); lacks != nil || !whole {
			return nil, v.lacked(list, lacks), nil
		}
	}
	last := len(page) == len(rest)
	fits, err := replyWith(to, q, page, last, &c, maxBytes)
	if err != nil {
		return nil, nil, err
	}
	if q.plain() && last && fits && v.settled() {
		v.keep(to.Bytes(), page)
	}
	return to.Bytes(), nil, nil
}

// after is where a list goes on after a cursor; nil is before its beginning.
func after(list []*row, from *cursor) int {
	if from == nil {
		return 0
	}
	i, found := slices.BinarySearchFunc(list, from.Position, func(r *row, p projection.Position) int {
		return r.is.listing.Compare(p)
	})
	if found {
		i++
	}
	return i
}

// tailBytes is about what ends a page, whose cursor or token is not long.
const tailBytes = 1 << 10

// replyWith writes the reply of a page, or of as much of it as fits; last says
// that there is nothing after it.
func replyWith(to *bytes.Buffer, q *query, page []*row, last bool, c *changes, maxBytes int) (fits bool, err error) {
	size := len(listHead)
	for _, r := range page {
		size += len(r.is.json) + len(",")
	}
	to.Grow(min(size, maxBytes) + tailBytes)
	reply := newListReply(to, q, c, maxBytes)
	for i, r := range page {
		fits, err := reply.add(r.is.json, &r.is.listing.Position, i == len(page)-1 && last)
		if err != nil {
			return false, err
		}
		if !fits {
			reply.end()
			return false, nil
		}
	}
	reply.end()
	return true, nil
}

// unread answers conversation.unread.
func (w *Worker) unread(q *query, _ int, to *bytes.Buffer) ([]byte, *missing, error) {
	v := q.cache.view(q)
	defer v.close()
	if lacks := v.judge(false); lacks != nil {
		return nil, lacks, nil
	}
	var total uint64
	for _, r := range v.selected() {
		if l := &r.is.listing; q.includeMuted || !l.Muted {
			total += l.Unread
		}
	}
	to.Write(encodeUnread(total))
	return to.Bytes(), nil, nil
}
