package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/query"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
	"github.com/convoview/convoview/schemas/schematest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// asked is when the contract's requests are made.
var asked = recordTime.Add(time.Hour)

// newStore gives a read model of the contract's example events, and of one that
// makes a conversation which no reply can hold.
func newStore(t *testing.T) *readmodel.Store {
	t.Helper()
	store := readmodeltest.New(t, readmodeltest.Config(t)).Generation(1)
	model := projection.NewModel()
	for _, e := range exampleEvents(t) {
		model.Fold(e)
		e.App = "large"
		model.Fold(e)
	}
	model.Fold(largeGroups())
	if err := store.Write(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	return store
}

// largeGroups has as many bytes as an event may in Protobuf; JSON takes six for each.
func largeGroups() events.Event {
	set := &events.ConversationGroupsSet{ConversationOf: events.ConversationOf{UserID: "ann", ConversationID: "C2Cbob"}}
	for i := range 63 {
		set.ConversationGroupList = append(set.ConversationGroupList, fmt.Sprintf("%02d", i)+strings.Repeat("\x01", 2780))
	}
	return events.Event{ID: "large", App: "large", Time: events.MicrosOf(recordTime), Body: set}
}

// client asks a query worker, and holds requests and replies against AsyncAPI.
type client struct {
	t  *testing.T
	nc *nats.Conn
}

// serve starts a query worker, whose configuration may be changed.
func serve(t *testing.T, store query.Store, change func(*query.Config)) client {
	t.Helper()
	config := query.DefaultConfig()
	if change != nil {
		change(&config)
	}
	worker := query.New(config, sandboxtest.NATS(t), query.Only(store), func() time.Time { return asked }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return client{t, sandboxtest.NATS(t)}
}

// ask gives the body of the reply, and the code and message of an error.
func (c client) ask(subject, request string) (body, code, message string) {
	c.t.Helper()
	reply, err := c.nc.Request(subject, []byte(request), 10*time.Second)
	for errors.Is(err, nats.ErrNoResponders) { // the worker is still starting
		reply, err = c.nc.Request(subject, []byte(request), 10*time.Second)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %v", subject, request, err)
	}
	code, message = reply.Header.Get(micro.ErrorCodeHeader), reply.Header.Get(micro.ErrorHeader)
	endpoint := subject[strings.LastIndex(subject, ".")+1:]
	if code == "" {
		c.isMessage(endpoint+"Request", []byte(request))
		c.isMessage(endpoint+"Reply", reply.Data)
	} else {
		c.isMessage("errorReply", reply.Data)
	}
	return string(reply.Data), code, message
}

// isMessage holds that AsyncAPI's message is so.
func (c client) isMessage(message string, data []byte) {
	c.t.Helper()
	if err := schematest.Compile(c.t, "asyncapi.yaml#/components/messages/"+message+"/payload").Validate(data); err != nil {
		c.t.Errorf("AsyncAPI's %s: %s: %v", message, data, err)
	}
}

var requestLine = regexp.MustCompile(`^nats req (\S+) '(.*)'\n$`)

// TestContract_Requests holds that the query worker answers each request of the
// contract with what stands below it, byte for byte but for blanks.
func TestContract_Requests(t *testing.T) {
	c := serve(t, newStore(t), nil)
	blocks := readPage(t, "CONTRACT.md").section("4. Requests and replies", "5. Limits")
	requests := 0
	var want *block
	for _, b := range blocks {
		if b.kind != code {
			continue
		}
		if b.info == "sh" {
			want = &b
			continue
		}
		if want == nil {
			t.Fatalf("CONTRACT.md:%d: a reply without a request", b.line)
		}
		m := requestLine.FindStringSubmatch(want.text)
		if m == nil {
			t.Fatalf("CONTRACT.md:%d: %q: write nats req SUBJECT 'REQUEST'", want.line, want.text)
		}
		var reply bytes.Buffer
		if err := json.Compact(&reply, []byte(b.text)); err != nil {
			t.Fatalf("CONTRACT.md:%d: %v", b.line, err)
		}
		got, _, _ := c.ask(m[1], m[2])
		if diff := cmp.Diff(reply.String(), got); diff != "" {
			t.Errorf("CONTRACT.md:%d: %s (-page +worker):\n%s", b.line, m[2], diff)
		}
		requests++
		want = nil
	}
	if requests == 0 || want != nil {
		t.Errorf("%d requests with replies, the last without one: %v", requests, want != nil)
	}
}

// TestContract_RefusedRequests holds the messages of the table of requests.
func TestContract_RefusedRequests(t *testing.T) {
	c := serve(t, newStore(t), nil)
	refused := 0
	for _, b := range readPage(t, "CONTRACT.md").section("4. Requests and replies", "5. Limits") {
		if b.kind != row || b.cell("request") == "" {
			continue
		}
		operation, request, _ := strings.Cut(strings.Trim(b.cell("request"), "`"), " ")
		_, code, got := c.ask("convoview.v1.demo.conversation."+operation, request)
		if want := strings.Trim(b.cell("message"), "`"); code != "400" || got != want {
			t.Errorf("CONTRACT.md:%d:\n got %s %s\nwant %s", b.line, code, got, want)
		}
		refused++
	}
	if refused == 0 {
		t.Error("no requests")
	}
}

// away is what a store says of a ClickHouse that is away.
type away struct{ error }

func (away) Unavailable() bool { return true }

// brokenStore fails, or never answers while its error is nil.
type brokenStore struct {
	query.Store
	err error
}

func (s brokenStore) Inboxes(ctx context.Context, _ []projection.UserKey, _ int) (map[projection.UserKey]map[string]*projection.State, error) {
	if s.err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, s.err
}

// TestContract_Errors holds the codes and the examples of their messages.
func TestContract_Errors(t *testing.T) {
	store := newStore(t)
	const subject = "convoview.v1.demo.conversation."
	type example struct {
		store            query.Store
		subject, request string
		change           func(*query.Config)
		before           func(client)
	}
	examples := map[string]example{
		"400": {store: store, subject: subject + "list", request: `{"userID":"ann","limit":501}`},
		"404": {store: store, subject: subject + "profile", request: `{"userID":"ann","conversationID":"C2Czoe"}`},
		"413": {store: store, subject: "convoview.v1.large.conversation.list", request: `{"userID":"ann","type":"C2C"}`},
		"429": {
			store: brokenStore{Store: store}, subject: subject + "list", request: `{"userID":"ann"}`,
			change: func(c *query.Config) { c.MaxRunning, c.MaxQueued, c.MaxWaiting, c.DrainTimeout = 1, 0, 1, time.Second }, // wherever the first one is
			before: func(c client) {
				c.ask(subject+"list", `{}`) // it has started
				if err := c.nc.PublishRequest(subject+"list", c.nc.NewRespInbox(), []byte(`{"userID":"ann"}`)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"500": {store: brokenStore{store, errors.New("a fault")}, subject: subject + "list", request: `{"userID":"ann"}`},
		"503": {store: brokenStore{store, away{errors.New("gone")}}, subject: subject + "list", request: `{"userID":"ann"}`},
		"504": {store: brokenStore{Store: store}, subject: subject + "list", request: `{"userID":"ann","timeoutMs":50}`},
	}
	for _, b := range readPage(t, "CONTRACT.md").section("4. Requests and replies", "5. Limits") {
		want := b.cell("code")
		if b.kind != row || b.under != "errors" || want == "" {
			continue
		}
		e, ok := examples[want]
		if !ok {
			t.Errorf("CONTRACT.md:%d: there is no code %s", b.line, want)
			continue
		}
		delete(examples, want)
		t.Run(want, func(t *testing.T) {
			c := serve(t, e.store, e.change)
			if e.before != nil {
				e.before(c)
			}
			_, code, message := c.ask(e.subject, e.request)
			if example := strings.Trim(b.cell("for example"), "`"); code != want || message != example {
				t.Errorf("CONTRACT.md:%d:\n got %s %s\nwant %s %s", b.line, code, message, want, example)
			}
		})
	}
	for code := range examples {
		t.Errorf("CONTRACT.md has no row of the code %s", code)
	}
}
