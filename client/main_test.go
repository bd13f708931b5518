package client_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/convoview/convoview/client"
)

// url is the NATS server of the system that the tests ask: Kafka, ClickHouse and
// NATS, a projector and a query worker, all real. It is in the other module of this
// repository, which this one must not require, and runs as a process beside the
// tests. At quietURL is a NATS server where nobody answers but the tests themselves, and at
// strictURL one where the user mute may ask nothing and the user deaf may hear nothing.
var url, quietURL, strictURL string

func TestMain(m *testing.M) { os.Exit(withSystem(m.Run)) }

func withSystem(run func() int) (code int) {
	dir, err := os.MkdirTemp("", "convoview-client-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-o", dir+"/served", "./internal/e2e/served")
	build.Dir, build.Stderr = "..", os.Stderr
	if err := build.Run(); err != nil {
		panic(fmt.Sprintf("build the system: %v (these tests run in the repository of convoview)", err))
	}
	served := exec.Command(dir + "/served")
	served.Dir, served.Stderr = "..", os.Stderr
	stop, err := served.StdinPipe()
	if err != nil {
		panic(err)
	}
	says, err := served.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := served.Start(); err != nil {
		panic(err)
	}
	defer func() {
		_ = stop.Close()
		if err := served.Wait(); err != nil {
			fmt.Fprintln(os.Stderr, "the system:", err)
			code = max(code, 1)
		}
	}()
	lines := bufio.NewScanner(says)
	for _, said := range []*string{&url, &quietURL, &strictURL} {
		if !lines.Scan() {
			fmt.Fprintln(os.Stderr, "the system does not start")
			return 1
		}
		*said = lines.Text()
	}
	return run()
}

// connect connects to the system, as a backend does.
func connect() *nats.Conn {
	nc, err := nats.Connect(url, nats.Timeout(30*time.Second))
	if err != nil {
		panic(err)
	}
	return nc
}

var written atomic.Int64

// write writes an event with this body to Kafka, and says where, as a producer's
// client does.
func write(nc *nats.Conn, app, body string) client.Offset {
	n := written.Add(1)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	event := fmt.Sprintf(`{"id":"%d-%d","app":%q,"time":%q,%s}`, n, os.Getpid(), app, now, body)
	reply, err := nc.Request("write", []byte(event), time.Minute)
	if err != nil {
		panic(err)
	}
	var at struct {
		client.Offset
		Error string
	}
	if err := json.Unmarshal(reply.Data, &at); err != nil || at.Error != "" {
		panic(fmt.Sprintf("write %s: %s", event, reply.Data))
	}
	return at.Offset
}
