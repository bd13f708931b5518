package readmodel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Config says where ClickHouse is.
type Config struct {
	// Addresses are host:port of the native protocol: of the server or, in a cluster, of
	// hosts that are asked in their place, the first one that is there.
	Addresses []string
	// Database names the read model; its tables are in one database per generation, NAME_g1.
	Database string
	// Cluster is the name of the ClickHouse cluster that has the read model, as the servers'
	// own configuration has it; empty: one server has it.
	Cluster string
	// InsertQuorum is on how many replicas of a shard rows are before they count as
	// written: a number, or auto, which is the majority.
	InsertQuorum string
	// Dialer connects, by TLS where that is wanted; nil: by TCP.
	Dialer Dialer
	// Account is who we are; nil: the account default, which has no password.
	Account Account
	// MaxConnections bounds the connections, and with them the queries at one time.
	MaxConnections int
	// DialTimeout bounds connecting to an address, and then the wait for its first answer.
	DialTimeout time.Duration
	// ReadTimeout bounds the wait for the next packet of an answer, and for all of what
	// comes after the last rows of an INSERT, while the server makes them durable.
	ReadTimeout time.Duration
	// WriteTimeout bounds the wait until ClickHouse takes what is sent, a part of an
	// insert at a time.
	WriteTimeout time.Duration
	// Nice is the nice value of the threads that work for us in ClickHouse, as
	// nice(1) has it: from 1 to 19 they give way to others on the machine. 0 leaves
	// it to the server.
	Nice int
}

// DefaultConfig is a ClickHouse on this machine.
func DefaultConfig() Config {
	return Config{
		Addresses:      []string{"127.0.0.1:9000"},
		Database:       "convoview",
		InsertQuorum:   "auto",
		MaxConnections: 32,
		DialTimeout:    2 * time.Second,
		ReadTimeout:    time.Minute,
		WriteTimeout:   10 * time.Second,
	}
}

// maxConnections is more than a server takes by default.
const maxConnections = 4096

// Dialer makes connections.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
	// Validate reports what is wrong with its settings.
	Validate() error
}

// Account says who we are.
type Account interface {
	// Credentials are for a connection that is made now.
	Credentials() (username, password string, err error)
	// Validate reports what is wrong with its settings.
	Validate() error
}

// Binder binds settings to flags and environment variables of one name.
type Binder interface {
	String(p *string, name, usage string)
	Strings(p *[]string, name, usage string)
	Int(p *int, name, usage string)
	Duration(p *time.Duration, name, usage string)
}

// Register binds the settings to --clickhouse-…, but for those of Dialer and Account.
func (c *Config) Register(b Binder) {
	b.Strings(&c.Addresses, "clickhouse-addresses", "The ClickHouse server, host:port of the native protocol; of a cluster, hosts of it, the first of which that is there is asked.")
	b.String(&c.Cluster, "clickhouse-cluster", "ClickHouse cluster that has the read model, as its servers' configuration names it; empty: one server has it.")
	b.String(&c.InsertQuorum, "clickhouse-insert-quorum", "In a cluster, on how many replicas of a shard rows are before they count as written: a number, or auto, the majority.")
	b.String(&c.Database, "clickhouse-database", "Database of the read model; its tables are in one database per generation, NAME_g1.")
	b.Int(&c.MaxConnections, "clickhouse-max-connections", "Most connections, and so queries, at one time.")
	b.Duration(&c.DialTimeout, "clickhouse-dial-timeout", "Longest time to connect to one address.")
	b.Duration(&c.ReadTimeout, "clickhouse-read-timeout", "Longest wait for the next packet of an answer, and for the end of an INSERT.")
	b.Duration(&c.WriteTimeout, "clickhouse-write-timeout", "Longest wait until ClickHouse takes what is sent.")
	b.Int(&c.Nice, "clickhouse-nice", "Nice value of the threads that work for us in ClickHouse: from 1 to 19 they give way to others on the machine; 0 leaves it to the server.")
}

// Validate reports everything that is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	// A failover to a server without the rows would lose them in silence.
	switch {
	case c.Cluster == "" && len(c.Addresses) != 1:
		errs = append(errs, fmt.Errorf("clickhouse addresses %q: expected one host:port, since the tables are not replicated without a cluster", c.Addresses))
	case len(c.Addresses) == 0:
		errs = append(errs, errors.New("clickhouse addresses are missing: expected host:port of hosts of the cluster"))
	}
	for _, address := range c.Addresses {
		_, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 {
			errs = append(errs, fmt.Errorf("clickhouse addresses %q: expected host:port", address))
		}
	}
	if strings.ContainsFunc(c.Cluster, func(r rune) bool { return r < ' ' || r == '{' || r == '}' }) {
		errs = append(errs, fmt.Errorf("clickhouse cluster %q: expected a name without braces and control characters", c.Cluster))
	}
	if n, err := strconv.Atoi(c.InsertQuorum); c.InsertQuorum != "auto" && (err != nil || n < 1) {
		errs = append(errs, fmt.Errorf("clickhouse insert quorum %q: expected auto or a number of at least 1", c.InsertQuorum))
	}
	if c.Dialer != nil {
		if err := c.Dialer.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("clickhouse: %w", err))
		}
	}
	if c.Account != nil {
		if err := c.Account.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("clickhouse: %w", err))
		}
	}
	if !validDatabase(c.Database) {
		errs = append(errs, fmt.Errorf("clickhouse database %q: expected letters, digits and underscores", c.Database))
	}
	if c.MaxConnections < 1 || c.MaxConnections > maxConnections {
		errs = append(errs, fmt.Errorf("clickhouse max connections %d: expected 1 to %d", c.MaxConnections, maxConnections))
	}
	if c.DialTimeout <= 0 {
		errs = append(errs, fmt.Errorf("clickhouse dial timeout %v: expected more than 0", c.DialTimeout))
	}
	if c.ReadTimeout <= 0 {
		errs = append(errs, fmt.Errorf("clickhouse read timeout %v: expected more than 0", c.ReadTimeout))
	}
	if c.WriteTimeout <= 0 {
		errs = append(errs, fmt.Errorf("clickhouse write timeout %v: expected more than 0", c.WriteTimeout))
	}
	if c.Nice < 0 || c.Nice > 19 {
		errs = append(errs, fmt.Errorf("clickhouse nice %d: expected 0 to 19", c.Nice))
	}
	return errors.Join(errs...)
}

func validDatabase(name string) bool {
	return name != "" && strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) < 0
}
