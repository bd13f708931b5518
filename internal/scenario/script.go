package scenario

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
)

// Noon is what the clock of a scenario shows until a step moves it.
var Noon = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// defaultApp is the app of events and questions that name none.
const defaultApp = "demo"

// Script is one scenario.
type Script struct {
	Steps   []Step
	archive *txtar.Archive
}

// Step is one of three: Events happen, the clock moves to Now, or a Question is asked.
type Step struct {
	Section  string
	Events   []events.Event
	Now      time.Time
	Question *Question
}

// Question is what a user asks, and the answer that is wanted.
type Question struct {
	// Endpoint is list, profile or unread.
	Endpoint, App, UserID string
	// ConversationID is the profile's.
	ConversationID string
	// Filter is the list's and the total's; IncludeMuted the total's.
	Filter       bruteforce.Filter
	IncludeMuted bool
	// Request is the question as a request: a JSON object.
	Request json.RawMessage
	// Want is the answer as the scenario shows it; see Render.
	Want string
	file *txtar.File
}

// Parse reads a scenario. Its errors name the section and the line.
func Parse(data []byte) (*Script, error) {
	s := &Script{archive: txtar.Parse(data)}
	if len(bytes.TrimSpace(s.archive.Comment)) == 0 {
		return nil, errors.New("the first lines must say what the scenario shows")
	}
	count := 0
	for i := range s.archive.Files {
		file := &s.archive.Files[i]
		step, err := parseStep(file, &count)
		if err != nil {
			return nil, fmt.Errorf("section %q: %w", file.Name, err)
		}
		s.Steps = append(s.Steps, step)
	}
	if len(s.Steps) == 0 || s.Steps[len(s.Steps)-1].Question == nil {
		return nil, errors.New("the last step must be a question")
	}
	return s, nil
}

// Answer writes down the answer to q, a question of s.
func (s *Script) Answer(q *Question, answer string) {
	q.Want, q.file.Data = answer, []byte(answer)
}

// Format is the scenario as it would be read again.
func (s *Script) Format() []byte { return txtar.Format(s.archive) }

func parseStep(file *txtar.File, count *int) (Step, error) {
	step := Step{Section: file.Name}
	words, err := split(file.Name)
	if err != nil {
		return step, err
	}
	switch words[0].text() {
	case "events":
		step.Events, err = parseEvents(string(file.Data), count)
	case "now":
		if len(words) != 2 {
			return step, errors.New("expected now TIME")
		}
		step.Now, err = parseTime(words[1].text())
	default:
		step.Question, err = parseQuestion(words, file)
	}
	return step, err
}

func parseQuestion(words []word, file *txtar.File) (*Question, error) {
	q := &Question{Endpoint: words[0].text(), App: defaultApp, Want: string(file.Data), file: file}
	request := map[string]json.RawMessage{}
	operands := map[string][]string{"list": {"userID"}, "unread": {"userID"}, "profile": {"userID", "conversationID"}}[q.Endpoint]
	if operands == nil {
		return nil, fmt.Errorf("%q: expected events, now, list, profile or unread", q.Endpoint)
	}
	words = words[1:]
	for _, name := range operands {
		if len(words) == 0 || words[0].name != "" {
			return nil, fmt.Errorf("%s is missing", name)
		}
		request[name], words = words[0].quoted(), words[1:]
	}
	for _, w := range words {
		if _, again := request[w.name]; again || w.name == "" {
			return nil, fmt.Errorf("%s: expected name=value, once each", w)
		}
		if w.name == "app" {
			q.App = w.text()
			continue
		}
		request[w.name] = w.value
	}
	var err error
	if q.Request, err = json.Marshal(request); err != nil {
		return nil, err
	}
	var fields struct {
		UserID, ConversationID         string
		ConversationIDList             []string
		Type                           string
		MarkType                       *uint64
		GroupName                      *string
		HasUnreadCount, HasGroupAtInfo *bool
		IncludeMuted                   bool
	}
	d := json.NewDecoder(bytes.NewReader(q.Request))
	d.DisallowUnknownFields()
	if err := d.Decode(&fields); err != nil {
		return nil, err
	}
	q.UserID, q.ConversationID, q.IncludeMuted = fields.UserID, fields.ConversationID, fields.IncludeMuted
	q.Filter = bruteforce.Filter{
		IDs: fields.ConversationIDList, Type: fields.Type, MarkType: fields.MarkType, GroupName: fields.GroupName,
		HasUnreadCount: fields.HasUnreadCount, HasGroupAtInfo: fields.HasGroupAtInfo,
	}
	return q, nil
}

func parseEvents(text string, count *int) ([]events.Event, error) {
	var list []events.Event
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		*count++
		e, err := parseEvent(line, *count)
		if err != nil {
			return nil, fmt.Errorf("event %q: %w", line, err)
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, errors.New("no events")
	}
	return list, nil
}

// parseEvent makes JSON of a line and decodes it, so that a scenario cannot
// have an event that no producer could send.
func parseEvent(line string, number int) (events.Event, error) {
	words, err := split(line)
	if err != nil {
		return events.Event{}, err
	}
	at, err := parseTime(words[0].text())
	if err != nil {
		return events.Event{}, err
	}
	event := map[string]any{"id": fmt.Sprintf("e%d", number), "app": defaultApp, "time": at.Format(time.RFC3339Nano)}
	var name string
	body := map[string]json.RawMessage{}
	for _, w := range words[1:] {
		_, again := body[w.name]
		switch {
		case w.name == "" && name == "":
			name = w.text()
		case w.name == "" || again:
			return events.Event{}, fmt.Errorf("%s: expected name=value, once each", w)
		case w.name == "id" || w.name == "app":
			event[w.name] = w.text()
		default:
			body[w.name] = w.value
		}
	}
	if name == "messageSent" {
		setDefault(body, "type", quote(events.TypeText))
		setDefault(body, "messageID", quote("m"+string(body["sequence"])))
	}
	event[name] = body
	value, err := json.Marshal(event)
	if err != nil {
		return events.Event{}, err
	}
	e, err := events.NewDecoder(events.DefaultLimits()).Decode(events.Record{Value: value, Timestamp: at})
	if err == nil && e.UnknownFields > 0 {
		err = errors.New("a field that the contract does not have")
	}
	return e, err
}

func setDefault(fields map[string]json.RawMessage, name string, value json.RawMessage) {
	if _, given := fields[name]; !given {
		fields[name] = value
	}
}

// timesOfDay are the short forms of a time.
var timesOfDay = []string{"15:04", "15:04:05", "15:04:05.999999"}

func parseTime(text string) (time.Time, error) {
	for _, form := range timesOfDay {
		if t, err := time.Parse(form, text); err == nil {
			return Noon.Truncate(24 * time.Hour).Add(t.Sub(t.Truncate(24 * time.Hour))), nil
		}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, fmt.Errorf("time %q: expected one such as 10:00, 10:00:01.5 or 2026-03-02T10:00:00Z", text)
	}
	return t, nil
}
