package docs_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

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
			if a.erased[at[1]] || a.dismissed[at[0]] {
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
			if a.erased[at[1]] || a.dismissed[at[0]] || e.Body.(*events.GroupMemberChanged).Status != events.StatusJoined {
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
