package docs_test

import (
	"cmp"
	"encoding/json"
	"maps"
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
	// members, nicks and names are what was said last, came when members did, the last time.
	members      map[[2]string]events.Event // by group and user
	came         map[[2]string]time.Time
	nicks, names map[string]string
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
		members: map[[2]string]events.Event{}, came: map[[2]string]time.Time{}, nicks: map[string]string{}, names: map[string]string{},
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
			a.names[b.GroupID] = b.Name
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

// answers are the answers to the questions, by their headings.
var answers = map[string]func(a *analyst) table{
	"How much is written each day?": func(a *analyst) (rows table) {
		of := map[string]map[events.ConversationType]int{}
		for _, w := range a.wrote {
			if w.day.Before(day("2026-06-22")) || w.day.After(day("2026-06-28")) {
				continue
			}
			if of[date(w.day)] == nil {
				of[date(w.day)] = map[events.ConversationType]int{}
			}
			of[date(w.day)][w.c.Type]++
		}
		for d, n := range of {
			rows = append(rows, []any{d, n[events.TypeC2C], n[events.TypeGroup], n[events.TypeSystem]})
		}
		return rows.by(all, 1)
	},
	"How many people write each day?": func(a *analyst) (rows table) {
		for d, users := range a.byUser(date) {
			if d >= "2026-06-22" && d <= "2026-06-28" {
				rows = append(rows, []any{d, len(users), total(users), slices.Max(slices.Collect(maps.Values(users)))})
			}
		}
		return rows.by(all, 1)
	},
	"How many people write each month?": func(a *analyst) (rows table) {
		for m, users := range a.byUser(month) {
			rows = append(rows, []any{m, len(users), total(users)})
		}
		return rows.by(all, 1)
	},
	"How often do people come back?": func(a *analyst) (rows table) {
		monthly, daily := a.byUser(month), a.byUser(date)
		shares := map[string][]float64{}
		for d := chatBegin; d.Before(chatEnd); d = d.AddDate(0, 0, 1) {
			m := month(d)
			shares[m] = append(shares[m], float64(len(daily[date(d)]))/float64(len(monthly[m])))
		}
		for m, list := range shares {
			sum := 0.0
			for _, share := range list {
				sum += share
			}
			rows = append(rows, []any{m, len(list), len(monthly[m]), percent(sum / float64(len(list)))})
		}
		return rows.by(all, 1)
	},
	"Do those who come stay?": func(a *analyst) (rows table) {
		const weeks = 5
		cohorts := map[string]*[weeks]int{}
		for _, days := range a.writers() {
			first := monday(slices.MinFunc(slices.Collect(maps.Keys(days)), time.Time.Compare))
			came := map[int]bool{}
			for d := range days {
				came[int(monday(d).Sub(first).Hours())/24/7] = true
			}
			if cohorts[date(first)] == nil {
				cohorts[date(first)] = &[weeks]int{}
			}
			for w := range weeks {
				if came[w] {
					cohorts[date(first)][w]++
				}
			}
		}
		for first, n := range cohorts {
			row := []any{first}
			for w := range weeks {
				if day(first).AddDate(0, 0, 7*w).Before(chatEnd) {
					row = append(row, n[w])
				} else {
					row = append(row, none)
				}
			}
			rows = append(rows, row)
		}
		return rows.by(all, 1)
	},
	"Who fell silent?": func(a *analyst) (rows table) {
		for user, days := range a.writers() {
			last := slices.MaxFunc(slices.Collect(maps.Keys(days)), time.Time.Compare)
			if last.Before(day("2026-06-22")) {
				rows = append(rows, []any{user, date(last), total(days)})
			}
		}
		return rows.by(5, -2, 1)
	},
	"Who writes the most?": func(a *analyst) (rows table) {
		for user, days := range a.writers() {
			maps.DeleteFunc(days, func(d time.Time, _ int) bool { return d.Before(day("2026-06-01")) })
			if len(days) > 0 {
				rows = append(rows, []any{user, a.nicks[user], total(days), len(days)})
			}
		}
		return rows.by(5, -3, 1)
	},
	"Which groups are the busiest?": func(a *analyst) (rows table) {
		messages, writers := map[string]int{}, sets[string, string]{}
		for _, s := range a.sent {
			if s.Conversation.Type == events.TypeGroup && !s.at.Before(day("2026-06-22")) {
				messages[s.Conversation.A]++
				if s.from != "" {
					writers.add(s.Conversation.A, s.from)
				}
			}
		}
		for g, n := range messages {
			rows = append(rows, []any{g, a.names[g], n, len(writers[g])})
		}
		return rows.by(5, -3, 1)
	},
	"Who talks to whom the most?": func(a *analyst) (rows table) {
		messages, ofOne := map[events.Conversation]int{}, map[events.Conversation]int{}
		for _, s := range a.sent {
			if c := s.Conversation; c.Type == events.TypeC2C && c.A != c.B {
				messages[c]++
				if s.from == c.A {
					ofOne[c]++
				}
			}
		}
		for c, n := range messages {
			rows = append(rows, []any{c.A, c.B, n, ofOne[c]})
		}
		return rows.by(5, -3, 1, 2)
	},
	"At what time of the day is it busy?": func(a *analyst) (rows table) {
		hours := map[int]int{}
		for _, s := range a.sent {
			if !s.at.Before(day("2026-06-01")) {
				hours[(s.at.Hour()+9)%24]++
			}
		}
		for h, n := range hours {
			rows = append(rows, []any{h, n})
		}
		return rows.by(5, -2, 1)
	},
	"What do people send?": func(a *analyst) (rows table) {
		types := map[string]int{}
		for _, s := range a.sent {
			types[s.Type]++
		}
		for t, n := range types {
			rows = append(rows, []any{t, n, percent(float64(n) / float64(len(a.sent)))})
		}
		return rows.by(all, -2, 1)
	},
	"How soon do people answer?": func(a *analyst) table {
		seconds := slices.Concat(slices.Collect(maps.Values(a.answersGiven()))...)
		return table{{len(seconds), level(0.5, seconds), level(0.9, seconds)}}
	},
	"Who answers the soonest?": func(a *analyst) (rows table) {
		for user, seconds := range a.answersGiven() {
			if len(seconds) >= 10 {
				rows = append(rows, []any{user, len(seconds), level(0.5, seconds)})
			}
		}
		return rows.by(5, 3, 1)
	},
	"How much is unread?": func(a *analyst) (rows table) {
		unread, behind, users := map[string]int{}, map[string]int{}, sets[string, string]{}
		for _, c := range a.lists() {
			if c.hidden {
				continue
			}
			unread[c.kind] += c.UnreadCount
			if c.UnreadCount > 0 {
				behind[c.kind]++
				users.add(c.kind, c.user)
			}
		}
		for kind, n := range unread {
			rows = append(rows, []any{kind, n, behind[kind], len(users[kind])})
		}
		return rows.by(all, 1)
	},
	"Whose badge is the greatest?": func(a *analyst) (rows table) {
		most := map[string]int{}
		for _, c := range a.lists() {
			muted := c.MessageRemindType == events.RemindDiscard || c.MessageRemindType == events.RemindAcceptNotNotify
			if !c.hidden && !muted && c.kind != "SYSTEM" {
				most[c.user] = max(most[c.user], c.UnreadCount)
			}
		}
		for user, n := range most {
			rows = append(rows, []any{user, int(a.chat.Unread(demo, user, bruteforce.Filter{}, false)), n})
		}
		return rows.by(5, -2, 1)
	},
	"Which groups do their members not read?": func(a *analyst) (rows table) {
		members, behind, unread := map[string]int{}, map[string]int{}, map[string]int{}
		for _, c := range a.lists() {
			if c.group == "" {
				continue
			}
			members[c.group]++
			unread[c.group] += c.UnreadCount
			if c.UnreadCount > 0 {
				behind[c.group]++
			}
		}
		for g, n := range members {
			rows = append(rows, []any{g, n, behind[g], unread[g]})
		}
		return rows.by(5, -4, 1)
	},
	"Who is mentioned the most?": func(a *analyst) (rows table) {
		groups := sets[string, string]{}
		for _, s := range a.sent {
			for _, user := range s.AtUsers {
				if s.Conversation.Type == events.TypeGroup && !s.recalled && !a.erased[user] {
					groups.add(user, s.Conversation.A)
				}
			}
		}
		for user, in := range groups {
			rows = append(rows, []any{user, total(in), len(in)})
		}
		return rows.by(5, -2, 1)
	},
	"Who has not read their mentions?": func(a *analyst) (rows table) {
		const one, both = 1, 3 // everyone is not somebody
		unread := map[string]int{}
		for _, c := range a.lists() {
			for _, mention := range c.GroupAtInfoList {
				if c.UnreadCount > 0 && (slices.Contains(mention.AtTypeArray, one) || slices.Contains(mention.AtTypeArray, both)) {
					unread[c.user]++
				}
			}
		}
		for user, n := range unread {
			rows = append(rows, []any{user, n})
		}
		return rows.by(5, -2, 1)
	},
	"How much is taken back or changed?": func(a *analyst) (rows table) {
		of := map[string]*[4]int{}
		for _, s := range a.sent {
			kind := strings.TrimPrefix(s.Conversation.Type.String(), "@TIM#")
			if of[kind] == nil {
				of[kind] = &[4]int{}
			}
			n := of[kind]
			n[0]++
			if s.recalled {
				n[1]++
			}
			if s.version > 0 {
				n[2]++
			}
			n[3] = max(n[3], int(s.version))
		}
		for kind, n := range of {
			rows = append(rows, []any{kind, n[0], n[1], n[2], n[3]})
		}
		return rows.by(all, 1)
	},
	"How many come to groups, and how many go?": func(a *analyst) (rows table) {
		june := map[string]time.Time{} // the first message of each group
		for _, s := range a.sent {
			if g := s.Conversation.A; s.Conversation.Type == events.TypeGroup && june[g].IsZero() && !s.at.Before(day("2026-06-01")) {
				june[g] = s.at
			}
		}
		of := map[string]*[3]int{}
		for at, e := range a.members {
			if a.erased[at[1]] {
				continue
			}
			if of[at[0]] == nil {
				of[at[0]] = &[3]int{}
			}
			n, first := of[at[0]], june[at[0]]
			switch joined := e.Body.(*events.GroupMemberChanged).Status == events.StatusJoined; {
			case joined:
				n[0]++
				if !first.IsZero() && a.came[at].After(first) {
					n[1]++
				}
			case !e.Time.Time().Before(day("2026-06-01")):
				n[2]++
			}
		}
		for g, n := range of {
			rows = append(rows, []any{g, n[0], n[1], n[2]})
		}
		return rows.by(5, -3, -4, -2, 1)
	},
	"Who only listens?": func(a *analyst) (rows table) {
		spoke := map[[2]string]bool{}
		for _, s := range a.sent {
			if s.Conversation.Type == events.TypeGroup && !s.at.Before(day("2026-06-22")) {
				spoke[[2]string{s.Conversation.A, s.from}] = true
			}
		}
		members, silent := map[string]int{}, map[string]int{}
		for at, e := range a.members {
			if a.erased[at[1]] || e.Body.(*events.GroupMemberChanged).Status != events.StatusJoined {
				continue
			}
			members[at[0]]++
			if !spoke[at] {
				silent[at[0]]++
			}
		}
		for g, n := range members {
			rows = append(rows, []any{g, n, silent[g]})
		}
		return rows.by(5, -3, 1)
	},
	"What do people mute?": func(a *analyst) (rows table) {
		kinds, users := sets[string, string]{}, sets[string, string]{}
		for _, c := range a.lists() {
			kinds.add(c.MessageRemindType, c.kind)
			users.add(c.MessageRemindType, c.user)
		}
		for remind, n := range kinds {
			rows = append(rows, []any{remind, n["C2C"], n["GROUP"], len(users[remind])})
		}
		return rows.by(all, 1)
	},
	"What do people use to keep order?": func(a *analyst) (rows table) {
		users := sets[string, string]{}
		for _, c := range a.lists() {
			for _, mark := range c.MarkList {
				users.add("mark "+jsonOf(mark), c.user)
			}
			for _, name := range c.ConversationGroupList {
				users.add("group "+name, c.user)
			}
			if c.IsPinned {
				users.add("pin", c.user)
			}
		}
		for means, of := range users {
			rows = append(rows, []any{means, total(of), len(of)})
		}
		return rows.by(all, -2, 1)
	},
	"How long are people's lists?": func(a *analyst) table {
		lengths := map[string]int{}
		for _, c := range a.lists() {
			if !c.hidden {
				lengths[c.user]++
			}
		}
		list := slices.Collect(maps.Values(lengths))
		return table{{len(list), level(0.5, list), level(0.9, list), slices.Max(list)}}
	},
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
