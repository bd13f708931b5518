package query

import (
	"slices"
	"strings"
	"sync/atomic"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// inbox is what is in memory of one user: a row for each conversation, and what
// the rules say of them.
type inbox struct {
	rows []*row // ascending by conversation ID
	all  []*row // of a frozen one that names what is gone: those that there were; only their IDs are looked at
	app  *entry[projection.App]

	// What follows is made from the rows when a request needs it.

	basis     basis  // what all judgements are made of besides registers
	order     []*row // the listed rows in list order, if nothing has been judged since
	page      *page  // nil: not made yet, or no more what it was
	last      *page  // that was made, in which items may still lie
	unchanged int    // for so many requests in a row for the whole list

	// holders are the table, while the inbox is in it, and the requests that use
	// it. The last one drops what the rows share with others.
	holders int
	bytes   int
	// weighed is the bytes that the table is to count. It reads them under locks of its own,
	// under which nobody may wait for the inbox.
	weighed atomic.Int64
}

// row is one conversation of a user: the user's own registers, and what else
// its item shows, held while the inbox is.
type row struct {
	id     string
	own    string             // the compact form
	group  *entry[groupValue] // while joined; nil: not asked for yet
	peer   *entry[person]     // C2C; nil: not asked for yet
	extra  *extra             // nil: the item shows nothing more
	is     judgement          // if it was judged; the item may still be needed when it has to be judged again
	joined bool               // it is a group that the user is in
	judged bool               // else the rules are to be asked
	moved  bool               // it was judged since the order was found
}

// extra are the things that few items show.
type extra struct {
	editKeys    []projection.EditKey // one at most: the head's
	edits       []*entry[projection.Edit]
	mentionKeys []projection.MentionKey
	senders     []*entry[projection.Register[string]]
}

// sender gives who has sent the message of a mention.
func (x *extra) sender(m projection.Mention) string {
	for i, k := range x.mentionKeys {
		if k.Mention == m {
			sender, _ := x.senders[i].read()
			return sender.Value
		}
	}
	return ""
}

// judgement is what the rules say of a conversation, and the item that follows.
type judgement struct {
	group   uint64 // the version of what the group's members share
	listing projection.Listing
	edit    *projection.EditKey // the head's, if it can have one

	json    []byte  // the item as replies have it, if it is shown
	page    *page   // in which it lies; nil: it is by itself
	details uint64  // the version of all details that it was made with
	hashes  *hashes // for those who sync; nil: not made yet
	listed  bool    // else the rest is absent
	shown   bool
	erased  bool // the head is an erased user's
}

// hashes are those of the conversation ID and of the item.
type hashes struct{ id, item itemHash }

// basis is what all judgements of an inbox are made of besides registers.
type basis struct {
	app uint64 // the version of the app's plan and erased users
	day int64  // the first day that is not expired
}

// page is a whole list as it is sent to those who ask for nothing special. It is
// sent again as long as nothing that it was made of changes.
type page struct {
	reply []byte
	items int
	deps  []dependency // besides the inbox and its basis
	lent  atomic.Int32 // to replies that are not sent yet
}

func (p *page) size() int {
	if p == nil {
		return 0
	}
	return cap(p.reply) + dependencyBytes*len(p.deps)
}

// sending reports whether the page is on its way to somebody. It begins to be under the lock
// of its inbox alone, and only while it is the inbox's page.
func (p *page) sending() bool { return p != nil && p.lent.Load() > 0 }

// spare gives the bytes of a page that is sent no more, for one of that size, or nothing if
// they are still needed or do not fit.
func (p *page) spare(size int) []byte {
	if p == nil || p.sending() || size > cap(p.reply) || size < cap(p.reply)/2 {
		return nil
	}
	return p.reply[:0]
}

// dependency is a value at a version.
type dependency struct {
	*stamp
	is uint64
}

func (p *page) dependOn(s *stamp, version uint64) { p.deps = append(p.deps, dependency{s, version}) }

// holds reports whether making the page now would give the same.
func (p *page) holds(d demand) bool {
	for i := range p.deps {
		// In this order: what is loaded in between has a new version.
		if dep := &p.deps[i]; !dep.meets(d) || dep.version.Load() != dep.is {
			return false
		}
	}
	return true
}

// About what these take besides what they hold.
const (
	inboxBytes      = 320
	rowBytes        = 192
	dependencyBytes = 16
)

// merge puts registers of conversations into the inbox.
func (in *inbox) merge(states map[string]*projection.State) bool {
	var fresh []*row
	with := scratches.Get().(*scratch)
	defer scratches.Put(with)
	for id, state := range states {
		var r *row
		if i, found := find(in.rows, id); found {
			r = in.rows[i]
			merged := r.decode(&with.own)
			merged.Merge(state)
			state = merged
		} else {
			r = &row{id: id}
			in.bytes += rowBytes + len(id)
			fresh = append(fresh, r)
		}
		with.encoded = state.AppendCompact(with.encoded[:0])
		in.put(r, string(with.encoded), state.Settings().Member.Value.Status == events.StatusJoined) // only groups have members
	}
	in.add(fresh)
	return len(states) > 0
}

// add puts new rows in their places: those that are there are many, and in order.
func (in *inbox) add(fresh []*row) {
	slices.SortFunc(fresh, func(a, b *row) int { return strings.Compare(a.id, b.id) })
	known := in.rows
	in.rows = append(in.rows, fresh...)
	for i, r := range slices.Backward(fresh) { // so that each row is moved once
		place, _ := find(known, r.id)
		copy(in.rows[place+i+1:], known[place:])
		in.rows[place+i], known = r, in.rows[:place]
	}
}

func find(rows []*row, id string) (int, bool) {
	return slices.BinarySearchFunc(rows, id, func(r *row, id string) int { return strings.Compare(r.id, id) })
}

func (in *inbox) put(r *row, own string, joined bool) {
	in.bytes += len(own) - len(r.own)
	r.own, r.joined = own, joined
	in.unjudge(r)
}

// unjudge says that the rules have to be asked again. The item stays for as
// long: the next one takes its place.
func (in *inbox) unjudge(r *row) {
	in.page, r.judged = nil, false
}

// forget forgets what the rules said of a row.
func (in *inbox) forget(r *row) {
	in.unjudge(r)
	in.bytes -= r.is.size()
	r.is = judgement{}
}

// replaceItem puts an item in the place of the one before, in a page, too: that is no more
// what it was.
func (in *inbox) replaceItem(j *judgement, item []byte) {
	in.bytes -= j.size()
	if before := cap(j.json); j.page.sending() || before < len(item) || before > 2*len(item) {
		j.json, j.page = nil, nil
	}
	j.json = append(j.json[:0], item...)
	in.bytes += j.size()
}

// outweighs reports whether the inbox takes much more or less than the table counts, which
// is then to weigh it.
func (in *inbox) outweighs() bool {
	const part = 32
	bytes, weighed := int64(in.bytes), in.weighed.Load()
	change := bytes - weighed
	if max(change, -change) <= weighed/part {
		return false
	}
	in.weighed.Store(bytes)
	return true
}

// size is what of a judgement counts for it alone, besides its row.
func (j *judgement) size() int {
	n := j.listing.Bytes()
	if j.page == nil {
		n += cap(j.json)
	}
	return n
}

// size is about what an extra takes besides what it holds.
func (x *extra) size() int {
	const slices, edit, mention = 96, 72, 56
	if x == nil {
		return 0
	}
	return slices + edit*len(x.edits) + mention*len(x.senders)
}

// hashes are the row's, made when somebody syncs.
func (r *row) hashes() hashes {
	j := &r.is
	if j.hashes == nil {
		j.hashes = &hashes{hashOf([]byte(r.id)), hashOf(j.json)}
	}
	return *j.hashes
}

// decode gives the user's own registers.
func (r *row) decode(by *projection.CompactDecoder) *projection.State {
	own, err := by.Decode(r.own)
	if err != nil {
		panic(err) // it is ours
	}
	return own
}

// name is the conversation's peer or group.
func (r *row) name() string {
	_, name, _ := events.SplitConversationID(r.id) // rows have conversation IDs
	return name
}

// sort brings the listed rows into list order. All rows are judged. Those that
// have not moved are in order already, and most have not.
func (in *inbox) sort() {
	var moved []*row
	for _, r := range in.rows {
		if r.moved && r.is.listed {
			moved = append(moved, r)
		}
	}
	stayed := slices.DeleteFunc(in.order, func(r *row) bool { return r.moved })
	slices.SortFunc(moved, (*row).compare)
	// Both are merged from behind, so that each is read before its place is taken.
	in.order = append(stayed, moved...)
	for i, at := len(stayed)-1, len(in.order)-1; len(moved) > 0; at-- {
		last := moved[len(moved)-1]
		if i >= 0 && in.order[i].compare(last) > 0 {
			in.order[at] = in.order[i]
			i--
		} else {
			in.order[at], moved = last, moved[:len(moved)-1]
		}
	}
	for _, r := range in.rows {
		r.moved = false
	}
}

func (r *row) compare(other *row) int { return r.is.listing.Compare(other.is.listing.Position) }

// details are the stamps of all that the row's item shows besides registers.
func (r *row) details(yield func(*stamp) bool) {
	if r.peer != nil && !yield(&r.peer.stamp) {
		return
	}
	if r.extra == nil {
		return
	}
	for _, e := range r.extra.edits {
		if !yield(&e.stamp) {
			return
		}
	}
	for _, e := range r.extra.senders {
		if !yield(&e.stamp) {
			return
		}
	}
}

// detailed is the version of all of them together. Versions only grow, and so
// does their sum when any of them does.
func (r *row) detailed() (sum uint64) {
	for s := range r.details {
		sum += s.version.Load()
	}
	return sum
}
