package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// asCommand has the test's own binary run as the projector, so that it can be killed.
const asCommand = "CONVOVIEW_TEST_AS_PROJECTOR"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	sandboxtest.Main(m)
}

// operatorOf runs commands as processes of their own, on a read model of the test's own.
type operatorOf struct {
	t               *testing.T
	env             []string
	server          *readmodel.Server
	messages, state string // topics
}

func newOperator(t *testing.T) *operatorOf {
	t.Helper()
	box := sandboxtest.Start(t)
	config := readmodeltest.Config(t)
	server := readmodeltest.Open(t, config)
	messages := sandboxtest.Topic(t, 3)
	state := sandboxtest.Topic(t, 2, "cleanup.policy", "compact")
	dead := sandboxtest.Topic(t, 1, "max.message.bytes", "2000000")
	write(t, box.KafkaAddr(), messages, state)
	return &operatorOf{t: t, server: server, messages: messages, state: state, env: append(os.Environ(), asCommand+"=1",
		"CONVOVIEW_KAFKA_BROKERS="+box.KafkaAddr(), "CONVOVIEW_KAFKA_TOPICS="+messages+","+state, "CONVOVIEW_KAFKA_DEAD_TOPIC="+dead,
		"CONVOVIEW_KAFKA_GROUP="+messages, "CONVOVIEW_KAFKA_SESSION_TIMEOUT=1s", "CONVOVIEW_KAFKA_HEARTBEAT_INTERVAL=100ms",
		"CONVOVIEW_CLICKHOUSE_ADDRESSES="+config.Addresses[0], "CONVOVIEW_CLICKHOUSE_DATABASE="+config.Database,
		"CONVOVIEW_NATS_URL="+box.NATSURL(), "CONVOVIEW_ADMIN_ADDR=127.0.0.1:0", "CONVOVIEW_LOG_LEVEL=debug",
		"CONVOVIEW_MAX_BATCH_EVENTS=100", "CONVOVIEW_MAX_PIECE_EVENTS=50", "CONVOVIEW_PROGRESS_INTERVAL=100ms",
	)}
}

// write writes a chat: messages, some with a read.
func write(t *testing.T, broker, messages, state string) {
	t.Helper()
	w := &kafka.Writer{Addr: kafka.TCP(broker), RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	var records []kafka.Message
	add := func(topic string, body events.Body) {
		e := events.Event{ID: fmt.Sprintf("e%d", len(records)), App: "demo", Time: events.MicrosOf(time.Now()), Body: body}
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, kafka.Message{Topic: topic, Key: []byte(e.ID), Value: value})
	}
	for i := range 2000 {
		ann, bob := fmt.Sprintf("ann%d", i%50), fmt.Sprintf("bob%d", i%30)
		c := events.C2C(ann, bob)
		add(messages, &events.MessageSent{Conversation: c, From: bob, MessageID: fmt.Sprint(i), Sequence: uint64(i + 1), Type: events.TypeText})
		if i%5 == 0 {
			add(state, &events.ConversationRead{ConversationOf: events.ConversationOf{UserID: ann, ConversationID: c.IDFor(ann)}, Sequence: uint64(i)})
		}
	}
	if err := w.WriteMessages(t.Context(), records...); err != nil {
		t.Fatal(err)
	}
}

// run runs a command. It is killed as soon as it has written so many lines to its log,
// unless it ends before; 0: it is not. It gives how many lines there were.
func (o *operatorOf) run(killAt int, args ...string) (lines int, killed bool, err error) {
	o.t.Helper()
	cmd := exec.CommandContext(o.t.Context(), os.Args[0], args...)
	cmd.Env = o.env
	stderr, err := cmd.StderrPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	last := ""
	for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
		last = scanner.Text()
		if lines++; lines == killAt {
			if err := cmd.Process.Kill(); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && !exit.Exited() {
		return lines, true, nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, last)
	}
	return lines, false, err
}

// mustRun runs a command to its end.
func (o *operatorOf) mustRun(args ...string) (lines int) {
	o.t.Helper()
	lines, _, err := o.run(0, args...)
	if err != nil {
		o.t.Fatal(err)
	}
	return lines
}

// project runs a projector until it is stopped, or the test ends.
func (o *operatorOf) project(args ...string) (stop func()) {
	o.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(o.t.Context()), os.Args[0], append([]string{"run"}, args...)...)
	cmd.Env, cmd.Stderr = o.env, io.Discard
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(stop)
	return stop
}

// TestCommands_KilledAnywhere kills each command at one line of its log after the other,
// drawn, and runs it again until it ends. In the end all is as if nobody had been killed.
func TestCommands_KilledAnywhere(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	o := newOperator(t)
	o.mustRun("migrate")
	o.project()
	whole := o.mustRun("rebuild") // how many lines there are when nobody kills it
	o.mustRun("generations", "drop", "2")

	// again runs a command until it is done.
	again := func(done func(readmodel.Registry) bool, kills, lines int, args ...string) {
		t.Helper()
		for kill := 0; ; kill++ {
			killAt := 0
			if kill < kills {
				killAt = 1 + rng.IntN(max(1, lines))
			}
			_, killed, err := o.run(killAt, args...)
			r, failed := o.server.Registry(t.Context())
			if failed != nil {
				t.Fatal(failed)
			}
			if done(r) {
				return // killed or not
			}
			if err != nil || !killed {
				t.Fatalf("%v; the registry says %+v", err, r)
			}
		}
	}
	state := func(generation int, s readmodel.State) func(readmodel.Registry) bool {
		return func(r readmodel.Registry) bool {
			g, ok := r.Find(generation)
			return ok && g.State == s
		}
	}
	reads := func(generation int) func(readmodel.Registry) bool {
		return func(r readmodel.Registry) bool { return r.Current == generation }
	}
	again(state(3, readmodel.Filled), 8, whole, "rebuild")
	o.mustRun("verify", "3", "--strict")
	again(reads(3), 3, 20, "switch", "3")
	again(reads(1), 1, 1, "rollback")
	again(reads(3), 3, 20, "switch", "3")
	again(state(1, readmodel.Dropped), 2, 1, "generations", "drop", "1")
	o.mustRun("generations", "drop", "1") // it may have been killed before the tables were gone
	o.mustRun("verify", "3", "--sample", "1000000")
	ids := filepath.Join(t.TempDir(), "ids")
	if err := os.WriteFile(ids, []byte("e3\ne7\ne12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	again(state(4, readmodel.Filled), 6, whole, "rebuild", "--without", ids)
	o.mustRun("verify", "4", "--sample", "1000000")
	if leftOut, err := o.server.LeftOutOf(t.Context(), 4); err != nil || len(leftOut) != 3 {
		t.Errorf("left out are %v, %v", leftOut, err)
	}
	if _, _, err := o.run(0, "verify", "4", "--strict"); err == nil {
		t.Error("it has what it leaves out")
	}
	if r, err := o.server.Registry(t.Context()); err != nil || len(r.Generations) != 4 || r.Switches != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}
