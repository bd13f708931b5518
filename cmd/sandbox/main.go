// Command sandbox runs Kafka, NATS and ClickHouse in one process on loopback:
// everything that the project needs to be developed and tried.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/convoview/convoview/internal/sandbox"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

const help = `sandbox runs Kafka, NATS and ClickHouse in one process on 127.0.0.1.

  Kafka       an in-process broker that speaks Kafka's protocol
  NATS        the NATS server itself, embedded
  ClickHouse  the ClickHouse engine itself (libchdb, which npm ci brings),
              on the native port and, for curl and other tools, over HTTP:
              curl 'http://127.0.0.1:8123/?query=SELECT+version()+FORMAT+JSON'

It creates the topics chat.messages, chat.state and chat.dead where they are
missing, says what listens where, then "ready", and runs until SIGINT or
SIGTERM. Without --data everything is gone at the end; with it, topics, group
offsets and tables are there again at the next start, also after kill -9.
There are no passwords, and nobody but this machine can connect.

Flags, each with an environment variable that it takes precedence over:
`

// options are the flags before the sandbox's configuration is made of them.
type options struct {
	config     sandbox.Config
	partitions int
	check      bool
}

// parse reads the flags, whose defaults the environment may set.
func parse(args []string, getenv func(string) string, output io.Writer) (options, error) {
	o := options{config: sandbox.DefaultConfig(), partitions: 4}
	flags := flag.NewFlagSet("sandbox", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is reported once, by main
	flags.Usage = func() {}
	var errs []error
	env := func(name, usage string) string { return usage + " [$CONVOVIEW_SANDBOX_" + name + "]" }
	number := func(p *int, flagName, name, usage string) {
		if v := getenv("CONVOVIEW_SANDBOX_" + name); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil {
				errs = append(errs, fmt.Errorf("CONVOVIEW_SANDBOX_%s=%q: want a number", name, v))
			}
			*p = n
		}
		flags.IntVar(p, flagName, *p, env(name, usage))
	}
	flags.StringVar(&o.config.DataDir, "data", getenv("CONVOVIEW_SANDBOX_DATA"), env("DATA", "keep the data in `directory`; empty: in memory and a temporary directory"))
	number(&o.config.KafkaPort, "kafka-port", "KAFKA_PORT", "`port` of Kafka, 0: any free one")
	number(&o.config.NATSPort, "nats-port", "NATS_PORT", "`port` of NATS, 0: any free one")
	number(&o.config.ClickHousePort, "clickhouse-port", "CLICKHOUSE_PORT", "`port` of ClickHouse's native protocol, 0: any free one")
	number(&o.config.HTTPPort, "http-port", "HTTP_PORT", "`port` of ClickHouse's HTTP interface, 0: any free one")
	number(&o.partitions, "partitions", "PARTITIONS", "`number` of partitions of a topic that is created")
	flags.BoolVar(&o.check, "check", false, "check the configuration and exit")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			_, _ = io.WriteString(output, help)
			flags.SetOutput(output)
			flags.PrintDefaults()
		}
		return o, err
	}
	if flags.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	o.config.Topics = sandbox.ChatTopics(o.partitions)
	return o, errors.Join(append(errs, o.config.Validate())...)
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	o, err := parse(args, getenv, stdout)
	if err != nil {
		return err
	}
	if o.check {
		_, err := fmt.Fprintln(stdout, "the configuration is valid")
		return err
	}
	o.config.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s := sandbox.New(o.config)
	if err := s.Start(ctx); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, announcement(o.config, s))
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
		data = "in memory, gone at the end"
	}
	return fmt.Sprintf(`Kafka       %s
NATS        %s
ClickHouse  %s
HTTP        %s
topics      %s
data        %s
ready
`, s.KafkaAddr(), s.NATSURL(), s.ClickHouseAddr(), s.HTTPURL(), strings.Join(topics, ", "), data)
}
