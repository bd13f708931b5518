//go:build kafka

package apachekafka_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/sandbox/apachekafka"
)

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// config is of a cluster with a directory of the test's own.
func config(t *testing.T, brokers int) apachekafka.Config {
	t.Helper()
	jars, err := apachekafka.FindJars(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return apachekafka.Config{Jars: jars, Dir: t.TempDir(), Brokers: brokers}
}

func start(t *testing.T, config apachekafka.Config) *apachekafka.Cluster {
	t.Helper()
	c, err := apachekafka.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Kill)
	return c
}

// client asks brokers, each time anew.
func client(t *testing.T, addrs ...string) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{MetadataTTL: 50 * time.Millisecond}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addrs...), Transport: transport}
}

// within gives a test a deadline.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// gone waits until a process is no more.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx := within(t)
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// What was acknowledged is there again after a stop and after a kill.
func TestCluster_KeepsItsData(t *testing.T) {
	ctx, of := within(t), config(t, 1)
	c := start(t, of)
	res, err := client(t, c.Addrs()...).CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "kept", NumPartitions: 1, ReplicationFactor: 1}}})
	if err != nil || res.Errors["kept"] != nil {
		t.Fatal(err, res)
	}
	write := func(values ...string) {
		t.Helper()
		w := &kafka.Writer{Addr: kafka.TCP(c.Addrs()...), Topic: "kept", RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
		defer func() { _ = w.Close() }()
		for _, v := range values {
			if err := w.WriteMessages(ctx, kafka.Message{Value: []byte(v)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("a", "b")
	if err := c.StopBroker(1); err != nil {
		t.Fatal(err)
	}
	if err := c.StopBroker(1); err == nil {
		t.Error("stopped twice")
	}
	if err := c.StartBroker(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.StartBroker(ctx, 1); err == nil {
		t.Error("started twice")
	}
	write("c")
	c.KillBroker(1)
	if err := c.StartBroker(ctx, 1); err != nil {
		t.Fatal(err)
	}
	write("d")
	pid := c.PID(1)
	c.Close()
	gone(t, pid)

	c = start(t, of) // on other ports
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: c.Addrs(), Topic: "kept"})
	defer func() { _ = r.Close() }()
	var got string
	for range 4 {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got += string(m.Value)
	}
	if got != "abcd" {
		t.Errorf("kept %q, want abcd", got)
	}

	of.Brokers = 3
	if _, err := apachekafka.Start(ctx, of); err == nil || !strings.Contains(err.Error(), "data of 1 brokers, expected 3") {
		t.Errorf("three brokers on the data of one: %v", err)
	}
}

// However its parent ends, no broker outlives it.
func TestCluster_EndsWithItsParent(t *testing.T) {
	cmd := exec.CommandContext(within(t), os.Args[0])
	cmd.Env = append(os.Environ(), asParent+"="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("it says %q, want the ID of a process", line)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the broker is not there: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	gone(t, pid)
}

// A broker that does not start says why.
func TestStart_ShowsTheLog(t *testing.T) {
	of := config(t, 1)
	of.Settings = map[string]string{"authorizer.class.name": "no.such.Authorizer"}
	_, err := apachekafka.Start(within(t), of)
	for _, want := range []string{"broker 1 ended (exit status 1)", "no.such.Authorizer"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
