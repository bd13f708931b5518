package lifecycle

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"golang.org/x/time/rate"
)

// NATSConfig is where the NATS servers are, and who we are to them: at most one of an
// account, a seed and credentials says that. It is used by its address, since it
// remembers what was in its files.
type NATSConfig struct {
	// URL names the servers, separated by commas.
	URL string
	TLS TLS
	// Account is a name and a password.
	Account Account
	// NKeyFile has the seed of an NKey.
	NKeyFile string
	// CredentialsFile has a user's JWT and the seed of its NKey, as nsc writes them (.creds).
	CredentialsFile string

	user files[natsUser]
}

// DefaultNATSConfig is a server on this machine.
func DefaultNATSConfig() NATSConfig { return NATSConfig{URL: nats.DefaultURL} }

// Register binds the settings to --nats-….
func (c *NATSConfig) Register(f *Flags) {
	f.String(&c.URL, "nats-url", "NATS servers, separated by commas.")
	c.TLS.register(f, "nats", "NATS")
	c.Account.register(f, "nats", "NATS")
	f.String(&c.NKeyFile, "nats-nkey-file", "Seed of the NKey that says who we are, instead of a name and a password; read again for each connection.")
	f.String(&c.CredentialsFile, "nats-credentials-file", "JWT and seed that say who we are (.creds), instead of a name and a password; read again for each connection.")
	f.files = append(f.files, c.user.stale)
}

// Validate reports what is wrong with the configuration. It shows no password.
func (c *NATSConfig) Validate() error {
	if c.URL == "" {
		return errors.New("nats url is missing: expected nats://host:port")
	}
	ways := 0
	for i, server := range strings.Split(c.URL, ",") {
		u, err := parseServer(server)
		if err != nil || u.Host == "" || !mayBePort(u.Port()) { // it may have a password in it, so it is not shown
			return fmt.Errorf("nats url at place %d is none: expected nats://host:port", i+1)
		}
		if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) { // the client would take it for nats, without TLS
			return fmt.Errorf("nats url at place %d begins with %q: expected nats://, tls://, ws:// or wss://", i+1, u.Scheme+"://")
		}
		if u.User != nil {
			ways = 1
		}
	}
	errs := []error{c.TLS.Validate()}
	for _, given := range []bool{c.Account.Given(), c.NKeyFile != "", c.CredentialsFile != ""} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		errs = append(errs, errors.New("more than one says who we are: expected a name and a password (in the url, given or in files), an nkey file, or a credentials file"))
	}
	errs = append(errs, c.Account.Validate())
	if c.NKeyFile != "" || c.CredentialsFile != "" {
		_, err := c.signer()
		errs = append(errs, err)
	}
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("nats: %w", err)
		}
	}
	return errors.Join(errs...)
}

// mayBePort reports whether there is a port of the name; none is the usual one.
func mayBePort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// servers are those that the URL names, without who we are.
func (c *NATSConfig) servers() string {
	var names []string
	for server := range strings.SplitSeq(c.URL, ",") {
		if u, err := parseServer(server); err == nil {
			u.User = nil // a name without a password is a token
			names = append(names, u.String())
		}
	}
	return strings.Join(names, ",")
}

// parseServer parses a URL as the client does.
func parseServer(server string) (*url.URL, error) {
	if server = strings.TrimSpace(server); !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	return url.Parse(server)
}

// natsUser is who we are by a key, which signs.
type natsUser struct {
	public string
	jwt    string // "": the server knows the key itself
	key    nkeys.KeyPair
}

// signer reads who we are in the file of a seed or of credentials.
func (c *NATSConfig) signer() (natsUser, error) {
	kind, file := "nkey", c.NKeyFile
	if c.CredentialsFile != "" {
		kind, file = "credentials", c.CredentialsFile
	}
	u, err := c.user.read(func(content ...[]byte) (u natsUser, err error) {
		if u.key, err = nkeys.ParseDecoratedUserNKey(content[0]); err == nil {
			u.public, err = u.key.PublicKey()
		}
		if err == nil && c.CredentialsFile != "" {
			u.jwt, err = nkeys.ParseDecoratedJWT(content[0])
		}
		return u, err
	}, file)
	if err != nil {
		return u, fmt.Errorf("%s file %s: %w", kind, file, err)
	}
	return u, nil
}

// sign signs as who the server was told that we are: what was read then.
func (c *NATSConfig) sign(nonce []byte) ([]byte, error) { return c.user.held().key.Sign(nonce) }

// natsWriteTimeout is how long a server may take nothing of what is sent to it. Whoever
// publishes waits meanwhile; then the connection is made anew.
const natsWriteTimeout = 5 * time.Second

// connect connects as the configuration says.
func (c *NATSConfig) connect(name string, options ...nats.Option) (*nats.Conn, error) {
	options = append(options, nats.Name("convoview "+name), nats.FlusherTimeout(natsWriteTimeout), nats.ReconnectOnFlusherError())
	if c.TLS.Enabled {
		options = append(options, c.secured)
	}
	if c.Account.Given() {
		options = append(options, nats.UserInfoHandler(func() (string, string) {
			username, password, _ := c.Account.Credentials() // who has nothing to say is refused by the server
			return username, password
		}))
	}
	if c.CredentialsFile != "" {
		options = append(options, nats.UserJWT(func() (string, error) {
			u, err := c.signer()
			return u.jwt, err
		}, c.sign))
	}
	key := &nkeyDialer{config: c}
	if c.NKeyFile != "" {
		u, err := c.signer()
		if err != nil {
			return nil, err
		}
		options = append(options, nats.Nkey(u.public, c.sign), nats.SetCustomDialer(key))
	}
	nc, err := nats.Connect(c.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats at %s: %w", c.servers(), err)
	}
	key.conn.Store(nc)
	return nc, nil
}

// secured is the option of TLS.
func (c *NATSConfig) secured(o *nats.Options) error {
	o.Secure, o.TLSConfig = true, &tls.Config{MinVersion: tls.VersionTLS12, ServerName: c.TLS.ServerName}
	o.RootCAsCB = func() (*x509.CertPool, error) {
		config, err := c.TLS.Config()
		if err != nil {
			return nil, err
		}
		return config.RootCAs, nil
	}
	if c.TLS.CertFile != "" {
		o.TLSCertCB = func() (tls.Certificate, error) {
			config, err := c.TLS.Config()
			if err != nil {
				return tls.Certificate{}, err
			}
			return config.Certificates[0], nil
		}
	}
	return nil
}

// nkeyDialer has a connection made with the key that is in the file then. The client takes
// the public key from its options when it has dialled, and holds its lock all the while.
type nkeyDialer struct {
	config *NATSConfig
	conn   atomic.Pointer[nats.Conn] // nil while it is made for the first time
}

// Dial implements nats.CustomDialer.
func (d *nkeyDialer) Dial(network, address string) (net.Conn, error) {
	if nc := d.conn.Load(); nc != nil {
		u, err := d.config.signer()
		if err != nil {
			return nil, err
		}
		nc.Opts.Nkey = u.public
	}
	return (&net.Dialer{Timeout: nats.DefaultTimeout}).Dial(network, address)
}

// NATS is a connection that may come up after its user, and go and come back at
// any time.
type NATS struct {
	*nats.Conn
	closed  <-chan struct{} // closed with the connection, by whomever
	refused *refusals
}

// ConnectNATS connects, or begins to try. Who is refused tries again, since what says who
// we are may be replaced.
func ConnectNATS(c *NATSConfig, name string, log *slog.Logger) (NATS, error) {
	closed, refused := make(chan struct{}), &refusals{said: map[string]error{}}
	failures := rate.Sometimes{First: 10, Interval: refusedInterval} // who may not say something is told so of each message
	nc, err := c.connect(name,
		nats.RetryOnFailedConnect(true),
		nats.MaxReconnects(-1),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.IgnoreAuthErrorAbort(),
		nats.ConnectHandler(func(nc *nats.Conn) { log.Info("nats connected", "server", nc.ConnectedAddr()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			refused.forget()
			log.Info("nats connected again", "server", nc.ConnectedAddr())
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Warn("nats not connected", "error", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // else it was closed, by us or for good, which says itself why
				log.Warn("nats disconnected", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			refused.note(err)
			failures.Do(func() { log.Error("nats failed", "error", err) })
		}),
	)
	if err != nil {
		return NATS{}, err
	}
	go func() { // of a handshake that fails nothing else tells
		for range nc.StatusChanged(nats.RECONNECTING) {
			if err := nc.LastError(); err != nil {
				log.Warn("nats not connected", "error", err)
			}
		}
	}()
	n := NATS{nc, closed, refused}
	go refused.askAgain(c, n, name, log)
	return n, nil
}

// DialNATS connects once, for a command that says something and ends. Each server may
// take nats.DefaultTimeout, and who is not there is not waited for. What fails later
// is the connection's LastError.
func DialNATS(c *NATSConfig, name string, options ...nats.Option) (*nats.Conn, error) {
	return c.connect(name, append(options,
		nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // else it writes to standard error
	)...)
}

// Component flushes and closes the connection at its turn. It ends before when the
// connection was closed for good, which the client does when a server complains of
// anything that it does not know: then only another start can help.
func (n NATS) Component() Component {
	return Component{Name: "nats", Run: func(ctx context.Context) error {
		select {
		case <-n.closed:
			return fmt.Errorf("the connection was closed for good: %w", n.LastError())
		case <-ctx.Done():
		}
		defer n.Close()
		if !n.IsConnected() {
			return nil
		}
		if err := n.FlushTimeout(time.Second); err != nil && n.IsConnected() {
			return fmt.Errorf("flush: %w", err)
		}
		return nil
	}}
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
		if err := n.LastError(); err != nil {
			return fmt.Errorf("nats is %s: %w", n.Status(), err)
		}
		return fmt.Errorf("nats is %s", n.Status())
	}
	return nil
}
