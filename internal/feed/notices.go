package feed

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Kinds of changes, as notices name them.
const (
	KindMessage  = "message"
	KindRead     = "read"
	KindRegister = "register"
	KindMember   = "member"
	KindProfile  = "profile"
	KindErased   = "erased"
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
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// noticesOf are the notices of what is in models, one for each user and group.
func noticesOf(models []*projection.Model, now time.Time) []Notice {
	type key struct{ app, user, group string }
	type change struct {
		conversations, kinds map[string]struct{}
	}
	changes := map[key]change{}
	add := func(k key, conversation string, kinds ...string) {
		c, ok := changes[k]
		if !ok {
			c = change{map[string]struct{}{}, map[string]struct{}{}}
			changes[k] = c
		}
		if conversation != "" {
			c.conversations[conversation] = struct{}{}
		}
		for _, kind := range kinds {
			c.kinds[kind] = struct{}{}
		}
	}
	for _, m := range models {
		for k, s := range m.States {
			t, name, _ := events.SplitConversationID(k.ConversationID)
			// What happens in a group is said once, not to each who is mentioned or has sent it.
			message := (t != events.TypeGroup || k.Owner == "") &&
				(s.EditedSequence != 0 || len(s.Days) > 0 || len(s.Recalled) > 0)
			var kinds []string
			for kind, is := range map[string]bool{
				KindMessage:  message,
				KindRead:     s.Read != projection.ReadMark{} || s.PeerRead != projection.ReadMark{},
				KindMember:   s.Settings().Member.Written(),
				KindRegister: hasRegister(s),
			} {
				if is {
					kinds = append(kinds, kind)
				}
			}
			switch {
			case len(kinds) == 0:
			case k.Owner == "":
				add(key{app: k.App, group: name}, k.ConversationID, kinds...)
			default:
				add(key{app: k.App, user: k.Owner}, k.ConversationID, kinds...)
			}
		}
		for k := range m.Groups {
			add(key{app: k.App, group: k.GroupID}, events.Group(k.GroupID).IDFor(""), KindProfile)
		}
		for k := range m.Users {
			add(key{app: k.App, user: k.UserID}, "", KindProfile)
		}
		for k := range m.Erased {
			add(key{app: k.App, user: k.UserID}, "", KindErased)
		}
	}
	list := make([]Notice, 0, len(changes))
	for k, c := range changes {
		list = append(list, Notice{
			App: k.app, UserID: k.user, GroupID: k.group, Time: now.UTC(),
			ConversationIDList: append([]string{}, slices.Sorted(maps.Keys(c.conversations))...),
			Kinds:              slices.Sorted(maps.Keys(c.kinds)),
		})
	}
	return list
}

// hasRegister reports whether a user has set something.
func hasRegister(s *projection.State) bool {
	own := s.Settings()
	return own.Pinned.Written() || own.RemindType.Written() || own.Marks.Written() || own.Groups.Written() || own.CustomData.Written() ||
		own.Draft.Written() || own.Remark.Written() || s.Deleted != 0 || s.Cleared != 0
}

// notify publishes notices. It gives how many did not get out.
func notify(nc *nats.Conn, list []Notice) (failed int) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for i := range list {
		b.Reset()
		if e.Encode(&list[i]) != nil || nc.Publish(list[i].Subject(), bytes.TrimSpace(b.Bytes())) != nil {
			failed++
		}
	}
	return failed
}
