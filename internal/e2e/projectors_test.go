package e2e_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// projectors are processes of cmd/projector that work on one system.
type projectors struct {
	s       *system
	binary  string
	batch   int // events
	running []*projector
	started int
	killed  int
}

type projector struct {
	*exec.Cmd
	client string // its name in the consumer group
}

// batchesInAll is how many batches the projectors make of everything at least, so
// that a kill finds them at work.
const batchesInAll = 80

// startProjectors starts n projectors that will have so many events to project.
func (s *system) startProjectors(n, count int) *projectors {
	s.t.Helper()
	p := &projectors{s: s, binary: build(s.t, "projector"), batch: max(1, count/batchesInAll)}
	for range n {
		p.running = append(p.running, p.start())
	}
	return p
}

// build builds a command.
func build(t testing.TB, command string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), command)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/"+command).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func (p *projectors) start() *projector {
	s := p.s
	s.t.Helper()
	p.started++
	client := fmt.Sprint("projector-", p.started)
	batch := strconv.Itoa(p.batch)
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), p.binary, "run",
		"--kafka-brokers", s.kafka, "--kafka-topics", s.messages+","+s.state, "--kafka-dead-topic", s.dead,
		"--kafka-group", s.group, "--kafka-client-id", client,
		"--kafka-session-timeout", "1s", "--kafka-heartbeat-interval", "100ms", "--kafka-join-backoff", "100ms",
		"--clickhouse-addresses", s.dbAddr, "--clickhouse-database", s.database,
		"--flush-interval", "20ms", "--max-batch-events", batch, "--max-piece-events", batch,
		"--nats-url", s.natsURL, "--admin-addr", "127.0.0.1:0", "--log-format", "text", "--log-level", "warn")
	cmd.Stderr = s.t.Output()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	started := &projector{cmd, client}
	s.t.Cleanup(started.kill)
	return started
}

// kill kills the process (-9) and waits until it is dead.
func (p *projector) kill() {
	_ = p.Process.Kill() // it is dead already, or
	_ = p.Wait()         // it dies
}

// kill kills the next projector in the middle of its work, and starts another one. If it
// had nothing left to do, so does the other one, with the same work.
func (p *projectors) kill() {
	p.s.t.Helper()
	victim := &p.running[p.killed%len(p.running)]
	p.killed++
	for left := int64(0); left == 0; *victim = p.start() {
		owned := p.midway((*victim).client)
		// A commit was just seen. The kill comes anywhere between two of them, but before
		// that of its last batch.
		ends := p.s.ends()
		for range p.s.rng.IntN(maxDelay) {
			if p.s.committed().behind(ends, owned) <= int64(2*p.batch) {
				break
			}
		}
		(*victim).kill()
		left = p.s.committed().behind(p.s.ends(), owned)
		p.s.t.Logf("kill %d: %d records of its partitions are left", p.killed, left)
	}
}

// maxDelay is how many requests to Kafka, each some tenths of a millisecond, delay a kill at most.
const maxDelay = 100

// midway waits until a projector has committed some records of its partitions
// and has more of them to do. It gives the partitions. What was last sent is sent again
// if all of it is projected before that is seen: what comes twice changes nothing.
func (p *projectors) midway(client string) []events.Partition {
	p.s.t.Helper()
	ends := p.s.ends()
	var owned []events.Partition
	var before offsets
	for {
		assigned, committed := p.assigned(client), p.s.committed()
		if len(assigned) > 0 && committed.behind(ends, p.s.partitions) == 0 {
			p.s.send(p.s.sent...)
			ends, owned = p.s.ends(), nil
			continue
		}
		if !slices.Equal(owned, assigned) { // what was done before was another's work
			owned, before = assigned, committed
			continue
		}
		if before.behind(committed, owned) > 0 && committed.behind(ends, owned) > 0 {
			return owned
		}
	}
}

// assigned are the partitions that the group has assigned to a projector.
func (p *projectors) assigned(client string) (list []events.Partition) {
	p.s.t.Helper()
	response, err := p.s.client.DescribeGroups(p.s.t.Context(), &kafka.DescribeGroupsRequest{GroupIDs: []string{p.s.group}})
	if err != nil {
		p.s.t.Fatal(err)
	}
	for _, member := range response.Groups[0].Members {
		if member.ClientID != client {
			continue
		}
		for _, topic := range member.MemberAssignments.Topics {
			for _, id := range topic.Partitions {
				list = append(list, events.Partition{Topic: topic.Topic, ID: id})
			}
		}
	}
	return list
}
