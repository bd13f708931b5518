package docs_test

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// analyst answers the questions of ANALYTICS.md from the events of a chat, by going
// through them, as somebody without SQL would.
type analyst struct {
	t      *testing.T
	chat   *bruteforce.Chat
	users  []string
	erased map[string]bool
	wrote  []wrote // every message ever, in the order of time
	sent   []sent  // those that are there to be seen, in the order of time
	// members, nicks, names and dismissed are what was said last, came when members did, the last time.
	members      map[[2]string]events.Event // by group and user
	came         map[[2]string]time.Time
	nicks, names map[string]string
	dismissed    map[string]bool
}

// wrote is that somebody wrote something.
type wrote struct {
	day  time.Time
	from string
	c    events.Conversation
}

// sent is a message as it is shown.
type sent struct {
	*events.MessageSent
	at       time.Time
	from     string // "" when they were erased
	recalled bool
	version  uint64
}

func newAnalyst(t *testing.T, app string, list []events.Event, now time.Time) *analyst {
	a := &analyst{
		t: t, chat: bruteforce.New(list, events.MicrosOf(now)), erased: map[string]bool{},
		members: map[[2]string]events.Event{}, came: map[[2]string]time.Time{}, nicks: map[string]string{}, names: map[string]string{}, dismissed: map[string]bool{},
	}
	a.users = a.chat.Users(app)
	type place struct {
		c        events.Conversation
		sequence uint64
	}
	recalled, versions := map[place]bool{}, map[place]uint64{}
	for _, e := range list { // they ascend by time, so that the last one is the latest
		switch b := e.Body.(type) {
		case *events.UserErased:
			a.erased[b.UserID] = true
		case *events.MessageRecalled:
			recalled[place{b.Conversation, b.Sequence}] = true
		case *events.MessageModified:
			at := place{b.Conversation, b.Sequence}
			versions[at] = max(versions[at], b.Version)
		case *events.GroupMemberChanged:
			at := [2]string{b.GroupID, b.UserID}
			if was, ok := a.members[at]; !ok || was.Body.(*events.GroupMemberChanged).Status != events.StatusJoined {
				a.came[at] = e.Time.Time()
			}
			a.members[at] = e
		case *events.UserProfileChanged:
			a.nicks[b.UserID] = b.Nick
		case *events.GroupProfileChanged:
			a.names[b.GroupID], a.dismissed[b.GroupID] = b.Name, b.Dismissed
		}
	}
	for _, e := range list {
		b, ok := e.Body.(*events.MessageSent)
		if !ok {
			continue
		}
		a.wrote = append(a.wrote, wrote{e.Time.Day().Time(), b.From, b.Conversation})
		if b.Conversation.Type != events.TypeGroup && (a.erased[b.Conversation.A] || a.erased[b.Conversation.B]) {
			continue
		}
		at := place{b.Conversation, b.Sequence}
		s := sent{b, e.Time.Time(), b.From, recalled[at], versions[at]}
		if a.erased[b.From] {
			s.from, s.recalled = "", true
		}
		a.sent = append(a.sent, s)
	}
	return a
}

// table is an answer: its rows, and in them whatever prints as ClickHouse prints it.
type table [][]any

// by sorts rows by columns, counted from 1; a negative one descends. Then it cuts them at most.
func (rows table) by(most int, columns ...int) table {
	slices.SortFunc(rows, func(a, b []any) int {
		for _, c := range columns {
			x, y := a[max(c, -c)-1], b[max(c, -c)-1]
			if c < 0 {
				x, y = y, x
			}
			var order int
			switch x := x.(type) {
			case string:
				order = strings.Compare(x, y.(string))
			case int:
				order = cmp.Compare(x, y.(int))
			}
			if order != 0 {
				return order
			}
		}
		return 0
	})
	return rows[:min(most, len(rows))]
}

// all does not cut.
const all = math.MaxInt

func date(t time.Time) string { return t.Format(time.DateOnly) }

func month(t time.Time) string { return t.Format("2006-01") + "-01" }

// monday is the beginning of a day's week.
func monday(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

// percent is rounded as the engine's round has it: halves to the even one.
func percent(part float64) int { return int(math.RoundToEven(100 * part)) }

// none is how CSV has NULL.
const none = `\N`

// level is a quantile as quantileExact has it.
func level(q float64, of []int) int {
	slices.Sort(of)
	return of[int(q*float64(len(of)))]
}

// sets are sets by a key.
type sets[K, V comparable] map[K]map[V]int

func (s sets[K, V]) add(k K, v V) {
	if s[k] == nil {
		s[k] = map[V]int{}
	}
	s[k][v]++
}

// total is how often something was put into a set.
func total[V comparable](set map[V]int) (n int) {
	for _, times := range set {
		n += times
	}
	return n
}

// byUser are the writers whose names are known, by a part of time.
func (a *analyst) byUser(of func(time.Time) string) sets[string, string] {
	s := sets[string, string]{}
	for _, w := range a.wrote {
		if w.from != "" && !a.erased[w.from] {
			s.add(of(w.day), w.from)
		}
	}
	return s
}

// writers are the days on which each of them wrote.
func (a *analyst) writers() sets[string, time.Time] {
	s := sets[string, time.Time]{}
	for _, w := range a.wrote {
		if w.from != "" && !a.erased[w.from] {
			s.add(w.from, w.day)
		}
	}
	return s
}

// conversation is what an item of a list says.
type conversation struct {
	user, kind, group string
	hidden            bool

	ConversationID        string   `json:"conversationID"`
	UnreadCount           int      `json:"unreadCount"`
	IsPinned              bool     `json:"isPinned"`
	MessageRemindType     string   `json:"messageRemindType"`
	MarkList              []int    `json:"markList"`
	ConversationGroupList []string `json:"conversationGroupList"`
	GroupAtInfoList       []struct {
		AtTypeArray []int `json:"atTypeArray"`
	} `json:"groupAtInfoList"`
}

// lists are everybody's, hidden conversations included.
func (a *analyst) lists() (list []conversation) {
	for _, user := range a.users {
		ids := []string{events.SystemConversationID}
		for _, other := range a.users {
			ids = append(ids, "C2C"+other)
		}
		for group := range a.names {
			ids = append(ids, "GROUP"+group)
		}
		items := func(f bruteforce.Filter) (items []conversation) {
			b, err := json.Marshal(a.chat.List(demo, user, f))
			if err == nil {
				err = json.Unmarshal(b, &items)
			}
			if err != nil {
				a.t.Fatal(err)
			}
			return items
		}
		visible := map[string]bool{}
		for _, c := range items(bruteforce.Filter{}) {
			visible[c.ConversationID] = true
		}
		for _, c := range items(bruteforce.Filter{IDs: ids}) {
			kind, name, _ := events.SplitConversationID(c.ConversationID)
			c.user, c.hidden, c.kind = user, !visible[c.ConversationID], strings.TrimPrefix(kind.String(), "@TIM#")
			if kind == events.TypeGroup {
				c.group = name
			}
			list = append(list, c)
		}
	}
	return list
}

// answersGiven are how long people took to answer, in seconds, by who answered.
func (a *analyst) answersGiven() map[string][]int {
	before, given := map[events.Conversation]sent{}, map[string][]int{}
	for _, s := range a.sent { // in C2C of this chat the order of time is that of sequences
		if s.Conversation.Type != events.TypeC2C || s.Conversation.A == s.Conversation.B {
			continue
		}
		if b, ok := before[s.Conversation]; ok && b.from != s.from {
			given[s.from] = append(given[s.from], int(s.at.Unix()-b.at.Unix()))
		}
		before[s.Conversation] = s
	}
	return given
}
