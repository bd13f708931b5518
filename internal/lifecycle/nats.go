package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// NATSConfig is where the NATS servers are.
type NATSConfig struct {
	// URL names the servers, separated by commas.
	URL string
}

// DefaultNATSConfig is a server on this machine.
func DefaultNATSConfig() NATSConfig { return NATSConfig{URL: nats.DefaultURL} }

// Register binds the settings to --nats-url.
func (c *NATSConfig) Register(f *Flags) {
	f.String(&c.URL, "nats-url", "NATS servers, separated by commas.")
}

// Validate reports what is wrong with the configuration.
func (c NATSConfig) Validate() error {
	if c.URL == "" {
		return errors.New("nats url: none given, expected nats://host:port")
	}
	return nil
}

// NATS is a connection that may come up after its user, and go and come back at
// any time.
type NATS struct {
	*nats.Conn
}

// ConnectNATS connects, or begins to try.
func ConnectNATS(c NATSConfig, name string, log *slog.Logger) (NATS, error) {
	nc, err := nats.Connect(c.URL,
		nats.Name("convoview "+name),
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("nats connected again", "server", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("nats disconnected", "error", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Error("nats failed", "error", err) }),
	)
	if err != nil {
		return NATS{}, fmt.Errorf("connect to nats: %w", err)
	}
	return NATS{nc}, nil
}

// DialNATS connects once, for a command that says something and ends. Each server may
// take nats.DefaultTimeout, and who is not there is not waited for. What fails later
// is the connection's LastError.
func DialNATS(c NATSConfig, name string) (*nats.Conn, error) {
	nc, err := nats.Connect(c.URL,
		nats.Name("convoview "+name),
		nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else it writes to standard error
	)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	return nc, nil
}

// Component flushes and closes the connection at its turn.
func (n NATS) Component() Component {
	return Closer("nats", func() error {
		defer n.Close()
		if !n.IsConnected() {
			return nil
		}
		if err := n.FlushTimeout(time.Second); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
		return nil
	})
}

// Connected is closed once there is a connection.
func (n NATS) Connected(ctx context.Context) <-chan struct{} {
	up := make(chan struct{})
	status := n.StatusChanged(nats.CONNECTED)
	go func() {
		for !n.IsConnected() {
			select {
			case <-status:
			case <-ctx.Done():
				return
			}
		}
		close(up)
	}()
	return up
}

// Check is a readiness check: nil while there is a connection.
func (n NATS) Check(context.Context) error {
	if !n.IsConnected() {
		return fmt.Errorf("nats is %s", n.Status())
	}
	return nil
}
