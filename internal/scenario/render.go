package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/convoview/convoview/internal/events"
)

// Render shows the answer to a question about one endpoint: of a list the JSON
// array of its items, of a profile the item or null, of a total the number.
func Render(endpoint string, answer []byte) (string, error) {
	var b strings.Builder
	switch {
	case endpoint == "unread":
		b.Write(answer)
		b.WriteByte('\n')
	case string(answer) == "null":
		b.WriteString("404\n")
	case endpoint == "profile":
		if err := renderItem(&b, answer); err != nil {
			return "", err
		}
	default:
		var items []json.RawMessage
		if err := json.Unmarshal(answer, &items); err != nil {
			return "", fmt.Errorf("list: %w", err)
		}
		for _, item := range items {
			if err := renderItem(&b, item); err != nil {
				return "", err
			}
		}
		if len(items) == 0 {
			b.WriteString("(none)\n")
		}
	}
	return b.String(), nil
}

// unsaid are the values that go without saying; * is any.
var unsaid = map[string]string{
	"/conversationID":                          "*",
	"/type":                                    "*",
	"/messageRemindType":                       events.RemindAccept,
	"/lastMessage/type":                        events.TypeText,
	"/groupAtInfoList/groupID":                 "*",
	"/userProfile/userID":                      "*",
	"/userProfile/gender":                      events.DefaultGender,
	"/userProfile/allowType":                   events.DefaultAllowType,
	"/userProfile/adminForbidType":             events.DefaultAdminForbidType,
	"/groupProfile/groupID":                    "*",
	"/groupProfile/selfInfo/userID":            "*",
	"/groupProfile/selfInfo/messageRemindType": events.RemindAccept,
	"/groupProfile/lastMessage":                "*", // Render sees to it that it is the item's
}

// empty are the values of what is not there.
var empty = []string{`""`, `0`, `false`, `null`, `[]`}

// times are the members that hold seconds since 1970.
var times = map[string]bool{
	"lastTime": true, "peerReadTime": true, "joinTime": true, "createTime": true, "lastInfoTime": true, "lastUpdatedTime": true,
}

func renderItem(b *strings.Builder, item []byte) error {
	var head struct {
		ConversationID string
		LastMessage    json.RawMessage
		GroupProfile   struct{ LastMessage json.RawMessage }
	}
	if err := json.Unmarshal(item, &head); err != nil {
		return fmt.Errorf("item: %w", err)
	}
	if again := head.GroupProfile.LastMessage; again != nil && !bytes.Equal(again, head.LastMessage) {
		return fmt.Errorf("%s: groupProfile.lastMessage is %s, expected the item's %s", head.ConversationID, again, head.LastMessage)
	}
	return renderObject(b, "", "", show(head.ConversationID), item)
}

// renderObject writes a line with the scalars of an object, and below it, indented, what it holds.
func renderObject(b *strings.Builder, path, indent, title string, object []byte) error {
	members, err := membersOf(object)
	if err != nil {
		return err
	}
	line, below := indent+title, strings.Builder{}
	for _, m := range members {
		at := path + "/" + m.name
		text := m.value.String()
		if m.value.Kind() == '"' {
			_ = json.Unmarshal(m.value, &text) // it was decoded before
		}
		switch {
		case unsaid[at] == "*" || unsaid[at] == text || at == "/lastMessage/messageID" && text == "m"+members.text("lastSequence"):
		case m.name != "payload" && m.value.Kind() == '{':
			err = renderObject(&below, at, indent+"  ", m.name, m.value)
		case m.value.Kind() == '[' && bytes.HasPrefix(m.value, []byte(`[{`)):
			var list []json.RawMessage
			err = json.Unmarshal(m.value, &list)
			for i := 0; i < len(list) && err == nil; i++ {
				err = renderObject(&below, at, indent+"  ", m.name, list[i])
			}
		case slices.Contains(empty, m.value.String()):
		case times[m.name]:
			line += " " + m.name + "=" + showTime(m.value)
		case m.value.Kind() == '"':
			line += " " + m.name + "=" + show(text)
		default:
			line += " " + m.name + "=" + text
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	switch {
	case path == "/lastMessage" && line == indent+title:
		line += " (empty)"
	case path != "" && line == indent+title && below.Len() == 0:
		return nil
	}
	b.WriteString(line + "\n" + below.String())
	return nil
}

type member struct {
	name  string
	value jsontext.Value
}

type members []member

// text is the value of a member as it stands in JSON.
func (list members) text(name string) string {
	for _, m := range list {
		if m.name == name {
			return m.value.String()
		}
	}
	return ""
}

// membersOf gives the members of an object in their order.
func membersOf(object []byte) (members, error) {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, fmt.Errorf("expected an object, have %s", object)
	}
	var list members
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, err
		}
		m.value = value.Clone()
		list = append(list, m)
	}
	return list, nil
}

// showTime is a time of Noon's day as a time of day, any other whole.
func showTime(seconds []byte) string {
	var s int64
	if json.Unmarshal(seconds, &s) != nil {
		return string(seconds)
	}
	t := time.Unix(s, 0).UTC()
	switch {
	case !t.Truncate(24 * time.Hour).Equal(Noon.Truncate(24 * time.Hour)):
		return t.Format(time.RFC3339)
	case t.Second() == 0:
		return t.Format("15:04")
	default:
		return t.Format("15:04:05")
	}
}
