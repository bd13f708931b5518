// Command sandbox runs Kafka, NATS and ClickHouse in one process on loopback:
// everything that the project needs to be developed and tried.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/sandbox"
)

const summary = `Kafka, NATS and ClickHouse in one process on 127.0.0.1.

  Kafka       an in-process broker that speaks Kafka's protocol; with
              --kafka=apache, brokers of Apache Kafka, each a process of its own
              that ends with this one (needs Java and the jars: make kafka)
  NATS        the NATS server itself, embedded
  ClickHouse  the ClickHouse engine itself (libchdb, which npm ci brings),
              on the native port and, for curl and other tools, over HTTP:
              curl 'http://127.0.0.1:8123/?query=SELECT+version()+FORMAT+JSON'

It creates the topics chat.messages, chat.state and chat.dead where they are
missing, says what listens where, then "ready", and runs until SIGINT or
SIGTERM. Without --data everything is gone at the end; with it, topics, group
offsets and tables are there again at the next start, also after kill -9.
There are no passwords, and nobody but this machine can connect.`

func main() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(servers * runtime.GOMAXPROCS(0))
	}
	lifecycle.Main(run)
}

// servers are how many there are in this process. Each of them would have all cores by
// itself, and the system would see to it that none waits long for another; with as many
// threads as cores for all of them, a message of NATS would wait until an insert is read.
const servers = 3

// configure makes the sandbox's configuration of the flags, whose defaults the
// environment may set.
func configure(args []string, getenv func(string) string, output io.Writer) (sandbox.Config, error) {
	config, partitions := sandbox.DefaultConfig(), 4
	f := lifecycle.NewFlags("sandbox", summary, getenv, output)
	f.String(&config.DataDir, "data", "Keep the data in this directory; otherwise they are gone at the end.")
	f.String(&config.Kafka, "kafka", "Which Kafka to run: embedded or apache.")
	f.Int(&config.KafkaBrokers, "broker-count", "Brokers of Apache Kafka to run.") // kafka-brokers are addresses elsewhere
	f.Int(&config.KafkaPort, "kafka-port", "Port of Kafka; 0: any free one. More brokers have the ports after it.")
	f.Int(&config.NATSPort, "nats-port", "Port of NATS; 0: any free one.")
	f.Int(&config.ClickHousePort, "clickhouse-port", "Port of ClickHouse's native protocol; 0: any free one.")
	f.Int(&config.HTTPPort, "http-port", "Port of ClickHouse's HTTP interface; 0: any free one.")
	f.Int(&partitions, "partitions", "Partitions of a topic that is created.")
	err := f.Configure(args, func() error {
		config.Topics = sandbox.ChatTopics(max(1, partitions))
		err := config.Validate()
		if partitions < 1 { // which would be said of each topic
			err = errors.Join(err, fmt.Errorf("partitions %d: expected at least 1", partitions))
		}
		return err
	})
	return config, err
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config, err := configure(args, getenv, stdout)
	if err != nil {
		return err
	}
	config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s := sandbox.New(config)
	if err := s.Start(ctx); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, announcement(config, s))
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, s.Close())
}

// announcement says what listens where. Its last line is for those who wait.
func announcement(config sandbox.Config, s *sandbox.Sandbox) string {
	var topics []string
	for _, t := range config.Topics {
		topics = append(topics, t.Name)
	}
	data := config.DataDir
	if data == "" {
		data = "gone at the end"
	}
	return fmt.Sprintf(`Kafka       %s
NATS        %s
ClickHouse  %s
HTTP        %s
topics      %s
data        %s
ready
`, strings.Join(s.KafkaAddrs(), ","), s.NATSURL(), s.ClickHouseAddr(), s.HTTPURL(), strings.Join(topics, ", "), data)
}
