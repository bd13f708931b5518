package security

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/lifecycle"
)

// client is a NATS user.
type client struct {
	*nats.Conn
	t    *testing.T
	name string
}

// client connects as a user, whose replies come to an inbox of its own.
func (w *world) client(name string) *client {
	w.t.Helper()
	config := lifecycle.DefaultNATSConfig()
	config.URL = "nats://" + w.nats.Addr().String()
	config.TLS.Enabled, config.TLS.CAFile, config.TLS.CertFile, config.TLS.KeyFile = true, w.files.CA, w.files.Cert, w.files.Key
	config.Account.Username, config.Account.PasswordFile = name, w.file("nats-"+name)
	c := &client{t: w.t, name: name}
	var err error
	if c.Conn, err = lifecycle.DialNATS(&config, name, nats.CustomInboxPrefix("_INBOX."+name)); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// wasRefused reports whether the server has refused anything until now.
func (c *client) wasRefused() bool {
	c.t.Helper()
	if err := c.FlushTimeout(patience); err != nil {
		c.t.Fatal(err)
	}
	return errors.Is(c.LastError(), nats.ErrPermissionViolation) // of before the answer to the flush
}

// hears subscribes.
func (c *client) hears(subject string) *nats.Subscription {
	c.t.Helper()
	sub, err := c.SubscribeSync(subject)
	if err != nil {
		c.t.Fatal(err)
	}
	return sub
}

// TestAccounts holds that the backend of an app gets its replies and its notices, and that
// it can do nothing else: ask for another app, overhear one or its replies, hear or say
// what projectors say, or answer in place of a worker. Nor can convoview's own users do
// more than is theirs.
func TestAccounts(t *testing.T) {
	w := newWorld(t)
	w.migrate()
	w.project()
	w.serve()
	demo, shop := w.client("demo"), w.client("shop")
	heard := map[*client]*nats.Subscription{demo: demo.hears("convoview.v1.demo.changed.>"), shop: shop.hears("convoview.v1.shop.changed.>")}
	for c, sub := range heard {
		if c.wasRefused() {
			t.Fatalf("%s cannot hear of its app's changes", c.name)
		}
		text := w.send(c.name)
		w.awaitShown(c.name, text) // by chatload, as this user
		notice, err := sub.NextMsg(patience)
		if err != nil || !strings.HasPrefix(notice.Subject, "convoview.v1."+c.name+".changed.user.") {
			t.Errorf("%s heard %v, %v", c.name, notice, err)
		}
		reply, err := c.Request("convoview.v1."+c.name+".conversation.list.any", []byte(`{"userID":"ann"}`), patience)
		if err != nil || !strings.Contains(string(reply.Data), text) {
			t.Errorf("%s got %v, %v", c.name, reply, err)
		}
		if reply, err := c.Request("convoview.v1."+c.name+".conversation.profile", []byte(`{"userID":"ann","conversationID":"C2Cnobody"}`), patience); err != nil ||
			reply.Header.Get("Nats-Service-Error-Code") != "404" {
			t.Errorf("%s got %v, %v", c.name, reply, err)
		}
	}
	if n, _, err := heard[demo].Pending(); err != nil || n > 1 { // the second of bob's two ends
		t.Errorf("demo heard %d notices more, %v", n, err)
	}

	for _, c := range []struct {
		user     string
		subjects []string // that it must not hear
	}{
		{"demo", []string{
			">", "*", "convoview.>", "convoview.v1.>", "convoview.v1.*.changed.>", "convoview.v1.shop.changed.>", "convoview.v1.shop.>",
			"convoview.v1.demo.conversation.list", "convoview.v1.demo.conversation.*", "convoview.v1.demo.>", // what a worker answers
			"convoview.feed.v1.>", "convoview.feed.v1.generation.switched", "$SRV.>", "$SYS.>",
			"_INBOX.>", "_INBOX.shop.>", "_INBOX.query.>", "_R_.>",
		}},
		{"query", []string{">", "convoview.>", "convoview.v1.*.changed.>", "_INBOX.>", "_INBOX.demo.>"}},
		{"projector", []string{">", "convoview.feed.v1.>", "convoview.v1.*.conversation.*", "_INBOX.projector.>", "convoview.v1.demo.changed.>"}},
		{"operator", []string{">", "convoview.feed.v1.>", "convoview.v1.*.conversation.*", "convoview.v1.*.changed.>", "$SRV.>"}},
	} {
		for _, subject := range c.subjects {
			user := w.client(c.user)
			user.hears(subject)
			if !user.wasRefused() {
				t.Errorf("%s hears %s", c.user, subject)
			}
		}
	}
	for _, c := range []struct {
		user     string
		subjects []string // that it must not speak at
	}{
		{"demo", []string{
			"convoview.v1.shop.conversation.list", "convoview.v1.shop.conversation.list.any", "convoview.v1.demo.changed.user.ann", "convoview.v1.shop.changed.user.ann",
			"convoview.feed.v1.somebody", "convoview.feed.v1.generation.switched", "$SRV.PING", "_INBOX.shop.x", "_INBOX.demo.x", "_R_.x",
		}},
		{"query", []string{"convoview.feed.v1.somebody", "convoview.feed.v1.generation.switched", "convoview.v1.demo.conversation.list", "convoview.v1.demo.changed.user.ann"}},
		{"projector", []string{"convoview.v1.demo.conversation.list", "convoview.feed.v1.generation.switched", "_INBOX.demo.x", "_R_.x"}},
		{"operator", []string{"convoview.feed.v1.somebody", "convoview.v1.demo.conversation.list", "convoview.v1.demo.changed.user.ann", "_INBOX.query.x"}},
	} {
		for _, subject := range c.subjects {
			user := w.client(c.user)
			if err := user.Publish(subject, []byte("{}")); err != nil {
				t.Fatal(err)
			}
			if !user.wasRefused() {
				t.Errorf("%s says something at %s", c.user, subject)
			}
		}
	}

	// Not what was refused, but what can be heard: nothing of another account, whatever
	// subject somebody chooses for the reply.
	overhear := shop.hears("_INBOX.shop.>")
	if shop.wasRefused() {
		t.Error("shop cannot hear its own inbox")
	}
	before := w.answered()
	if err := demo.PublishRequest("convoview.v1.demo.conversation.unread", "_INBOX.shop.demo", []byte(`{"userID":"ann"}`)); err != nil || demo.wasRefused() {
		t.Fatalf("demo cannot ask: %v", err)
	}
	for deadline := time.Now().Add(patience); w.answered() == before; {
		if time.Now().After(deadline) {
			t.Fatal("demo is not answered")
		}
	}
	if err := shop.PublishRequest("convoview.v1.shop.conversation.unread", "_INBOX.shop.shop", []byte(`{"userID":"ann"}`)); err != nil {
		t.Fatal(err)
	}
	if reply, err := overhear.NextMsg(patience); err != nil || reply.Subject != "_INBOX.shop.shop" {
		t.Errorf("shop heard %+v, %v", reply, err)
	}
	if n, _, err := overhear.Pending(); err != nil || n > 0 {
		t.Errorf("shop heard %d replies more, %v", n, err)
	}
	stats, err := w.client("operator").Request("$SRV.STATS.convoview", nil, patience)
	if err != nil || !strings.Contains(string(stats.Data), `"name":"convoview"`) {
		t.Errorf("the operator is told %v, %v", stats, err)
	}
}

// answered is how many replies of the query worker the server has passed on.
func (w *world) answered() (n int64) {
	w.t.Helper()
	list, err := w.nats.Connz(&server.ConnzOptions{Username: true})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list.Conns {
		if c.AuthorizedUser == "query" {
			n += c.InMsgs
		}
	}
	return n
}

// TestAccounts_Mapping holds that the mapping for many workers goes into their account, and
// finds what backends of others ask.
func TestAccounts_Mapping(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "OPERATIONS.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, mapping, _ := strings.Cut(string(page), "```conf\nmappings {")
	mapping, _, found := strings.Cut(mapping, "```")
	w := newWorld(t)
	config, err := os.ReadFile(w.natsConfig)
	if err != nil || !found {
		t.Fatal(err)
	}
	w.natsConfig = w.put("nats.conf", strings.Replace(string(config), "  CONVOVIEW {\n", "  CONVOVIEW {\nmappings {"+mapping, 1))
	w.startNATS()
	w.migrate()
	env := w.settings("query", "query")
	env["AFFINITY_TOKENS"] = "0,1,2,3,4,5,6,7,8,9,10,11" // and not the token that is asked at
	w.start(env, "query")
	demo, deadline := w.client("demo"), time.Now().Add(patience)
	for { // until the worker is there
		reply, err := demo.Request("convoview.v1.demo.conversation.list.ann", []byte(`{"userID":"ann"}`), patience)
		if errors.Is(err, nats.ErrNoResponders) && time.Now().Before(deadline) {
			continue
		}
		if err != nil || !strings.Contains(string(reply.Data), `"code":0`) {
			t.Errorf("got %v, %v", reply, err)
		}
		return
	}
}

// TestAccounts_NoWorker holds that a backend hears at once that nobody answers, across accounts, too.
func TestAccounts_NoWorker(t *testing.T) {
	w := newWorld(t)
	_, err := w.client("demo").Request("convoview.v1.demo.conversation.list", []byte(`{"userID":"ann"}`), patience)
	if !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("got %v, want %v", err, nats.ErrNoResponders)
	}
}

// TestAccounts_Chatload writes to brokers that ask for TLS and for who it is.
func TestAccounts_Chatload(t *testing.T) {
	w := newWorld(t)
	if said := w.mustRun(w.settings("projector", "projector"), "chatload", "generate", "--events", "100"); !strings.Contains(said, "generated 100 events") {
		t.Errorf("said %s", said)
	}
}

// TestAccounts_Nobody holds that nobody is connected without a certificate and a password.
func TestAccounts_Nobody(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(c *lifecycle.NATSConfig){
		"no certificate": func(c *lifecycle.NATSConfig) { c.TLS.CertFile, c.TLS.KeyFile = "", "" },
		"no password":    func(c *lifecycle.NATSConfig) { c.Account.PasswordFile = "" },
		"wrong password": func(c *lifecycle.NATSConfig) { c.Account.PasswordFile = w.file("nats-shop") },
		"no name":        func(c *lifecycle.NATSConfig) { c.Account.Username, c.Account.PasswordFile = "", "" },
	} {
		c := lifecycle.DefaultNATSConfig()
		c.URL = "nats://" + w.nats.Addr().String()
		c.TLS.Enabled, c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile = true, w.files.CA, w.files.Cert, w.files.Key
		c.Account.Username, c.Account.PasswordFile = "demo", w.file("nats-demo")
		change(&c)
		if nc, err := lifecycle.DialNATS(&c, "nobody"); err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
		}
	}
}
