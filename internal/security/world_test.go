package security

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/clickhouse"
)

// patience is how long a test waits for what must happen.
const patience = 5 * time.Minute

// database is that of the read model. The engine knows roles by it.
const database = "convoview"

// admin is the account of ClickHouse that may do everything.
const admin = "admin"

// roles are what the roles of the read model are granted.
func roles(t testing.TB) map[string][]string {
	t.Helper()
	grant := regexp.MustCompile(`(?s)^(GRANT .*) TO (\w+)$`)
	create := regexp.MustCompile(`^CREATE ROLE IF NOT EXISTS (\w+)$`)
	found := map[string][]string{}
	for _, statement := range readmodel.Roles(database, "") {
		if m := create.FindStringSubmatch(statement); m != nil {
			found[m[1]] = nil
		} else if m := grant.FindStringSubmatch(statement); m != nil {
			found[m[2]] = append(found[m[2]], m[1])
		} else {
			t.Fatalf("%s: expected a role or a grant", statement)
		}
	}
	return found
}

// secret draws one, of which no part is anything else.
func secret() string { return "hush" + rand.Text() }

// world is everything, secured. There is one at a time in a process, since there is one engine.
type world struct {
	t       *testing.T
	ca      *tlstest.CA
	dir     string
	files   tlstest.Files
	secrets map[string]string // by whom they are of
	said    *output           // by all processes

	engine       *clickhouse.Server
	broker       *kfake.Cluster
	nats         *server.Server
	natsConfig   string // a file
	engineTLS    serverTLS
	brokerTLS    serverTLS
	natsFiles    tlstest.Files
	producer     *kafka.Writer
	nextSequence map[string]uint64
}

// output is what was said.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func newOutput() *output { return &output{news: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.news <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until something is said, so often, and gives the last time of it.
func (o *output) await(t *testing.T, what string, times int) []string {
	t.Helper()
	pattern := regexp.MustCompile(what)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if found := pattern.FindAllStringSubmatch(o.String(), -1); len(found) >= times {
			return found[len(found)-1]
		}
		select {
		case <-o.news:
		case <-ctx.Done():
			t.Fatalf("%q was not said %d times:\n%s", what, times, o)
		}
	}
}

// The passwords: ClickHouse's, Kafka's and NATS' accounts.
var (
	storeAccounts = []string{admin, "projector", "query", "operator", "analyst"}
	natsAccounts  = []string{"projector", "query", "operator", "demo", "shop"}
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, ca: tlstest.NewCA(t), dir: t.TempDir(), files: tlstest.NewFiles(t), natsFiles: tlstest.NewFiles(t), secrets: map[string]string{},
		natsConfig: filepath.Join("..", "..", "deploy", "nats", "nats.conf"), said: newOutput(), nextSequence: map[string]uint64{},
	}
	w.files.Write(t, w.ca, w.ca.Issue(t, "client"))
	for _, name := range storeAccounts {
		w.newSecret("clickhouse-" + name)
	}
	for _, name := range natsAccounts {
		w.newSecret("nats-" + name)
	}
	w.newSecret("kafka")
	w.startEngine()
	w.startBroker()
	w.produce()
	w.startNATS()
	return w
}

// newSecret makes a password, or another one, and puts it into its file.
func (w *world) newSecret(of string) {
	w.t.Helper()
	w.secrets[of] = secret()
	w.put(of, w.secrets[of])
}

// file is the name of a file.
func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

// put writes a file, or writes it anew.
func (w *world) put(name, content string) string {
	w.t.Helper()
	if err := os.WriteFile(w.file(name), []byte(content+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.file(name)
}

// serverTLS is how a server shows who it is, which can be renewed, and who is connected to it.
type serverTLS struct {
	current atomic.Pointer[tls.Config]
	mu      sync.Mutex
	conns   []net.Conn
}

// config is of a server that is of a CA, and asks clients for the same.
func (s *serverTLS) config(t testing.TB, ca *tlstest.CA) *tls.Config {
	s.renew(t, ca)
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.conns = append(s.conns, hello.Conn)
		return s.current.Load(), nil
	}}
}

// renew has the server be of a CA for those who connect from now on.
func (s *serverTLS) renew(t testing.TB, ca *tlstest.CA) {
	s.current.Store(&tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.Issue(t, "server")},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
}

// cut cuts all connections that there are.
func (s *serverTLS) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
}

func (w *world) startEngine() {
	w.t.Helper()
	var err error
	w.engine, err = clickhouse.Start(w.t.Context(), clickhouse.Config{
		Path: w.t.TempDir(), Addr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Connections: 16, Logger: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
		TLS: w.engineTLS.config(w.t, w.ca), Access: &clickhouse.Access{Roles: roles(w.t), Accounts: w.storeAccounts()},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.engine.Close(); err != nil {
			w.t.Error(err)
		}
	})
}

// storeAccounts are those of ClickHouse, each with the role of its name.
func (w *world) storeAccounts() map[string]clickhouse.Account {
	accounts := map[string]clickhouse.Account{}
	for _, name := range storeAccounts {
		accounts[name] = clickhouse.Account{Password: w.secrets["clickhouse-"+name], Role: name}
	}
	accounts[admin] = clickhouse.Account{Password: w.secrets["clickhouse-"+admin]}
	return accounts
}

func (w *world) startBroker() {
	w.t.Helper()
	var err error
	w.broker, err = kfake.NewCluster(kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "projector", w.secrets["kafka"]),
		kfake.TLS(w.brokerTLS.config(w.t, w.ca)), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.broker.Close)
	for _, topic := range sandbox.ChatTopics(2) {
		if err := w.broker.CreateTopic(topic.Name, int32(topic.Partitions), topic.Config); err != nil {
			w.t.Fatal(err)
		}
	}
}

// produce connects a producer.
func (w *world) produce() {
	w.t.Helper()
	mechanism, err := scram.Mechanism(scram.SHA512, "projector", w.secrets["kafka"])
	if err != nil {
		w.t.Fatal(err)
	}
	w.producer = &kafka.Writer{
		Addr: kafka.TCP(w.broker.ListenAddrs()...), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		Transport: &kafka.Transport{Dial: w.tls().Dial, SASL: mechanism},
	}
}

// startNATS starts the server that deploy/nats configures, or starts it again in its place.
func (w *world) startNATS() {
	w.t.Helper()
	w.natsFiles.Write(w.t, w.ca, w.ca.Issue(w.t, "nats"))
	w.t.Setenv("NATS_TLS_CA_FILE", w.natsFiles.CA)
	w.t.Setenv("NATS_TLS_CERT_FILE", w.natsFiles.Cert)
	w.t.Setenv("NATS_TLS_KEY_FILE", w.natsFiles.Key)
	for _, name := range natsAccounts {
		w.t.Setenv("NATS_"+strings.ToUpper(name)+"_PASSWORD", `"`+w.secrets["nats-"+name]+`"`)
	}
	options, err := server.ProcessConfigFile(w.natsConfig)
	if err != nil {
		w.t.Fatal(err)
	}
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	stop := func() { w.nats.Shutdown(); w.nats.WaitForShutdown() }
	if w.nats == nil {
		w.t.Cleanup(stop) // of the last one, and after whoever was started since
	} else {
		options.Port = w.nats.Addr().(*net.TCPAddr).Port
		stop()
	}
	s, err := server.NewServer(options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.nats = s
	s.Start()
	if !s.ReadyForConnections(patience) {
		w.t.Fatal("the NATS server does not listen")
	}
}

// tls is how a client connects.
func (w *world) tls() *lifecycle.TLS {
	return &lifecycle.TLS{Enabled: true, CAFile: w.files.CA, CertFile: w.files.Cert, KeyFile: w.files.Key}
}

// tlsConfig is the same for a connection that is made now.
func (w *world) tlsConfig() *tls.Config {
	w.t.Helper()
	config, err := w.tls().Config()
	if err != nil {
		w.t.Fatal(err)
	}
	return config
}

// commands are the built ones.
var commands = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "convoview-security-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", dir, "../../cmd/projector", "../../cmd/query", "../../cmd/chatload")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := commands(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// settings are the environment of a process that is some account to ClickHouse, and to NATS.
func (w *world) settings(store, nats string) map[string]string {
	env := map[string]string{
		"KAFKA_BROKERS": strings.Join(w.broker.ListenAddrs(), ","), "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
		"KAFKA_SASL_USERNAME": "projector", "KAFKA_SASL_PASSWORD_FILE": w.file("kafka"),
		"KAFKA_SESSION_TIMEOUT": "2s", "KAFKA_HEARTBEAT_INTERVAL": "100ms", "KAFKA_DIAL_TIMEOUT": "1s",
		"CLICKHOUSE_ADDRESSES": w.engine.Addr(), "CLICKHOUSE_DATABASE": database,
		"CLICKHOUSE_USERNAME": store, "CLICKHOUSE_PASSWORD_FILE": w.file("clickhouse-" + store),
		"NATS_URL": "nats://" + w.nats.Addr().String(), "NATS_USERNAME": nats, "NATS_PASSWORD_FILE": w.file("nats-" + nats),
		"NATS_INBOX_PREFIX": "_INBOX." + nats, "ADMIN_ADDR": "127.0.0.1:0", "LOG_LEVEL": "debug", "GENERATION_INTERVAL": "100ms",
	}
	for _, of := range []string{"KAFKA", "CLICKHOUSE", "NATS"} {
		env[of+"_TLS"] = "true"
		env[of+"_TLS_CA_FILE"], env[of+"_TLS_CERT_FILE"], env[of+"_TLS_KEY_FILE"] = w.files.CA, w.files.Cert, w.files.Key
	}
	return env
}

func (w *world) command(ctx context.Context, env map[string]string, args ...string) *exec.Cmd {
	w.t.Helper()
	dir, err := commands()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, args[0]), args[1:]...)
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"), "HOME="+os.Getenv("HOME"))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		cmd.Env = append(cmd.Env, lifecycle.EnvPrefix+name+"="+env[name])
	}
	return cmd
}

// run runs a command to its end, and gives what it has said.
func (w *world) run(env map[string]string, args ...string) (string, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := w.command(ctx, env, args...)
	said := newOutput()
	cmd.Stdout, cmd.Stderr = said, said
	err := cmd.Run()
	_, _ = io.WriteString(w.said, said.String())
	return said.String(), err
}

// mustRun is run of a command that must succeed.
func (w *world) mustRun(env map[string]string, args ...string) string {
	w.t.Helper()
	said, err := w.run(env, args...)
	if err != nil {
		w.t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, said)
	}
	return said
}

// process is one that runs until it is stopped.
type process struct {
	*output
	stop func()
}

// start starts a process, which is stopped in order at the end of the test.
func (w *world) start(env map[string]string, args ...string) *process {
	w.t.Helper()
	cmd := w.command(context.WithoutCancel(w.t.Context()), env, args...)
	p := &process{output: newOutput()}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(p.output, w.said), io.MultiWriter(p.output, w.said)
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	p.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("%s: %v: %s", strings.Join(args, " "), err, p)
		}
	})
	w.t.Cleanup(p.stop)
	return p
}

// project starts a projector, and serve a query worker.
func (w *world) project() *process {
	p := w.start(w.settings("projector", "projector"), "projector", "run")
	p.await(w.t, "nats connected", 1)
	return p
}

func (w *world) serve() *process {
	p := w.start(w.settings("query", "query"), "query")
	p.await(w.t, "nats connected", 1)
	return p
}

// migrate makes the tables.
func (w *world) migrate() {
	w.t.Helper()
	w.mustRun(w.settings(admin, "operator"), "projector", "migrate")
}

// send writes a message from bob to ann, and gives its text.
func (w *world) send(app string) string {
	w.t.Helper()
	w.nextSequence[app]++
	n := w.nextSequence[app]
	text := fmt.Sprintf("%s's %dth", app, n)
	w.write(events.Event{ID: fmt.Sprintf("%s-%d", app, n), App: app, Body: &events.MessageSent{
		Conversation: events.C2C("ann", "bob"), From: "bob", MessageID: fmt.Sprint(n), Sequence: n, Type: events.TypeText,
		Payload: fmt.Appendf(nil, `{"text":%q}`, text),
	}})
	return text
}

// erase has a user erased.
func (w *world) erase(app, user string) {
	w.t.Helper()
	w.write(events.Event{ID: app + "-erased-" + user, App: app, Body: &events.UserErased{UserID: user}})
}

// write writes an event of now.
func (w *world) write(e events.Event) {
	w.t.Helper()
	e.Time = events.MicrosOf(time.Now())
	value, err := events.AppendJSON(nil, e)
	if err == nil {
		err = w.producer.WriteMessages(w.t.Context(), kafka.Message{Topic: events.Topic(e.Body), Key: []byte(events.Key(e) + e.ID), Value: value})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// awaitShown asks, as an app's backend does, until ann's list of the app shows a text.
func (w *world) awaitShown(app, text string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		reply, err := w.run(w.settings("query", app), "chatload", "list", "ann", "--app", app, "--json")
		if err == nil && strings.Contains(reply, text) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%q is not shown: %v: %s\n%s", text, err, reply, w.said)
		}
	}
}
