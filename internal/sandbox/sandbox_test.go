package sandbox_test

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestConfig_Validate(t *testing.T) {
	if err := sandbox.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (sandbox.Config{}).Validate(); err != nil {
		t.Errorf("any free ports: %v", err)
	}
	wrong := sandbox.Config{
		Parts: 1 << 7, Kafka: "redpanda", KafkaBrokers: 2, KafkaPort: -1, NATSPort: 70000, ClickHousePort: 9000, HTTPPort: 9000, Connections: -1,
		Topics: []sandbox.Topic{{Name: "a", Partitions: 1}, {Name: "a", Partitions: 1}, {Name: "b"}},
	}
	err := wrong.Validate()
	for _, want := range []string{"part", `kind of Kafka "redpanda"`, "2 brokers of the embedded Kafka", "Kafka port -1", "NATS port 70000", "HTTP port 9000: ClickHouse", `topic "a"`, "topic b: 0 partitions", "connections -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
	apache := sandbox.Config{Kafka: sandbox.ApacheKafka, KafkaBrokers: 3, KafkaPort: 9998, ClickHousePort: 10000}
	if err := apache.Validate(); err == nil || !strings.Contains(err.Error(), "port 10000: ClickHouse has it") {
		t.Errorf("the third broker's port: %v", err)
	}
	if err := sandbox.New(wrong).Start(t.Context()); err == nil {
		t.Error("it started with a wrong configuration")
	}
}

// Parts of it start by themselves, beside a whole sandbox in this process.
func TestSandbox_Parts(t *testing.T) {
	sandboxtest.Start(t)
	broker := sandbox.New(sandbox.Config{Parts: sandbox.Kafka, Topics: sandbox.ChatTopics(3)})
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := partitions(t, broker.KafkaAddr(), "chat.state"); got != 3 {
		t.Errorf("%d partitions, want 3", got)
	}
	if err := broker.Close(); err != nil {
		t.Error(err)
	}
	server := sandbox.New(sandbox.Config{Parts: sandbox.NATS})
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(server.NATSURL())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(server.Close(), broker.Close()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestSandbox_TakenPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	port := taken.Addr().(*net.TCPAddr).Port
	for _, config := range []sandbox.Config{{Parts: sandbox.Kafka, KafkaPort: port}, {Parts: sandbox.NATS, NATSPort: port}} {
		if err := sandbox.New(config).Start(t.Context()); err == nil {
			t.Errorf("%+v started", config)
		}
	}
}

func TestSandbox_NATS(t *testing.T) {
	conn := sandboxtest.NATS(t)
	if _, err := conn.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil { // the other connection may be faster
		t.Fatal(err)
	}
	reply, err := sandboxtest.NATS(t).RequestWithContext(t.Context(), "echo", make([]byte, 1<<20))
	if err != nil || len(reply.Data) != 1<<20 {
		t.Errorf("%v", err)
	}
}

func TestSandbox_Addresses(t *testing.T) {
	s := sandboxtest.Start(t)
	for _, addr := range []string{s.KafkaAddr(), s.ClickHouseAddr()} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if !strings.HasPrefix(addr, "127.0.0.1:") {
			t.Errorf("%s is not loopback", addr)
		}
	}
	res, err := http.Get(s.HTTPURL())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}
