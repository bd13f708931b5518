package lifecycle_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// natsServer runs a NATS server until the end of the test.
func natsServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog = "127.0.0.1", true, true
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not listen")
	}
	return s
}

// again stops a server and starts another one in its place.
func again(t *testing.T, s *server.Server, o *server.Options) *server.Server {
	t.Helper()
	o.Port = s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	return natsServer(t, o)
}

// said is a log that can be read while it is written.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func newSaid() *said { return &said{news: make(chan struct{}, 1)} }

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return s.text.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits until a text was said so often.
func (s *said) await(t *testing.T, text string, times int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for strings.Count(s.String(), text) < times {
		select {
		case <-s.news:
		case <-ctx.Done():
			t.Fatalf("%q was not said %d times: %s", text, times, s)
		}
	}
}

// connect connects, and says what becomes of it.
func connect(t *testing.T, c *lifecycle.NATSConfig) (lifecycle.NATS, *said) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	log := newSaid()
	nc, err := lifecycle.ConnectNATS(c, "test", slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, log
}

// identity is a way to say who we are, which is replaced.
type identity struct {
	name string
	// first and second are servers that take only what the settings say first, and second.
	first, second *server.Options
	// say sets what the settings name.
	say func(c *lifecycle.NATSConfig, second bool)
	// secrets are in none of what is said.
	secrets []string
}

func identities(t *testing.T) []identity {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	choose := func(second bool, a, b string) string {
		if second {
			return b
		}
		return a
	}
	var list []identity

	users := func(password string) *server.Options {
		return &server.Options{Users: []*server.User{{Username: "ann", Password: password}}}
	}
	list = append(list, identity{
		"password file", users("first secret"), users("other secret"),
		func(c *lifecycle.NATSConfig, second bool) {
			c.Account.Username, c.Account.PasswordFile = "ann", put(t, in("password"), choose(second, "first secret", "other secret"))
		},
		[]string{"first secret", "other secret"},
	})

	user := func() (seed, public string) {
		key, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		secret, err := key.Seed()
		if err != nil {
			t.Fatal(err)
		}
		if public, err = key.PublicKey(); err != nil {
			t.Fatal(err)
		}
		return string(secret), public
	}
	seed1, public1 := user()
	seed2, public2 := user()
	list = append(list, identity{
		"nkey file", &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public1}}}, &server.Options{Nkeys: []*server.NkeyUser{{Nkey: public2}}},
		func(c *lifecycle.NATSConfig, second bool) {
			c.NKeyFile = put(t, in("nkey"), choose(second, seed1, seed2)+"\n")
		},
		[]string{seed1, seed2},
	})

	// Each server trusts one operator.
	trusting := func() (*server.Options, string) {
		operator, err := nkeys.CreateOperator()
		if err != nil {
			t.Fatal(err)
		}
		account, err := nkeys.CreateAccount()
		if err != nil {
			t.Fatal(err)
		}
		trusted, err := operator.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		of, err := account.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		accountJWT, err := jwt.NewAccountClaims(of).Encode(operator)
		if err != nil {
			t.Fatal(err)
		}
		seed, public := user()
		userJWT, err := jwt.NewUserClaims(public).Encode(account)
		if err != nil {
			t.Fatal(err)
		}
		credentials, err := jwt.FormatUserConfig(userJWT, []byte(seed))
		if err != nil {
			t.Fatal(err)
		}
		resolver := &server.MemAccResolver{}
		if err := resolver.Store(of, accountJWT); err != nil {
			t.Fatal(err)
		}
		return &server.Options{TrustedKeys: []string{trusted}, AccountResolver: resolver}, string(credentials)
	}
	o1, credentials1 := trusting()
	o2, credentials2 := trusting()
	list = append(list, identity{
		"credentials file", o1, o2,
		func(c *lifecycle.NATSConfig, second bool) {
			c.CredentialsFile = put(t, in("user.creds"), choose(second, credentials1, credentials2))
		},
		[]string{credentials1, credentials2},
	})

	ca, other := tlstest.NewCA(t), tlstest.NewCA(t)
	certs := tlstest.NewFiles(t)
	mutual := func(ca *tlstest.CA) *server.Options {
		return &server.Options{TLS: true, TLSVerify: true, TLSTimeout: patience.Seconds(), TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, "nats")},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
		}}
	}
	list = append(list, identity{
		"certificates", mutual(ca), mutual(other),
		func(c *lifecycle.NATSConfig, second bool) {
			of := ca
			if second {
				of = other
			}
			certs.Write(t, of, of.Issue(t, "client"))
			c.TLS.Enabled, c.TLS.CAFile, c.TLS.CertFile, c.TLS.KeyFile = true, certs.CA, certs.Cert, certs.Key
		},
		nil,
	})
	return list
}

// TestNATS_WhoWeAreIsReplaced holds that a server which takes somebody else now, or is
// somebody else, is connected to again as soon as the files say so; that being refused
// meanwhile is no reason to give up; and that no secret is told.
func TestNATS_WhoWeAreIsReplaced(t *testing.T) {
	for _, id := range identities(t) {
		t.Run(id.name, func(t *testing.T) {
			t.Parallel() // they wait
			s := natsServer(t, id.first)
			c := lifecycle.DefaultNATSConfig()
			c.URL = s.ClientURL()
			id.say(&c, false)
			nc, log := connect(t, &c)
			log.await(t, "nats connected", 1)
			if err := nc.FlushTimeout(patience); err != nil {
				t.Fatal(err)
			}

			again(t, s, id.second)
			log.await(t, "nats disconnected", 1)
			log.await(t, "nats not connected", 3) // it would be given up at the second
			if nc.IsClosed() || nc.IsConnected() {
				t.Fatalf("it is %s after it was refused", nc.Status())
			}
			id.say(new(lifecycle.NATSConfig), true) // the files alone
			log.await(t, "nats connected again", 1)
			if err := nc.FlushTimeout(patience); err != nil {
				t.Error(err)
			}
			for _, secret := range id.secrets {
				if strings.Contains(log.String(), secret) {
					t.Errorf("%q is in what was said: %s", secret, log)
				}
			}
		})
	}
}

// TestNATS_StopIsNoDisconnect holds that whoever closes the connection is not warned of it.
func TestNATS_StopIsNoDisconnect(t *testing.T) {
	c := lifecycle.DefaultNATSConfig()
	c.URL = natsServer(t, new(server.Options)).ClientURL()
	nc, log := connect(t, &c)
	log.await(t, "nats connected", 1)
	closed := make(chan struct{})
	nc.SetClosedHandler(func(*nats.Conn) { close(closed) }) // called last
	nc.Close()
	<-closed
	if strings.Contains(log.String(), "nats disconnected") {
		t.Errorf("a stop says: %s", log)
	}
}

// TestNATS_FilesAreBeingReplaced holds that who we are stays so while a file has something
// else in it, and that this is told until it is right again.
func TestNATS_FilesAreBeingReplaced(t *testing.T) {
	for _, id := range identities(t) {
		t.Run(id.name, func(t *testing.T) {
			t.Parallel() // they wait
			s := natsServer(t, id.first)
			c := lifecycle.DefaultNATSConfig()
			flags := lifecycle.NewFlags("test", "", func(string) string { return "" }, io.Discard)
			c.Register(flags)
			c.URL = s.ClientURL()
			id.say(&c, false)
			_, log := connect(t, &c)
			log.await(t, "nats connected", 1)

			file := cmp.Or(c.NKeyFile, c.CredentialsFile, c.Account.PasswordFile, c.TLS.CertFile)
			right, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			put(t, file, "")
			s = again(t, s, id.first)
			log.await(t, "nats connected again", 1)
			if err := flags.Stale(t.Context()); err == nil {
				t.Errorf("nothing is told of %s", file)
			}
			put(t, file, string(right))
			again(t, s, id.first)
			log.await(t, "nats connected again", 2)
			if err := flags.Stale(t.Context()); err != nil {
				t.Errorf("it is right again, and told is %v", err)
			}
		})
	}
}

// TestNATS_Token holds that a token in the URL, which is all that is there of a name, is told to nobody.
func TestNATS_Token(t *testing.T) {
	s := natsServer(t, &server.Options{Authorization: "hush"})
	c := lifecycle.DefaultNATSConfig()
	c.URL = "nats://hush@" + s.Addr().String()
	_, log := connect(t, &c)
	log.await(t, "nats connected", 1)
	c.URL = "nats://hush@127.0.0.1:1," + "nats://hash@" + s.Addr().String()
	_, err := lifecycle.DialNATS(&c, "test")
	if err == nil || !strings.Contains(err.Error(), "nats://127.0.0.1:1,nats://"+s.Addr().String()) {
		t.Errorf("got %v", err)
	}
	if said := log.String() + fmt.Sprint(err); strings.Contains(said, "hush") || strings.Contains(said, "hash") {
		t.Errorf("it says %s", said)
	}
}

// TestNATS_Refused holds that who says nothing, or what is wrong, is not connected.
func TestNATS_Refused(t *testing.T) {
	for _, id := range identities(t) {
		t.Run(id.name, func(t *testing.T) {
			s := natsServer(t, id.first)
			c := lifecycle.DefaultNATSConfig()
			c.URL = s.ClientURL()
			if nc, err := lifecycle.DialNATS(&c, "nobody"); err == nil {
				nc.Close()
				t.Error("nobody is connected")
			}
			id.say(&c, true)
			if nc, err := lifecycle.DialNATS(&c, "somebody else"); err == nil {
				nc.Close()
				t.Error("somebody else is connected")
			}
			id.say(&c, false)
			nc, err := lifecycle.DialNATS(&c, "test")
			if err != nil {
				t.Fatal(err)
			}
			nc.Close()
		})
	}
}

// TestNATS_ClosedForGood has a server that takes less than it has said, and closes the
// connection of who sends more: the client does not connect again by itself.
func TestNATS_ClosedForGood(t *testing.T) {
	o := &server.Options{MaxPayload: 2}
	s := natsServer(t, o)
	nc, log := connect(t, &lifecycle.NATSConfig{URL: s.ClientURL()})
	log.await(t, "nats connected", 1)
	less := o.Clone()
	less.MaxPayload = 1
	if err := s.ReloadOptions(less); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- nc.Component().Run(ctx) }()
	if err := nc.Publish("t", []byte("ab")); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "closed for good") || !strings.Contains(err.Error(), "Maximum Payload Violation") {
		t.Errorf("got %v", err)
	}
}

// TestNATS_MayNotHear has a reload take a permission away and another one give it back: a
// subscription that is gone meanwhile is said to be, and comes back.
func TestNATS_MayNotHear(t *testing.T) {
	options := func(port int, subjects ...string) *server.Options {
		return &server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, Users: []*server.User{
			{Username: "nobody", Permissions: &server.Permissions{Subscribe: &server.SubjectPermission{Allow: subjects}}},
		}}
	}
	s := natsServer(t, options(0, "a", "b"))
	port := s.Addr().(*net.TCPAddr).Port
	nc, log := connect(t, &lifecycle.NATSConfig{URL: fmt.Sprintf("nats://nobody:@127.0.0.1:%d", port)})
	log.await(t, "nats connected", 1)
	sub, err := nc.QueueSubscribeSync("a", "q")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(nc.FlushTimeout(patience), nc.Hears(t.Context())); err != nil {
		t.Fatal(err)
	}

	if err := s.ReloadOptions(options(port, "b")); err != nil {
		t.Fatal(err)
	}
	log.await(t, "nats failed", 1)
	if err := nc.Hears(t.Context()); err == nil || !strings.Contains(err.Error(), `1 subscriptions were refused, first: nats: permissions violation: Permissions Violation for Subscription to "a"`) {
		t.Errorf("got %v", err)
	}
	if err := s.ReloadOptions(options(port, "a")); err != nil {
		t.Fatal(err)
	}
	log.await(t, "nats connected again", 1)
	if err := errors.Join(nc.Publish("a", nil), nc.FlushTimeout(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := sub.NextMsg(patience); err != nil {
		t.Errorf("nothing is heard: %v", err)
	}
	if err := nc.Hears(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNATS_MayNotSay has a server refuse all that is said, and say so of each: the log does not.
func TestNATS_MayNotSay(t *testing.T) {
	s := natsServer(t, &server.Options{Users: []*server.User{
		{Username: "nobody", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{">"}}}},
	}})
	nc, log := connect(t, &lifecycle.NATSConfig{URL: fmt.Sprintf("nats://nobody:@%s", s.Addr())})
	log.await(t, "nats connected", 1)
	for range 2000 {
		if err := nc.Publish("t", nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	_ = nc.Component().Run(t.Context()) // until all that the server has said was heard
	if n := strings.Count(log.String(), "Permissions Violation for Publish"); n < 1 || n > 100 {
		t.Errorf("said %d times", n)
	}
}

// TestNATS_ServerTakesNothing has a server that reads nothing any more: whoever publishes is
// told so, and the connection is made anew, by which that server is left alone.
func TestNATS_ServerTakesNothing(t *testing.T) {
	s := natsServer(t, &server.Options{})
	gate := newGate(t, s.Addr().String())
	nc, log := connect(t, &lifecycle.NATSConfig{URL: "nats://" + gate.Addr().String()})
	log.await(t, "nats connected", 1)
	gate.shut.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), patience/2) // the client's own bound is a minute
	defer cancel()
	var err error
	for payload := make([]byte, 1<<20); err == nil && ctx.Err() == nil; {
		err = nc.Publish("t", payload)
	}
	if ctx.Err() != nil {
		t.Error("nobody hears for long that the server takes nothing")
	}
	gate.shut.Unlock()
	log.await(t, "nats connected again", 1)
	if err := nc.FlushTimeout(patience); err != nil {
		t.Errorf("connected again, %v", err)
	}
}

// gate is on the way to a server, which hears nothing while it is shut.
type gate struct {
	net.Listener
	shut sync.RWMutex
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	g := &gate{Listener: l}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go g.pass(server, client)
			go func() { _, _ = io.Copy(client, server); _ = client.Close() }()
		}
	}()
	return g
}

// pass passes on what a client says.
func (g *gate) pass(server io.WriteCloser, client io.Reader) {
	defer func() { _ = server.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := client.Read(buffer)
		g.shut.RLock()
		_, failed := server.Write(buffer[:n])
		g.shut.RUnlock()
		if err != nil || failed != nil {
			return
		}
	}
}

func TestNATSConfig_Validate(t *testing.T) {
	dir := t.TempDir()
	nkey := put(t, filepath.Join(dir, "nkey"), "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY\n")
	rubbish := put(t, filepath.Join(dir, "rubbish"), "hush hush")
	for _, c := range []struct {
		set  func(c *lifecycle.NATSConfig)
		want string
	}{
		{func(*lifecycle.NATSConfig) {}, ""},
		{func(c *lifecycle.NATSConfig) { c.URL = "localhost:4222, tls://ann:hush@other" }, ""},
		{func(c *lifecycle.NATSConfig) { c.NKeyFile = nkey }, ""},
		{func(c *lifecycle.NATSConfig) { c.URL = "" }, "nats url is missing: expected nats://host:port"},
		{func(c *lifecycle.NATSConfig) { c.URL = "localhost,ann:hu%sh@other" }, "at place 2"},
		{func(c *lifecycle.NATSConfig) { c.URL = "nats://ann:hush@" }, "at place 1"},
		{func(c *lifecycle.NATSConfig) { c.URL = "nats://one:4222,nats://ann:hush@other:422200" }, "at place 2"},
		{func(c *lifecycle.NATSConfig) { c.URL = "wss://one, wss://other" }, ""},
		{func(c *lifecycle.NATSConfig) { c.URL = "tls://one,tsl://ann:hush@other" }, `nats url at place 2 begins with "tsl://": expected nats://, tls://, ws:// or wss://`},
		{func(c *lifecycle.NATSConfig) { c.URL, c.Account.Password = "nats://ann:hush@other", "hush" }, "more than one says who we are"},
		{func(c *lifecycle.NATSConfig) { c.NKeyFile, c.Account.Username = nkey, "ann" }, "more than one says who we are"},
		{func(c *lifecycle.NATSConfig) { c.NKeyFile, c.CredentialsFile = nkey, nkey }, "more than one says who we are"},
		{func(c *lifecycle.NATSConfig) { c.NKeyFile = rubbish }, "nkey file " + rubbish},
		{func(c *lifecycle.NATSConfig) { c.NKeyFile = filepath.Join(dir, "nowhere") }, "nowhere"},
		{func(c *lifecycle.NATSConfig) { c.CredentialsFile = rubbish }, "credentials file " + rubbish},
		{func(c *lifecycle.NATSConfig) {
			c.Account.Username, c.Account.PasswordFile = "ann", filepath.Join(dir, "nowhere")
		}, "nowhere"},
		{func(c *lifecycle.NATSConfig) { c.TLS.CAFile = nkey }, "expected tls to be enabled, too"},
	} {
		config := lifecycle.DefaultNATSConfig()
		c.set(&config)
		err := config.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "hu%sh")) {
			t.Errorf("the password is in %v", err)
		}
	}
}
