package e2e_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

var fullFlag = flag.Bool("full", false, "the great group has 100,000 members and 1,000,000 messages, not a hundredth of it")

// great is a group of many members in which much is said, in the course of ten
// days, of which the last five are not expired in the end. Messages are known
// by their number, from 1 on.
type great struct {
	script
	members, messages int
	sparse            bool // a message's sequence is its time, not its number

	now     time.Time
	counted []uint64 // how many messages up to each one count as unread for those who have not read them
}

const (
	greatGroup = "great"
	talkers    = 100 // the members who speak
	retention  = 5 * 24 * time.Hour
)

// newGreat makes the group.
func newGreat(t testing.TB, sparse bool) *great {
	g := &great{script: script{system: newSystem(t), app: "great"}, sparse: sparse, members: 1000, messages: 10_000}
	if *fullFlag {
		g.members, g.messages = 100_000, 1_000_000
	}
	g.now = g.time(g.messages).Time().Add(time.Minute)
	firstDay := events.MicrosOf(g.now.Add(-retention)).Day()
	g.counted = make([]uint64, g.messages+1)
	for i := 1; i <= g.messages; i++ {
		g.counted[i] = g.counted[i-1]
		if g.time(i).Day() >= firstDay && !onlineOnly(i) && !uncounted(i) && !recalled(i) {
			g.counted[i]++
		}
	}

	g.project()
	g.serve(func() time.Time { return g.now })
	g.add(dawn, &events.AppPlanChanged{MaxConversations: 100, Retention: uint64(retention.Seconds())})
	g.add(dawn, &events.GroupProfileChanged{GroupID: greatGroup, Name: "Great", Type: "Community"})
	for j := range g.members {
		g.member(j)
	}
	for i := 1; i <= g.messages; i++ {
		g.message(i)
	}
	g.end()
	return g
}

func memberID(j int) string { return fmt.Sprintf("member %06d", j) }

// Of the messages some count for nobody.
func onlineOnly(i int) bool { return i%97 == 0 }
func uncounted(i int) bool  { return i%89 == 0 }
func recalled(i int) bool   { return i%83 == 0 }

// time is a message's.
func (g *great) time(i int) events.Micros {
	return dawn + events.Micros(i)*events.Micros((10*24*time.Hour).Microseconds()/int64(g.messages))
}

// sequence is a message's; 0 is before the first one.
func (g *great) sequence(i int) uint64 {
	if g.sparse && i > 0 {
		return uint64(g.time(i))
	}
	return uint64(i)
}

// mentions says whom a message mentions: everyone, or one member.
func (g *great) mentions(i int) (all bool, one int) {
	every := g.messages / 200
	if i%every != 0 {
		return false, -1
	}
	if i /= every; i%4 == 0 {
		return true, -1
	}
	return i%7 == 0, talkers + i%fates
}

func (g *great) message(i int) {
	m := text(events.Group(greatGroup), memberID(i%talkers), g.sequence(i))
	m.OnlineOnly, m.ExcludedFromUnread = onlineOnly(i), uncounted(i)
	all, one := g.mentions(i)
	if m.AtAll = all; one >= 0 {
		m.AtUsers = []string{memberID(one)}
	}
	g.add(g.time(i), m)
	if recalled(i) {
		g.add(g.time(i), &events.MessageRecalled{Conversation: m.Conversation, Sequence: m.Sequence, Revoker: m.From})
	}
}

// fate is what becomes of a member who does not speak.
type fate int

const (
	stays   fate = iota
	reads        // up to some message
	late         // joins after some message
	leaves       // and is gone
	returns      // after some message
	clears       // the history up to some message

	fates = int(clears) + 1
)

// fateOf says what becomes of a member, and which message it is about.
func (g *great) fateOf(j int) (fate, int) {
	return fate((j - talkers) % fates), 1 + j*7919%(g.messages-1)
}

// member adds what a member does besides speaking.
func (g *great) member(j int) {
	id := memberID(j)
	of := events.ConversationOf{UserID: id, ConversationID: events.Group(greatGroup).IDFor(id)}
	change := func(at events.Micros, status string, after int) {
		g.add(at, &events.GroupMemberChanged{GroupID: greatGroup, UserID: id, Status: status, JoinSequence: g.sequence(after)})
	}
	if j < talkers {
		change(dawn, events.StatusJoined, 0)
		return
	}
	switch f, i := g.fateOf(j); f {
	case stays:
		change(dawn, events.StatusJoined, 0)
	case reads:
		change(dawn, events.StatusJoined, 0)
		g.add(g.time(i), &events.ConversationRead{ConversationOf: of, Sequence: g.sequence(i)})
	case late:
		change(g.time(i), events.StatusJoined, i)
	case leaves:
		change(dawn, events.StatusJoined, 0)
		change(dawn+1, events.StatusLeft, 0)
	case returns:
		change(dawn, events.StatusJoined, 0)
		change(dawn+1, events.StatusLeft, 0)
		change(g.time(i), events.StatusJoined, i)
	case clears:
		change(dawn, events.StatusJoined, 0)
		g.add(g.time(i), &events.ConversationCleared{ConversationOf: of, ThroughSequence: g.sequence(i)})
	}
}

// want is what a member sees of the group.
func (g *great) want(j int) (p item) {
	p.ConversationID = events.Group(greatGroup).IDFor("")
	p.GroupAtInfoList = []atInfo{}
	var read int
	if j < talkers {
		read = g.messages - (g.messages-j)%talkers // the last one that they sent
	} else {
		switch f, i := g.fateOf(j); f {
		case leaves:
			return p
		case stays:
		default:
			read = i
		}
	}
	p.GroupProfile.SelfInfo.ReadedSequence = g.sequence(read)
	p.GroupProfile.NextMessageSeq = g.sequence(g.messages) + 1
	p.UnreadCount = g.counted[g.messages] - g.counted[read]
	// The last message is not onlineOnly, and recalled or not it is shown.
	p.LastMessage = head{g.time(g.messages).Seconds(), g.sequence(g.messages)}
	for i := g.messages; i > read && len(p.GroupAtInfoList) < 20; i-- {
		all, one := g.mentions(i)
		if !all && one != j || g.counted[i] == g.counted[i-1] {
			continue
		}
		kind := 1
		if all {
			kind = 2
			if one == j {
				kind = 3
			}
		}
		p.GroupAtInfoList = append(p.GroupAtInfoList, atInfo{memberID(i % talkers), g.sequence(i), []int{kind}})
	}
	return p
}

// TestSize_GreatGroup asks what members of a great group see of it: those who
// speak, read, come late, leave, return or clear the history. And what is said in it
// is written once, not once for every member.
func TestSize_GreatGroup(t *testing.T) {
	for _, sparse := range []bool{false, true} {
		t.Run(fmt.Sprintf("sparse=%t", sparse), func(t *testing.T) {
			g := newGreat(t, sparse)
			var asked errgroup.Group
			for j := 0; j < g.members; j += g.members/100 + 1 { // members of all fates
				asked.Go(func() error { return g.check(j) })
			}
			for f := range fates { // those whom messages mention
				asked.Go(func() error { return g.check(talkers + f) })
			}
			if err := asked.Wait(); err != nil {
				t.Fatal(err)
			}
			t.Run("Elsewhere_AProjectionPerRecipient", g.writtenOnce)
		})
	}
}

// check compares all that a member sees.
func (g *great) check(j int) error {
	id, want := memberID(j), g.want(j)
	var list []item
	if want.LastMessage.LastSequence > 0 {
		list = []item{want}
		list[0].GroupProfile = groupProfile{}
	}
	return errors.Join(g.checkProfile(id, want), g.checkList(id, 0, list), g.checkTotal(id, false, want.UnreadCount))
}

// writtenOnce: elsewhere a message in a group of 100,000 became 100,000 writes
// (WuKongIM tore that out in 2026). It counts the rows that are written for one message, in the great
// group and in one of two members.
func (g *great) writtenOnce(t *testing.T) {
	conn, database := sandboxtest.ClickHouse(t), g.readModel.Generation(1).Database()
	var tables []struct{ Name string }
	if err := conn.Select(t.Context(), &tables, "SELECT name AS Name FROM system.tables WHERE database = '"+database+"' AND engine LIKE '%MergeTree'"); err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if err := conn.Exec(t.Context(), "SYSTEM STOP MERGES "+database+"."+table.Name); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() (n uint64) {
		if err := conn.QueryRow(t.Context(), "SELECT sum(rows) FROM system.parts WHERE active AND database = '"+database+"'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	write := func(group string) uint64 {
		before := rows()
		g.add(g.time(g.messages+1), text(events.Group(group), memberID(0), g.sequence(g.messages+1)))
		g.end()
		return rows() - before
	}
	for j := range 2 {
		g.add(dawn, &events.GroupMemberChanged{GroupID: "small", UserID: memberID(j), Status: events.StatusJoined})
	}
	g.end()
	small, most := write("small"), write(greatGroup)
	if small == 0 || small != most {
		t.Errorf("a message is %d rows in a group of two, %d in one of %d", small, most, g.members)
	}
}
