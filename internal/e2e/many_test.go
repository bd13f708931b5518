package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/sandbox/ports"
)

// ofEach is how many there are of each process.
const ofEach = 3

// TestMany_AnyOfThemMayGo runs three projectors, three query workers and a cluster of three
// NATS servers, all of them processes. While a chat goes on and everybody asks, one after
// the other of each kind is killed (-9) or stopped, and started again. Every request gets
// its reply, asked again where the contract says so (503, 504, nobody there) or where its
// reply was lost with whoever had it in hand. In the end all replies are what reading the
// raw events by the contract's letter gives.
func TestMany_AnyOfThemMayGo(t *testing.T) {
	rng := newRand(t)
	chat := drawChat(t, rng)
	for _, e := range chat {
		if plan, ok := e.Body.(*events.AppPlanChanged); ok {
			plan.Retention = 0 // the workers have a clock of their own
		}
	}
	people := peopleOf(chat)

	s := newSystemOf(t, rng, 2*ofEach, ofEach)
	cluster := startCluster(t)
	s.natsURL, s.nc = cluster.url(), cluster.connect()
	s.mayBeLost = 6 * time.Second // a worker answers within 5
	projectors := s.startProjectors(ofEach, len(chat))
	workers := s.startWorkers()

	ends := []func(){
		projectors.kill,
		func() { workers.end(0, syscall.SIGKILL) },
		func() { cluster.end(0, syscall.SIGKILL) },
		func() { projectors.stop(0) },
		func() { workers.end(1, syscall.SIGTERM) },
		func() { cluster.end(1, syscall.SIGTERM) },
	}
	i := 0
	for portion := range portions(chat) {
		s.send(portion...)
		var asking errgroup.Group
		asking.Go(func() error { return s.askEverybody(people) })
		ends[i]()
		if err := asking.Wait(); err != nil {
			t.Fatal(err)
		}
		i++
	}
	if i != len(ends) {
		t.Fatalf("%d portions, want one for each of %d ends", i, len(ends))
	}
	s.settle()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, p := range projectors.running {
		for joined := false; !joined; { // the last one may still be at it
			if ctx.Err() != nil {
				t.Fatalf("projector %d has no partition: %v", i, ctx.Err())
			}
			joined = len(projectors.assigned(p.client)) > 0
		}
	}
	if n := s.workersThere(ctx); n != ofEach {
		t.Errorf("%d workers answer, want %d", n, ofEach)
	}
	t.Logf("%d requests were asked again, %d of them since the reply was lost", s.refused.Load()+s.lost.Load(), s.lost.Load())
	(&comparison{systems: []*system{s}, want: bruteforce.New(chat, events.MicrosOf(time.Now())), after: s.after()}).all(t, people)
}

// stop stops a projector and starts another one.
func (p *projectors) stop(i int) {
	p.s.t.Helper()
	end(p.s.t, p.running[i].Cmd, syscall.SIGTERM)
	p.running[i] = p.start()
}

// end ends a process by a signal. One that is asked to stop ends well.
func end(t testing.TB, cmd *exec.Cmd, by syscall.Signal) {
	t.Helper()
	if err := cmd.Process.Signal(by); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil && by != syscall.SIGKILL {
		t.Errorf("%s: %v", cmd.Path, err)
	}
}

// start starts a process, which is killed at the end of the test.
func start(t testing.TB, env []string, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), path, args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), env...), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it is dead already, or
		_ = cmd.Wait()         // it dies
	})
	return cmd
}

// workers are processes of cmd/query.
type workers struct {
	s       *system
	binary  string
	running [ofEach]*exec.Cmd
}

func (s *system) startWorkers() *workers {
	s.t.Helper()
	w := &workers{s: s, binary: build(s.t, "query")}
	for i := range w.running {
		w.running[i] = w.start()
	}
	return w
}

func (w *workers) start() *exec.Cmd {
	s := w.s
	s.t.Helper()
	return start(s.t, nil, w.binary,
		"--nats-url", s.natsURL, "--clickhouse-addresses", s.dbAddr, "--clickhouse-database", s.database,
		"--max-queued", fmt.Sprint(askersAtOnce), "--max-waiting", fmt.Sprint(askersAtOnce),
		"--admin-addr", "127.0.0.1:0", "--log-format", "text", "--log-level", "error")
}

func (w *workers) end(i int, by syscall.Signal) {
	w.s.t.Helper()
	end(w.s.t, w.running[i], by)
	w.running[i] = w.start()
}

// workersThere is how many workers answer a ping, as soon as all do, or in the last second of ctx.
func (s *system) workersThere(ctx context.Context) int {
	s.t.Helper()
	for {
		ids := map[string]bool{}
		inbox := s.nc.NewInbox()
		pongs, err := s.nc.SubscribeSync(inbox)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.nc.PublishRequest("$SRV.PING.convoview", inbox, nil); err != nil {
			s.t.Fatal(err)
		}
		for len(ids) < ofEach {
			msg, err := pongs.NextMsg(time.Second)
			if err != nil {
				break
			}
			var pong struct{ ID string }
			if err := json.Unmarshal(msg.Data, &pong); err != nil {
				s.t.Fatal(err)
			}
			ids[pong.ID] = true
		}
		_ = pongs.Unsubscribe()
		if len(ids) == ofEach || ctx.Err() != nil {
			return len(ids)
		}
	}
}

// asNATS has the test's own binary run as a NATS server, so that it can be killed. Its
// value are the node's options.
const asNATS = "CONVOVIEW_TEST_AS_NATS"

// node is a server of a NATS cluster, as it is told.
type node struct {
	Name              string
	Port, ClusterPort int
	Routes            string
}

// runNode runs a server until it is asked to stop.
func runNode(options string) {
	var n node
	err := json.Unmarshal([]byte(options), &n)
	var s *server.Server
	if err == nil {
		s, err = server.NewServer(&server.Options{
			ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "convoview", Host: "127.0.0.1", Port: n.ClusterPort},
			Routes:  server.RoutesFromStr(n.Routes),
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s.Start()
	<-ctx.Done()
	s.Shutdown()
	s.WaitForShutdown()
}

// natsCluster is a cluster of NATS servers, each a process.
type natsCluster struct {
	t       testing.TB
	nodes   [ofEach]node
	running [ofEach]*exec.Cmd
}

func startCluster(t testing.TB) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t}
	var routes []string
	free, err := ports.Find(t.Context(), 2*ofEach)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.nodes {
		c.nodes[i] = node{Name: fmt.Sprint("n", i), Port: free[2*i], ClusterPort: free[2*i+1]}
		routes = append(routes, fmt.Sprint("nats://127.0.0.1:", c.nodes[i].ClusterPort))
	}
	for i := range c.nodes {
		c.nodes[i].Routes = strings.Join(routes, ",")
		c.running[i] = c.start(i)
	}
	return c
}

func (c *natsCluster) start(i int) *exec.Cmd {
	c.t.Helper()
	options, err := json.Marshal(c.nodes[i])
	if err != nil {
		c.t.Fatal(err)
	}
	return start(c.t, []string{asNATS + "=" + string(options)}, os.Args[0])
}

func (c *natsCluster) end(i int, by syscall.Signal) {
	c.t.Helper()
	end(c.t, c.running[i], by)
	c.running[i] = c.start(i)
}

// url names all servers.
func (c *natsCluster) url() string {
	var urls []string
	for _, n := range c.nodes {
		urls = append(urls, fmt.Sprint("nats://127.0.0.1:", n.Port))
	}
	return strings.Join(urls, ",")
}

// connect connects to any of the servers, and to another one when it is gone.
func (c *natsCluster) connect() *nats.Conn {
	c.t.Helper()
	conn, err := nats.Connect(c.url(), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(conn.Close)
	return conn
}
