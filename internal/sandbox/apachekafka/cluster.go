package apachekafka

import (
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/sandbox/ports"
)

// The bounds of what brokers do. They decide nothing but how soon a broken one is given up.
const (
	startTimeout = 2 * time.Minute
	stopTimeout  = time.Minute
	closeTimeout = 10 * time.Second
	pollInterval = 50 * time.Millisecond
	pollTimeout  = 5 * time.Second
)

// defaultHeapMB is enough for a broker with some hundred partitions.
const defaultHeapMB = 384

// clusterID is Kafka's way to write 16 bytes.
var clusterID = base64.RawURLEncoding.EncodeToString([]byte("convoview kafka!"))

//go:embed log4j2.properties
var logging []byte

// Config describes a cluster.
type Config struct {
	// Jars is the directory of Apache Kafka's jars, see FindJars.
	Jars string
	// Dir keeps what brokers need, each in a directory of its own. Their data are there
	// again at the next start, if it is one of as many brokers.
	Dir string
	// Brokers is how many there are; 0 means 1.
	Brokers int
	// Port is that of the first broker on 127.0.0.1, and the others have the ones after
	// it; 0 means any free ones.
	Port int
	// HeapMB bounds the heap of each broker; 0 means 384.
	HeapMB int
	// Settings are those of every broker that are to differ from the usual ones.
	Settings map[string]string
	// Secured has brokers listen once more, for clients by TLS and SASL, whose settings are
	// among Settings; see SecuredAddrs.
	Secured bool
	// Scram are users whom brokers know from the beginning, as the storage tool takes
	// them: SCRAM-SHA-512=[name=ann,password=secret].
	Scram []string
	// Logger; nil means silence.
	Logger *slog.Logger
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.Jars == "" {
		errs = append(errs, errors.New("directory of the jars is empty"))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("directory of the data is empty"))
	}
	if c.Brokers < 0 {
		errs = append(errs, fmt.Errorf("%d brokers: expected at least 1, or 0 for 1", c.Brokers))
	}
	if c.Port < 0 || c.Port+max(c.Brokers, 1)-1 > 65535 {
		errs = append(errs, fmt.Errorf("port %d of %d brokers: expected 0 to 65535 for all", c.Port, max(c.Brokers, 1)))
	}
	if c.HeapMB < 0 {
		errs = append(errs, fmt.Errorf("heap of %d MB: expected at least 1, or 0 for %d", c.HeapMB, defaultHeapMB))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("apache kafka: %w", err)
	}
	return nil
}

// Cluster is a number of brokers, which have the IDs from 1 on. Its methods are
// for one goroutine at a time.
type Cluster struct {
	config  Config
	java    string
	brokers []*broker
}

// Start starts a cluster and waits until every broker knows all. After an error
// nothing runs.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.Brokers = max(config.Brokers, 1)
	if config.HeapMB == 0 {
		config.HeapMB = defaultHeapMB
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	java, err := findJava()
	if err != nil {
		return nil, err
	}
	c := &Cluster{config: config, java: java}
	if err := c.prepare(ctx); err != nil {
		return nil, fmt.Errorf("prepare Apache Kafka: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within %v", startTimeout))
	defer cancel()
	if err := c.start(ctx); err != nil {
		c.Kill()
		return nil, fmt.Errorf("start Apache Kafka: %w", err)
	}
	return c, nil
}

// findJava finds the java command as Java's own scripts do.
func findJava() (string, error) {
	name := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		name = filepath.Join(home, "bin", name)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find a Java runtime, 17 or later, for Apache Kafka: %w", err)
	}
	return path, nil
}

// prepare chooses ports and writes the settings of all brokers.
func (c *Cluster) prepare(ctx context.Context) error {
	if found, _ := filepath.Glob(filepath.Join(c.config.Dir, "broker-*")); len(found) > 0 && len(found) != c.config.Brokers {
		return fmt.Errorf("%s has the data of %d brokers, expected %d", c.config.Dir, len(found), c.config.Brokers)
	}
	free, err := ports.Find(ctx, 3*c.config.Brokers)
	if err != nil {
		return err
	}
	var voters []string
	for i := range c.config.Brokers {
		b := &broker{
			id: i + 1, dir: filepath.Join(c.config.Dir, fmt.Sprint("broker-", i+1)), addr: ports.Local(free[3*i]), controller: ports.Local(free[3*i+1]), secured: ports.Local(free[3*i+2]),
		}
		if c.config.Port > 0 {
			b.addr = ports.Local(c.config.Port + i)
		}
		if err := ports.Free(ctx, b.addr); err != nil { // the broker itself says so late, and among much else
			return err
		}
		voters = append(voters, fmt.Sprint(b.id, "@", b.controller))
		c.brokers = append(c.brokers, b)
	}
	for _, b := range c.brokers {
		if err := os.MkdirAll(b.dir, 0o755); err != nil {
			return err
		}
		settings := c.settings(b)
		settings["controller.quorum.voters"] = strings.Join(voters, ",")
		if c.config.Secured {
			settings["listeners"] += ",SASL_SSL://" + b.secured
			settings["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL"
		}
		maps.Copy(settings, c.config.Settings)
		var text strings.Builder
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			fmt.Fprintf(&text, "%s=%s\n", name, settings[name])
		}
		err := os.WriteFile(b.settings(), []byte(text.String()), 0o644)
		if err := errors.Join(err, os.WriteFile(b.logging(), logging, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// settings are those of a broker in a small cluster.
func (c *Cluster) settings(b *broker) map[string]string {
	replicas := strconv.Itoa(min(c.config.Brokers, 3))
	majority := strconv.Itoa(min(c.config.Brokers, 3)/2 + 1)
	return map[string]string{
		"process.roles":             "broker,controller",
		"node.id":                   strconv.Itoa(b.id),
		"listeners":                 "PLAINTEXT://" + b.addr + ",CONTROLLER://" + b.controller,
		"controller.listener.names": "CONTROLLER",
		"log.dirs":                  b.data(),
		"auto.create.topics.enable": "false",

		"default.replication.factor":                                  replicas,
		"min.insync.replicas":                                         majority,
		"offsets.topic.num.partitions":                                "6",
		"offsets.topic.replication.factor":                            replicas,
		"transaction.state.log.num.partitions":                        "3",
		"transaction.state.log.replication.factor":                    replicas,
		"transaction.state.log.min.isr":                               majority,
		"share.coordinator.state.topic.num.partitions":                "1",
		"share.coordinator.state.topic.replication.factor":            replicas,
		"share.coordinator.state.topic.min.isr":                       majority,
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "1000",
		"broker.session.timeout.ms":                                   "6000", // for which a broker that was killed is awaited
		"broker.heartbeat.interval.ms":                                "1000",
		"log.retention.ms":                                            "-1",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
		"log.cleaner.backoff.ms":                                      "100",
		"log.cleaner.dedupe.buffer.size":                              strconv.Itoa(4 << 20), // the default is a third of the heap
		"num.network.threads":                                         "2",
		"num.io.threads":                                              "4",
		"background.threads":                                          "2",
	}
}

func (c *Cluster) start(ctx context.Context) error {
	begin := time.Now()
	group, together := errgroup.WithContext(ctx)
	for _, b := range c.brokers {
		group.Go(func() error {
			if err := c.format(together, b); err != nil {
				return err
			}
			return c.spawn(b) //nolint:contextcheck // a broker outlives its start
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var all []int
	for _, b := range c.brokers {
		all = append(all, b.id)
	}
	for _, b := range c.brokers {
		if err := b.awaitKnown(ctx, all); err != nil {
			return err
		}
	}
	c.config.Logger.Info("Apache Kafka started", "brokers", c.Addrs(), "took", time.Since(begin))
	return nil
}

// format makes a broker's data directory where there is none yet.
func (c *Cluster) format(ctx context.Context, b *broker) error {
	if _, err := os.Stat(filepath.Join(b.data(), "meta.properties")); err == nil {
		return nil
	}
	args := []string{"format", "-t", clusterID, "-c", b.settings()}
	for _, user := range c.config.Scram {
		args = append(args, "--add-scram", user)
	}
	out, err := c.tool(ctx, b.logging(), "kafka.tools.StorageTool", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("format the data of broker %d: %w: %s", b.id, err, tail(out))
	}
	return nil
}

// spawn starts the process of a broker.
func (c *Cluster) spawn(b *broker) error {
	return b.spawn(c.tool(context.Background(), b.logging(), "kafka.Kafka", b.settings()))
}

// Tool is one of Apache Kafka's own tools, by the name of its class, such as
// org.apache.kafka.tools.ConsoleProducer.
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) *exec.Cmd {
	return c.tool(ctx, c.brokers[0].logging(), class, args...)
}

// tool runs a class. Starting quickly is worth more here than running quickly.
func (c *Cluster) tool(ctx context.Context, logging, class string, args ...string) *exec.Cmd {
	options := []string{
		"-Xmx" + strconv.Itoa(c.config.HeapMB) + "m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Dlog4j2.configurationFile=" + logging, "-cp", filepath.Join(c.config.Jars, "*"), class,
	}
	return exec.CommandContext(ctx, c.java, append(options, args...)...)
}

// Addrs are the hosts and ports of all brokers, in the order of their IDs.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.addr)
	}
	return addrs
}

// SecuredAddrs are those at which clients need TLS and SASL.
func (c *Cluster) SecuredAddrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.secured)
	}
	return addrs
}

// PID is the ID of a broker's process, as of its last start.
func (c *Cluster) PID(id int) int { return c.broker(id).cmd.Process.Pid }

func (c *Cluster) broker(id int) *broker { return c.brokers[id-1] }

// StopBroker has a broker hand over its partitions and end.
func (c *Cluster) StopBroker(id int) error { return c.broker(id).stop() }

// KillBroker ends a broker at once (SIGKILL).
func (c *Cluster) KillBroker(id int) { c.broker(id).kill() }

// StartBroker starts a broker again and waits until it says that it takes part.
func (c *Cluster) StartBroker(ctx context.Context, id int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready within %v", startTimeout))
	defer cancel()
	b := c.broker(id)
	if err := c.spawn(b); err != nil { //nolint:contextcheck // a broker outlives its start
		return err
	}
	return b.awaitKnown(ctx, []int{id})
}

// Close stops all brokers, and kills those that find nobody any more to hand over
// to: what they have acknowledged is in their files.
func (c *Cluster) Close() {
	for _, b := range c.brokers {
		b.ask()
	}
	timeout := time.After(closeTimeout)
	for _, b := range c.brokers {
		if !b.running() {
			continue
		}
		select {
		case <-b.done:
		case <-timeout:
			c.Kill()
		}
	}
}

// Kill ends all brokers at once, as fits whose data are not needed any more.
func (c *Cluster) Kill() {
	for _, b := range c.brokers {
		b.kill()
	}
}

// known are the IDs of the brokers that the one at an address knows to be there.
func known(ctx context.Context, addr string) ([]int, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	conn, err := kafka.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(pollTimeout)); err != nil {
		return nil, err
	}
	brokers, err := conn.Brokers()
	var ids []int
	for _, b := range brokers {
		ids = append(ids, b.ID)
	}
	return ids, err
}
