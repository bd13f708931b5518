package docs_test

import (
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

var update = flag.Bool("update", false, "write the answers into ANALYTICS.md that its queries give")

// analyticsPage is the page whose queries are run.
const analyticsPage = "ANALYTICS.md"

// demo is the app of the chat that is asked about.
const demo = "demo"

// The chat's first day, and the day after its last one.
var (
	chatBegin = time.Date(2026, 5, 18, 0, 0, 0, 0, time.UTC)
	chatEnd   = time.Date(2026, 6, 29, 0, 0, 0, 0, time.UTC)
)

// analyzedChat is the chat that is asked about.
func analyzedChat() (list []events.Event) {
	config := generate.DefaultConfig()
	config.Apps, config.People, config.Groups = []string{demo}, 40, 8
	config.Start, config.Retention = chatBegin, 0
	config.Rate = 0.00165
	for g := generate.New(config); ; {
		e := g.Next()
		if !e.Time.Time().Before(chatEnd) {
			return list
		}
		list = append(list, e)
	}
}

// chatCommand makes the same chat of so many events.
const chatCommand = "bin/chatload generate --app demo --people 40 --groups 8 --start 2026-05-18T00:00:00Z --retention 0 --chat-rate 0.00165 --events %d\n"

// analyzed makes a read model of a chat, and gives its database.
func analyzed(t *testing.T, list []events.Event) (database string) {
	t.Helper()
	config := readmodeltest.Config(t)
	server := readmodeltest.New(t, config)
	for batch := range slices.Chunk(list, 1000) {
		model := projection.NewModel()
		for _, e := range batch {
			model.Fold(e)
		}
		if err := server.Generation(1).Write(t.Context(), model); err != nil {
			t.Fatal(err)
		}
	}
	return config.Database
}

// ask asks ClickHouse, over HTTP, as analysts do.
func ask(t *testing.T, query string) (names []string, rows [][]string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sandboxtest.Start(t).HTTPURL(), strings.NewReader(query+"\nFORMAT CSVWithNames"))
	if err != nil {
		return nil, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, err := io.ReadAll(response.Body)
		return nil, nil, fmt.Errorf("%s: %s\n%s%w", response.Status, text, query, err)
	}
	lines, err := csv.NewReader(response.Body).ReadAll()
	if err != nil || len(lines) == 0 {
		return nil, nil, fmt.Errorf("no names of columns: %w", err)
	}
	return lines[0], lines[1:], nil
}

// TestContract_Views finds the views that the contract names, with the columns that it names
// in their order, each with a comment.
func TestContract_Views(t *testing.T) {
	config := readmodeltest.Config(t)
	readmodeltest.New(t, config)
	var views int
	for _, b := range readPage(t, "CONTRACT.md").section(analyticsSection, afterAnalytics) {
		if b.kind != row {
			continue
		}
		views++
		view := strings.Trim(b.cell("view"), "`")
		_, columns, err := ask(t, "SELECT name, type, comment FROM system.columns WHERE database = '"+config.Database+"' AND table = '"+view+"' ORDER BY position")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, column := range columns {
			name, kind, comment := column[0], column[1], column[2]
			names = append(names, name)
			if comment == "" {
				t.Errorf("%s.%s has no comment", view, name)
			}
			switch {
			case name == "day" && kind != "Date32",
				(name == "time" || strings.HasSuffix(name, "_time")) && kind != "DateTime64(6, 'UTC')":
				t.Errorf("%s.%s is %s", view, name, kind)
			}
		}
		if diff := cmp.Diff(spans(b.cell("columns")), names); diff != "" {
			t.Errorf("columns of %s (-contract +there):\n%s", view, diff)
		}
	}
	_, all, err := ask(t, "SELECT name FROM system.tables WHERE database = '"+config.Database+"' AND engine = 'View'")
	if err != nil || len(all) != views {
		t.Errorf("there are %d views, %v, and the contract has %d: %v", len(all), err, views, all)
	}
}

// question is a question of the page: its query, and the answer that is shown.
type question struct{ title, query, shown string }

// questionsOf gives the questions of a page.
func questionsOf(p page) (list []question) {
	for _, h := range p.headings {
		if h.level != 3 {
			continue
		}
		q := question{title: h.title}
		for _, b := range p.blocks {
			switch {
			case b.under != h.anchor || b.kind != code:
			case b.info == "sql":
				q.query += b.text
			case b.info == "text":
				q.shown += b.text
			}
		}
		list = append(list, q)
	}
	return list
}

// TestAnalytics_Answers asks every question of the page, and holds the answer against the
// one that the events give and against the one that the page shows.
func TestAnalytics_Answers(t *testing.T) {
	list := analyzedChat()
	database := analyzed(t, list)
	a := newAnalyst(t, demo, list, chatEnd)
	asked := map[string]bool{}
	page := readPage(t, analyticsPage)
	text, err := os.ReadFile(analyticsPage)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(chatCommand, len(list)); !strings.Contains(string(text), want) {
		t.Errorf("the page does not say how the chat is made: %s", want)
	}
	for _, q := range questionsOf(page) {
		asked[q.title] = true
		answer := answers[q.title]
		if answer == nil {
			t.Errorf("%q: nobody knows the answer", q.title)
			continue
		}
		query := strings.ReplaceAll(q.query, "convoview.", database+".")
		names, rows, err := ask(t, query)
		if err != nil || len(rows) == 0 {
			t.Errorf("%q: %d rows, %v", q.title, len(rows), err)
			continue
		}
		if diff := cmp.Diff(printed(answer(a)), rows); diff != "" {
			t.Errorf("%q (-the events +the query):\n%s", q.title, diff)
		}
		for i, name := range names {
			if !slices.ContainsFunc(rows, func(row []string) bool { return row[i] != "0" }) {
				t.Errorf("%q: %s is 0 in every row, whatever the query counts", q.title, name)
			}
		}
		if _, nulls, err := ask(t, query+"\nSETTINGS join_use_nulls = 1"); err != nil || !cmp.Equal(rows, nulls) {
			t.Errorf("%q: with nulls for what a join does not find, %v (-without +with):\n%s", q.title, err, cmp.Diff(rows, nulls))
		}
		got := drawn(names, rows)
		if *update {
			text = []byte(strings.Replace(string(text), q.query+"```\n\n```text\n"+q.shown, q.query+"```\n\n```text\n"+got, 1))
		} else if diff := cmp.Diff(q.shown, got); diff != "" {
			t.Errorf("%q: go test ./docs -run Analytics -update (-shown +given):\n%s", q.title, diff)
		}
	}
	if len(asked) < 20 {
		t.Errorf("%d questions, expected at least 20", len(asked))
	}
	for title := range answers {
		if !asked[title] {
			t.Errorf("nobody asks %q", title)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(analyticsPage, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnalytics_QueriesNameTheApp finds, for each view but profiles that a query of the
// page reads, the condition without which it reads it for every app there is.
func TestAnalytics_QueriesNameTheApp(t *testing.T) {
	views := regexp.MustCompile(`convoview\.(messages|conversations|reads|group_members|activity_\w+)`)
	for _, q := range questionsOf(readPage(t, analyticsPage)) {
		if read, named := len(views.FindAllString(q.query, -1)), strings.Count(q.query, "app = '"+demo+"'"); read > named {
			t.Errorf("%q reads %d views, and names the app of %d", q.title, read, named)
		}
	}
}

// printed is an answer as CSV has it.
func printed(rows table) [][]string {
	list := make([][]string, len(rows))
	for i, row := range rows {
		for _, v := range row {
			list[i] = append(list[i], fmt.Sprint(v))
		}
	}
	return list
}

// drawn is an answer in columns.
func drawn(names []string, rows [][]string) string {
	widths := make([]int, len(names))
	lines := append([][]string{names}, rows...)
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		var row strings.Builder
		for i, cell := range line {
			row.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	return b.String()
}

// answersOf are the answers to a question of a page that is asked of a chat: with the
// settings of clickhouse-client, and with nulls for what a join does not find.
func answersOf(t *testing.T, title string, list []events.Event) (answers [][][]string) {
	t.Helper()
	questions := questionsOf(readPage(t, analyticsPage))
	i := slices.IndexFunc(questions, func(q question) bool { return q.title == title })
	if i < 0 {
		t.Fatalf("nobody asks %q", title)
	}
	query := strings.ReplaceAll(questions[i].query, "convoview.", analyzed(t, list)+".")
	for _, settings := range []string{"", "\nSETTINGS join_use_nulls = 1"} {
		_, rows, err := ask(t, query+settings)
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, rows)
	}
	return answers
}

// said is a chat of the app demo: what is said, a second after each other.
func said(from time.Time, bodies ...events.Body) (list []events.Event) {
	for i, body := range bodies {
		at := from.Add(time.Duration(i) * time.Second)
		list = append(list, events.Event{ID: at.String(), App: demo, Time: events.MicrosOf(at), Body: body})
	}
	return list
}

// hike is a message to the group of that name.
func hike(sequence uint64, from string, mentions ...string) *events.MessageSent {
	return &events.MessageSent{
		Conversation: events.Group("hike"), From: from, MessageID: fmt.Sprint(sequence), Sequence: sequence, Type: events.TypeText, AtUsers: mentions,
	}
}

// hiker is a membership of the group.
func hiker(user, status string, joinSequence uint64) *events.GroupMemberChanged {
	return &events.GroupMemberChanged{GroupID: "hike", UserID: user, Status: status, JoinSequence: joinSequence}
}

// TestAnalytics_WhoHasNotReadMentions has everybody mentioned who could seem not to have
// read it.
func TestAnalytics_WhoHasNotReadMentions(t *testing.T) {
	const title = "Who has not read their mentions?"
	of := func(user string) events.ConversationOf {
		return events.ConversationOf{UserID: user, ConversationID: "GROUPhike"}
	}
	uncounted, recalled := hike(4, "ann", "bob"), hike(5, "ann", "bob")
	uncounted.ExcludedFromUnread = true
	list := said(chatBegin,
		&events.AppPlanChanged{MaxConversations: 100}, &events.GroupProfileChanged{GroupID: "hike"}, // kept for ever
		hiker("ann", events.StatusJoined, 0), hiker("bob", events.StatusJoined, 0), hiker("gone", events.StatusJoined, 0), hiker("spoke", events.StatusJoined, 0),
		hiker("read", events.StatusJoined, 0), hiker("cleared", events.StatusJoined, 0), hiker("deleted", events.StatusJoined, 0), hiker("erased", events.StatusJoined, 0),
		hike(1, "ann", "bob", "late", "gone", "never", "spoke", "read", "cleared", "deleted", "erased"),
		hike(2, "ann"),
		hike(3, "spoke"),
		uncounted, recalled, &events.MessageRecalled{Conversation: events.Group("hike"), Sequence: 5},
		hiker("late", events.StatusJoined, 5), hiker("gone", events.StatusLeft, 0),
		&events.ConversationRead{ConversationOf: of("read"), Sequence: 5},
		&events.ConversationCleared{ConversationOf: of("cleared"), ThroughSequence: 5},
		&events.ConversationDeleted{ConversationOf: of("deleted"), ThroughSequence: 5},
		hike(6, "erased", "bob"), &events.UserErased{UserID: "erased"},
		hike(7, "ann", "late"),
	)
	want := [][]string{{"bob", "2"}, {"late", "1"}}
	if diff := cmp.Diff(want, printed(answers[title](newAnalyst(t, demo, list, chatEnd)))); diff != "" {
		t.Errorf("the API shows (-want +got):\n%s", diff)
	}
	for _, rows := range answersOf(t, title, list) {
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("the page's query (-want +got):\n%s", diff)
		}
	}
}

// TestAnalytics_WhoComesAndGoes has members who went before June, and who were there and
// become Admin in it; a group in which nobody has written since, and one that is no more.
func TestAnalytics_WhoComesAndGoes(t *testing.T) {
	admin := hiker("ann", events.StatusJoined, 0)
	admin.Role = "Admin"
	may := said(chatBegin,
		&events.AppPlanChanged{MaxConversations: 100}, // kept for ever
		hiker("ann", events.StatusJoined, 0), hiker("bob", events.StatusJoined, 0), hiker("eve", events.StatusJoined, 0), hike(1, "ann"), hiker("bob", events.StatusLeft, 0),
		&events.GroupMemberChanged{GroupID: "silent", UserID: "ann", Status: events.StatusJoined},
		&events.GroupMemberChanged{GroupID: "over", UserID: "ann", Status: events.StatusJoined}, &events.GroupProfileChanged{GroupID: "over", Dismissed: true},
	)
	june := said(day("2026-06-02"), hike(2, "ann"), admin, hiker("dan", events.StatusJoined, 2), hiker("eve", events.StatusKicked, 0))
	for _, rows := range answersOf(t, "How many come to groups, and how many go?", append(may, june...)) {
		if diff := cmp.Diff([][]string{{"hike", "2", "1", "1"}, {"silent", "1", "0", "0"}}, rows); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestAnalytics_WhoOnlyListens has somebody speak, somebody who does not, and a group that
// is no more, to which nobody can have listened.
func TestAnalytics_WhoOnlyListens(t *testing.T) {
	const title = "Who only listens?"
	list := said(day("2026-06-23"),
		&events.AppPlanChanged{MaxConversations: 100}, // kept for ever
		hiker("ann", events.StatusJoined, 0), hiker("bob", events.StatusJoined, 0), hiker("eve", events.StatusLeft, 0), hike(1, "ann"),
		&events.GroupMemberChanged{GroupID: "over", UserID: "ann", Status: events.StatusJoined}, &events.GroupProfileChanged{GroupID: "over", Dismissed: true},
	)
	want := [][]string{{"hike", "2", "1"}}
	if diff := cmp.Diff(want, printed(answers[title](newAnalyst(t, demo, list, chatEnd)))); diff != "" {
		t.Errorf("the events say (-want +got):\n%s", diff)
	}
	for _, rows := range answersOf(t, title, list) {
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("the page's query (-want +got):\n%s", diff)
		}
	}
}
