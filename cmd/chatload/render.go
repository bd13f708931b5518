package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rivo/uniseg"

	"github.com/convoview/convoview/client"
	"github.com/convoview/convoview/internal/events"
)

const (
	defaultWidth = 100
	nameColumns  = 28 // at most
	fewColumns   = 12 // that the name and the text keep on a narrow terminal
)

// renderList draws a list as a table of at most so many columns.
func renderList(w io.Writer, r client.List, userID string, now time.Time, width int) error {
	var b strings.Builder
	if r.Reset {
		b.WriteString("(the token did not fit: this is the whole list)\n")
	}
	if len(r.ConversationList) == 0 {
		b.WriteString("no conversations\n")
	} else {
		t := table{
			head:  []string{"", "CONVERSATION", "UNREAD", "LAST MESSAGE", "WHEN"},
			right: []bool{false, false, true, false, true},
			name:  1,
			text:  3,
		}
		for _, item := range r.ConversationList {
			t.rows = append(t.rows, []string{badges(item), name(item), unread(item), lastLine(item, userID), ago(item.LastMessage.LastTime, now)})
		}
		t.render(&b, width)
	}
	for _, id := range r.Removed {
		b.WriteString("removed: " + plain(id) + "\n")
	}
	if r.NextCursor != "" {
		b.WriteString("more: --cursor " + r.NextCursor + "\n")
	}
	if r.SyncToken != "" {
		b.WriteString("since now: --since " + r.SyncToken + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// badges are what a conversation carries besides its messages.
func badges(item client.Conversation) string {
	var b strings.Builder
	if item.IsPinned {
		b.WriteString("📌")
	}
	if muted(item) {
		b.WriteString("🔕")
	}
	for _, m := range item.MarkList {
		switch m {
		case 1:
			b.WriteString("⭐")
		case 2:
			b.WriteString("🔵")
		case 3:
			b.WriteString("📁")
		case events.MarkHidden:
			b.WriteString("🙈")
		}
	}
	return b.String()
}

func muted(item client.Conversation) bool {
	return item.MessageRemindType == events.RemindDiscard || item.MessageRemindType == events.RemindAcceptNotNotify
}

// name is what the user knows a conversation by.
func name(item client.Conversation) string {
	for _, s := range []string{item.Remark, nick(item), groupName(item)} {
		if s != "" {
			return s
		}
	}
	if item.Type == "@TIM#SYSTEM" {
		return "System"
	}
	if _, id, ok := events.SplitConversationID(item.ConversationID); ok {
		return id
	}
	return item.ConversationID
}

func nick(item client.Conversation) string {
	if item.UserProfile == nil {
		return ""
	}
	return item.UserProfile.Nick
}

func groupName(item client.Conversation) string {
	if item.GroupProfile == nil {
		return ""
	}
	return item.GroupProfile.Name
}

// unread is the number of unread messages, with an @ where one is a mention.
func unread(item client.Conversation) string {
	if item.UnreadCount == 0 && len(item.GroupAtInfoList) == 0 {
		return ""
	}
	mention := ""
	for _, at := range item.GroupAtInfoList {
		if slices.Contains(at.AtTypeArray, 1) || slices.Contains(at.AtTypeArray, 3) {
			mention = "@me "
			break
		}
		mention = "@all "
	}
	return mention + "●" + strconv.FormatUint(item.UnreadCount, 10)
}

// lastLine is the last message in one line, the draft before it.
func lastLine(item client.Conversation, userID string) string {
	draft := ""
	if item.DraftText != "" {
		draft = "[Draft] " + item.DraftText + " │ "
	}
	m := item.LastMessage
	if m.LastSequence == 0 {
		return draft
	}
	by := ""
	switch {
	case m.Type == "TIMGroupTipElem": // a line of the group itself
	case userID != "" && m.FromAccount == userID:
		by = "You: "
		if item.Type == "C2C" && m.IsPeerRead {
			by = "You ✓✓: "
		}
	case item.Type == "GROUP":
		if by = sender(m); by != "" {
			by += ": "
		}
	}
	switch {
	case m.IsRevoked:
		return draft + by + recalled(m)
	case m.Version > 0:
		return draft + by + m.MessageForShow + " (edited)"
	}
	return draft + by + m.MessageForShow
}

func sender(m client.LastMessage) string {
	for _, s := range []string{m.NameCard, m.Nick, m.FromAccount} {
		if s != "" {
			return s
		}
	}
	return ""
}

func recalled(m client.LastMessage) string {
	s := "recalled"
	if m.Revoker != nil && *m.Revoker != m.FromAccount {
		s += " by " + *m.Revoker
	}
	if m.RevokeReason != "" {
		s += ": " + m.RevokeReason
	}
	return "⟲ " + s
}

// ago is how long ago a time in seconds was.
func ago(seconds int64, now time.Time) string {
	if seconds == 0 {
		return ""
	}
	t := time.Unix(seconds, 0).UTC()
	switch d := now.Sub(t); {
	case d < 5*time.Second:
		return "now"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 24*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	case d < 7*24*time.Hour:
		return strconv.Itoa(int(d.Hours()/24)) + "d"
	case t.Year() == now.UTC().Year():
		return t.Format("2 Jan")
	default:
		return t.Format(time.DateOnly)
	}
}

// table aligns cells by the columns that they take on a terminal.
type table struct {
	head  []string // nil: none
	right []bool   // aligned to the right
	name  int      // which one is cut at nameColumns, and further on a narrow terminal
	text  int      // which one takes what is left
	rows  [][]string
}

const gap = "  "

func (t *table) render(b *strings.Builder, width int) {
	widths := make([]int, len(t.right))
	rows := t.rows
	if t.head != nil {
		rows = append([][]string{t.head}, rows...)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = plain(row[i])
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	widths[t.name] = min(widths[t.name], nameColumns)
	left := width - len(gap)*(len(widths)-1)
	for i, n := range widths {
		if i != t.text {
			left -= n
		}
	}
	if missing := min(widths[t.text], fewColumns) - left; missing > 0 {
		shrunk := max(min(widths[t.name], fewColumns), widths[t.name]-missing)
		left += widths[t.name] - shrunk
		widths[t.name] = shrunk
	}
	widths[t.text] = min(widths[t.text], max(left, fewColumns))
	for _, row := range rows {
		var l strings.Builder
		for i, cell := range row {
			cell = fit(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-columns(cell))
			if i > 0 {
				l.WriteString(gap)
			}
			if t.right[i] {
				l.WriteString(pad + cell)
			} else {
				l.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
}

// columns is how many columns a text takes on a terminal.
func columns(s string) int { return uniseg.StringWidth(s) }

// fit cuts a text to so many columns.
func fit(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	var b strings.Builder
	taken := 0
	for g := uniseg.NewGraphemes(s); g.Next(); {
		if taken+g.Width() > width-1 {
			break
		}
		taken += g.Width()
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

// plain makes a text safe for one line of a terminal: what people write may
// hold line breaks, escape sequences and changes of direction.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r) || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' || r == '\u061c':
			return -1
		}
		return r
	}, s)
}

// renderProfile draws one conversation, a line for each of its fields.
func renderProfile(w io.Writer, item *client.Profile, userID string, now time.Time, width int) error {
	listed := client.Conversation{Item: item.Item}
	if u := item.UserProfile; u != nil {
		listed.UserProfile = &u.UserInfo
	}
	if g := item.GroupProfile; g != nil {
		listed.GroupProfile = &g.GroupInfo
	}
	if err := renderList(w, client.List{ConversationList: []client.Conversation{listed}}, userID, now, width); err != nil {
		return err
	}
	t := table{right: []bool{false, false}, name: 0, text: 1}
	line := func(label string, value any) {
		if s := fmt.Sprint(value); s != "" && s != "0" && s != "false" && s != "[]" {
			t.rows = append(t.rows, []string{label, s})
		}
	}
	line("conversation", item.ConversationID)
	line("type", strings.TrimSpace(item.Type+" "+item.SubType))
	line("last sequence", item.LastMessage.LastSequence)
	line("last time", at(item.LastMessage.LastTime))
	line("message", strings.TrimSpace(item.LastMessage.Type+" "+item.LastMessage.MessageID))
	line("payload", string(item.LastMessage.Payload))
	line("version", item.LastMessage.Version)
	for _, m := range item.GroupAtInfoList {
		line("mention", fmt.Sprintf("by %s in message %d", m.From, m.MessageSequence))
	}
	line("peer read", at(item.PeerReadTime))
	line("reminds", item.MessageRemindType)
	line("marks", item.MarkList)
	line("groups", strings.Join(item.ConversationGroupList, ", "))
	line("draft", item.DraftText)
	line("custom data", item.CustomData)
	line("remark", item.Remark)
	if u := item.UserProfile; u != nil {
		line("user", strings.TrimSpace(u.UserID+" · "+u.Nick))
		line("avatar", u.Avatar)
		line("gender", u.Gender)
		line("birthday", u.Birthday)
		line("location", u.Location)
		line("signature", u.SelfSignature)
		line("level", u.Level)
		line("updated", at(u.LastUpdatedTime))
	}
	if g := item.GroupProfile; g != nil {
		line("group", strings.TrimSpace(g.GroupID+" · "+g.Name))
		line("avatar", g.Avatar)
		line("introduction", g.Introduction)
		line("notification", g.Notification)
		line("owner", g.OwnerID)
		line("created", at(g.CreateTime))
		line("members", g.MemberCount)
		line("muted for all", g.MuteAllMembers)
		line("next sequence", g.NextMessageSeq)
		line("my role", g.SelfInfo.Role)
		line("my name card", g.SelfInfo.NameCard)
		line("joined", at(g.SelfInfo.JoinTime))
		line("joined at", g.SelfInfo.JoinSequence)
		line("read up to", g.SelfInfo.ReadedSequence)
	}
	var b strings.Builder
	b.WriteString("\n")
	t.render(&b, width)
	_, err := io.WriteString(w, b.String())
	return err
}

// at is a time in seconds, for people.
func at(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 UTC")
}
