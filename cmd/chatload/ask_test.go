package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/micro"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// worker answers all operations of an app on a real server and keeps what it was asked.
type worker struct {
	app   string
	asked []string
}

// newWorker answers the requests in turn, the last answer for ever.
func newWorker(t *testing.T, answers ...func(micro.Request) error) *worker {
	t.Helper()
	w := &worker{app: strings.NewReplacer("/", "-", "#", "-").Replace(t.Name())}
	conn := sandboxtest.NATS(t)
	service, err := micro.AddService(conn, micro.Config{Name: "worker", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	for _, operation := range []string{"list", "profile", "unread"} {
		handler := micro.HandlerFunc(func(r micro.Request) {
			w.asked = append(w.asked, string(r.Data()))
			answer := answers[min(len(w.asked), len(answers))-1]
			if err := answer(r); err != nil {
				t.Error(err)
			}
		})
		if err := service.AddEndpoint(operation, handler, micro.WithEndpointSubject("convoview.v1."+w.app+".conversation."+operation)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	return w
}

func answer(body string) func(micro.Request) error {
	return func(r micro.Request) error { return r.Respond([]byte(body)) }
}

func refuse(code, message string) func(micro.Request) error {
	return func(r micro.Request) error {
		return r.Error(code, message, fmt.Appendf(nil, `{"code":%s,"message":%q}`, code, message))
	}
}

const emptyList = `{"code":0,"data":{"conversationList":[],"isSyncCompleted":true,"removed":[],"reset":false},"nextCursor":"","syncToken":""}`

func TestAsk_SendsEveryField(t *testing.T) {
	w := newWorker(t, answer(emptyList))
	for _, c := range []struct{ args, want string }{
		{"list ann", `{"userID":"ann"}`},
		{"list --type GROUP ann --mark 0 --group= --has-unread --has-at=false", `{"userID":"ann","type":"GROUP","markType":0,"groupName":"","hasUnreadCount":true,"hasGroupAtInfo":false}`},
		{"list ann --ids C2Ca,GROUPb --limit 7 --cursor abc --sync --since tok", `{"userID":"ann","conversationIDList":["C2Ca","GROUPb"],"limit":7,"cursor":"abc","sync":true,"since":"tok"}`},
		{`list ann --ids ["C2Ca,b"]`, `{"userID":"ann","conversationIDList":["C2Ca,b"]}`},
		{"list ann --ids=", `{"userID":"ann","conversationIDList":[]}`},
		{"list --timeout 250ms --after chat.state:3:99,x:0:-1 -- -ann", `{"userID":"-ann","timeoutMs":250,"after":[{"topic":"chat.state","partition":3,"offset":99},{"topic":"x","partition":0,"offset":-1}]}`},
		{`list --request {"nope":1`, `{"nope":1`},
		{`profile --request {}`, `{}`},
		{"profile ann @TIM#SYSTEM --json", `{"userID":"ann","conversationID":"@TIM#SYSTEM"}`},
		{"unread ann --type C2C --include-muted", `{"userID":"ann","type":"C2C","includeMuted":true}`},
	} {
		w.asked = nil
		fields := strings.Fields(c.args)
		r := chatload(t, "", append([]string{fields[0], "--app", w.app}, fields[1:]...)...)
		if r.err != nil {
			t.Errorf("%s: %v", c.args, r.err)
			continue
		}
		if diff := cmp.Diff([]string{c.want}, w.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.args, diff)
		}
	}
}

// What the query worker would refuse, and what would be left out of a request, is
// told before anybody is asked.
func TestAsk_RefusesFlags(t *testing.T) {
	w := newWorker(t, answer(emptyList))
	for args, want := range map[string]string{
		"list ann --limit 0":        "expected a whole number from 1 on",
		"list ann --cursor=":        "expected a text that is not empty",
		"list ann --since=":         "expected a text that is not empty",
		"list ann --type=":          "expected a text that is not empty",
		"list ann --after a:b":      `after "a:b": expected topic:partition:offset`,
		"profile ann":               "expected CONVERSATION",
		"unread ann --mark -1":      "expected a whole number from 0 on",
		"list ann --has-at=perhaps": "expected true or false",
	} {
		if r := chatload(t, "", append(strings.Fields(args), "--app", w.app)...); r.err == nil || !strings.Contains(r.err.Error(), want) {
			t.Errorf("%s: got %v, want %s", args, r.err, want)
		}
	}
	if r := chatload(t, "", "unread", "ann", "--app", "a.b"); r.err == nil || !strings.Contains(r.err.Error(), `app "a.b": expected 1 to 64 of`) {
		t.Error(r.err)
	}
	if len(w.asked) > 0 {
		t.Errorf("asked %q", w.asked)
	}
}

func TestAsk_PrintsTheRefusal(t *testing.T) {
	w := newWorker(t, refuse("404", `conversation "C2Cbob": unknown to ann`))
	for _, args := range [][]string{{"profile", "ann", "C2Cbob"}, {"list", "ann", "--json"}, {"unread", "ann"}} {
		r := chatload(t, "", append(args, "--app", w.app)...)
		if r.err == nil || r.err.Error() != `404 conversation "C2Cbob": unknown to ann` {
			t.Errorf("%q: error %v", args, r.err)
		}
		want := ""
		if args[len(args)-1] == "--json" {
			want = `{"code":404,"message":"conversation \"C2Cbob\": unknown to ann"}` + "\n"
		}
		if r.stdout != want {
			t.Errorf("%q prints %s", args, r.stdout)
		}
	}
}

func TestAsk_NobodyThere(t *testing.T) {
	r := chatload(t, "", "list", "ann", "--app", "nobody-serves-this")
	if r.err == nil || !strings.Contains(r.err.Error(), "no query worker answers on convoview.v1.nobody-serves-this.conversation.list") {
		t.Error(r.err)
	}
	r = chatload(t, "", "list", "ann", "--nats-url", "nats://127.0.0.1:1")
	if r.err == nil || !strings.Contains(r.err.Error(), "nats://127.0.0.1:1") {
		t.Error(r.err)
	}
}

func TestAsk_FollowsPages(t *testing.T) {
	page := func(id string, reset bool, cursor, token string) func(micro.Request) error {
		return answer(fmt.Sprintf(`{"code":0,"data":{"conversationList":[{"conversationID":%q,"type":"C2C"}],"removed":[],"reset":%t},"nextCursor":%q,"syncToken":%q}`, id, reset, cursor, token))
	}
	// The second one begins the list anew.
	pages := []func(micro.Request) error{page("C2Cz", false, "1", "old"), page("C2Ca", true, "2", "tok"), page("C2Cc", false, "", "")}
	w := newWorker(t, pages...)
	r := mustRun(t, "", "list", "ann", "--all", "--limit", "1", "--app", w.app)
	want := []string{`{"userID":"ann","limit":1}`, `{"userID":"ann","limit":1,"cursor":"1"}`, `{"userID":"ann","limit":1,"cursor":"2"}`}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	var names []string
	for line := range strings.Lines(r.stdout) {
		names = append(names, strings.TrimSpace(line))
	}
	if len(names) != 4 || !strings.HasPrefix(names[1], "a") || !strings.HasPrefix(names[2], "c") || names[3] != "since now: --since tok" {
		t.Errorf("%q", names)
	}

	w.asked = nil
	r = mustRun(t, "", "list", "ann", "--all", "--json", "--app", w.app)
	if replies := strings.Split(strings.TrimSpace(r.stdout), "\n"); len(replies) != 3 || !json.Valid([]byte(replies[2])) {
		t.Errorf("%q", replies)
	}

	w.asked = nil
	r = mustRun(t, "", "list", "--request", "{}", "--app", w.app)
	if len(w.asked) != 1 || !json.Valid([]byte(r.stdout)) {
		t.Errorf("%d requests, %s", len(w.asked), r.stdout)
	}

	w.asked = nil
	r = mustRun(t, "", "list", "ann", "--app", w.app)
	if len(w.asked) != 1 || !strings.Contains(r.stdout, "more: --cursor 1\n") {
		t.Errorf("%d requests, %s", len(w.asked), r.stdout)
	}
}

func TestAsk_Unread(t *testing.T) {
	w := newWorker(t, answer(`{"code":0,"data":{"totalUnreadMessageCount":1234}}`), answer(`no JSON`))
	if r := mustRun(t, "", "unread", "ann", "--app", w.app); r.stdout != "1234\n" {
		t.Error(r.stdout)
	}
	if r := chatload(t, "", "unread", "ann", "--app", w.app); r.err == nil || !strings.Contains(r.err.Error(), "read a reply of 7 bytes") {
		t.Error(r.err)
	}
}
