package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestKill_NothingIsLostOrDoubled sends a chat through two projectors, real
// processes, which are killed (-9) in turn while they work and started again.
func TestKill_NothingIsLostOrDoubled(t *testing.T) {
	const kills = 5
	s := newSystem(t)
	chat := s.chat()
	binary := filepath.Join(t.TempDir(), "projector")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/projector").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	projectors := []*exec.Cmd{s.spawn(binary), s.spawn(binary)}

	conn := sandboxtest.ClickHouse(t)
	written := func() (n uint64) {
		if err := conn.QueryRow(t.Context(), "SELECT count() FROM "+s.store.Database()+".messages").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	batches := slices.Collect(slices.Chunk(chat, (len(chat)+kills)/(kills+1)))
	for i, batch := range batches {
		before := written()
		s.send(batch...)
		if i == kills {
			break
		}
		for n := before; n == before; { // until some of the batch is written, and the rest is under way
			n = written()
		}
		victim := &projectors[i%len(projectors)]
		if err := (*victim).Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = (*victim).Wait()
		*victim = s.spawn(binary)
	}
	s.settle()

	now := chat[len(chat)-1].Time.Time().Add(time.Minute)
	s.serve(func() time.Time { return now })
	compareAll(t, s, chat, now)
}

// spawn starts a projector process on the system.
func (s *system) spawn(binary string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), binary, "run",
		"--kafka-brokers", s.kafka, "--kafka-topics", s.messages+","+s.state, "--kafka-dead-topic", s.dead, "--kafka-group", s.group,
		"--kafka-session-timeout", "1s", "--kafka-heartbeat-interval", "100ms", "--kafka-join-backoff", "100ms",
		"--clickhouse-addresses", s.dbAddr, "--clickhouse-database", s.database,
		"--admin-addr", "127.0.0.1:0", "--flush-interval", "20ms", "--max-piece-events", "50", "--log-format", "text", "--log-level", "warn")
	cmd.Stderr = s.t.Output()
	cmd.Env = os.Environ()
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}
