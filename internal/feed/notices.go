package feed

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/projection"
)

// Notice is a hint that something has changed, for those who push it to
// clients. It says so at least once, merged with others, in no order, or not at all.
type Notice struct {
	App string `json:"app"`
	// UserID or GroupID says whose conversations have changed.
	UserID  string `json:"userID,omitempty"`
	GroupID string `json:"groupID,omitempty"`
	// ConversationIDList is empty when no conversation in particular has changed.
	ConversationIDList []string  `json:"conversationIDList"`
	Kinds              []string  `json:"kinds"`
	Time               time.Time `json:"time"` // when it became visible
}

// Subject is where the notice is published.
func (n *Notice) Subject() string {
	if n.GroupID != "" {
		return "convoview.v1." + n.App + ".changed.group." + SubjectToken(n.GroupID)
	}
	return "convoview.v1." + n.App + ".changed.user." + SubjectToken(n.UserID)
}

// SubjectToken makes a token of a subject of an ID: every byte outside
// [A-Za-z0-9_-] is written as %XX.
func SubjectToken(id string) string {
	plain := true
	for i := range len(id) {
		plain = plain && isPlain(id[i])
	}
	if plain {
		return id
	}
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; isPlain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// kindNames are how notices name kinds of changes, ascending.
var kindNames = [...]struct {
	kind projection.Kinds
	name string
}{
	{projection.KindErased, "erased"},
	{projection.KindMember, "member"},
	{projection.KindMessage, "message"},
	{projection.KindProfile, "profile"},
	{projection.KindRead, "read"},
	{projection.KindRegister, "register"},
}

func namesOf(k projection.Kinds) (names []string) {
	for _, n := range kindNames {
		if k&n.kind != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// mostNamed is how many conversations a notice names: with the longest IDs it is then half
// of what every NATS server takes.
const mostNamed = 2000

// noticesOf are of what has changed of somebody: one, unless it would name too many. Who
// writes to everybody has as many conversations changed at once.
func noticesOf(of projection.Whose, change *projection.Change, now time.Time) iter.Seq[Notice] {
	slices.Sort(change.Conversations)
	left := slices.Compact(change.Conversations)
	notice := Notice{App: of.App, UserID: of.UserID, GroupID: of.GroupID, Time: now.UTC(), Kinds: namesOf(change.Kinds)}
	return func(yield func(Notice) bool) {
		for more := true; more; more = len(left) > 0 {
			named := min(len(left), mostNamed)
			if notice.ConversationIDList, left = left[:named], left[named:]; !yield(notice) {
				return
			}
		}
	}
}

// Append appends the notice in JSON, as its tags have it: there may be one for each
// event, and an encoder that has to find out what a notice is takes twice as long.
func (n *Notice) Append(dst []byte) []byte {
	text := func(s string) { dst, _ = jsontext.AppendQuote(dst, s) } // what is no UTF-8 is replaced
	list := func(name string, all []string) {
		dst = append(append(append(dst, `,"`...), name...), `":[`...)
		for i, s := range all {
			if i > 0 {
				dst = append(dst, ',')
			}
			text(s)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `{"app":`...)
	text(n.App)
	if n.UserID != "" {
		dst = append(dst, `,"userID":`...)
		text(n.UserID)
	}
	if n.GroupID != "" {
		dst = append(dst, `,"groupID":`...)
		text(n.GroupID)
	}
	list("conversationIDList", n.ConversationIDList)
	list("kinds", n.Kinds)
	dst = append(dst, `,"time":"`...)
	dst = n.Time.AppendFormat(dst, time.RFC3339Nano)
	return append(dst, `"}`...)
}

// noticeDelay is how long a notice waits after its announcement. Whoever is noticed asks
// at once, and a query worker first has to merge what it has heard, perhaps on the other
// side of a NATS cluster, through which nothing comes in the order of another way.
const noticeDelay = 100 * time.Millisecond

// visible are changes, and when they became so.
type visible struct {
	changes projection.Changes
	at      time.Time
}

// notices are published a while after what they are of was added.
type notices struct {
	nc    *nats.Conn
	after func(func())

	mu      sync.Mutex
	waiting []visible // in the order in which they were added
	buffer  []byte    // reused
	failed  int       // did not get out, and nobody was told
}

// later does something after noticeDelay.
func later(do func()) { time.AfterFunc(noticeDelay, do) }

func (n *notices) add(changes projection.Changes, at time.Time) {
	if len(changes) == 0 {
		return
	}
	n.mu.Lock()
	n.waiting = append(n.waiting, visible{changes, at})
	n.mu.Unlock()
	n.after(n.tell)
}

// tell publishes those that have waited longest.
func (n *notices) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 { // closed meanwhile
		return
	}
	first := n.waiting[0]
	n.waiting[0] = visible{} // or it would be kept
	n.waiting = n.waiting[1:]
	for of, change := range first.changes {
		for notice := range noticesOf(of, change, first.at) {
			n.buffer = notice.Append(n.buffer[:0])
			if n.nc.Publish(notice.Subject(), n.buffer) != nil {
				n.failed++
			}
		}
	}
}

func (n *notices) tellAll() {
	for n.wait() > 0 {
		n.tell()
	}
}

func (n *notices) wait() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting)
}

// lost says how many did not get out since it was asked last; nil: none.
func (n *notices) lost() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	failed := n.failed
	if n.failed = 0; failed > 0 {
		return fmt.Errorf("%d notices did not get out", failed)
	}
	return nil
}
