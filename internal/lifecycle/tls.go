package lifecycle

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// TLS is how connections to a server are secured, if they are. Its files are read for each
// connection, so certificates can be replaced at any time. It is safe for concurrent use
// once its settings are made.
type TLS struct {
	// Enabled says that connections are secured. All else needs it.
	Enabled bool
	// CAFile has the certificates of those who are trusted, in PEM; "": the system's.
	CAFile string
	// CertFile and KeyFile are our own certificate and its key, in PEM, for servers
	// that ask for one.
	CertFile, KeyFile string
	// ServerName is what the server's certificate must be for; "": the host that is
	// connected to.
	ServerName string

	cas files[*x509.CertPool]
	own files[tls.Certificate]
}

// RegisterTLS binds settings to --NAME-tls and --NAME-tls-….
func RegisterTLS(f *Flags, name, server string) *TLS {
	t := &TLS{}
	t.register(f, name, server)
	return t
}

func (t *TLS) register(f *Flags, name, server string) {
	f.secured = append(f.secured, t)
	f.Bool(&t.Enabled, name+"-tls", "Connect to "+server+" by TLS.")
	f.String(&t.CAFile, name+"-tls-ca-file", "Certificates (PEM) of those who are trusted; without it the system's are. All files are read again for each connection.")
	f.String(&t.CertFile, name+"-tls-cert-file", "Our own certificate (PEM), for mutual TLS.")
	f.String(&t.KeyFile, name+"-tls-key-file", "Its key (PEM).")
	f.files = append(f.files, t.stale)
	f.String(&t.ServerName, name+"-tls-server-name", "What the server's certificate must be for, if not for the host that is connected to.")
}

func (t *TLS) stale() error { return errors.Join(t.cas.stale(), t.own.stale()) }

// Validate reports what is wrong with the settings and the files that they name.
func (t *TLS) Validate() error {
	if !t.Enabled {
		for _, given := range [][2]string{{"ca file", t.CAFile}, {"cert file", t.CertFile}, {"key file", t.KeyFile}, {"server name", t.ServerName}} {
			if given[1] != "" {
				return fmt.Errorf("tls: %s %q: expected tls to be enabled, too", given[0], given[1])
			}
		}
		return nil
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return fmt.Errorf("tls: certificate file %q and key file %q: expected both or neither", t.CertFile, t.KeyFile)
	}
	_, err := t.Config()
	return err
}

// Dial connects, by TLS if that is enabled.
func (t *TLS) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if !t.Enabled {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	config, err := t.Config()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, network, address)
}

// Config is for a connection that is made now.
func (t *TLS) Config() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pool, err := t.cas.read(func(content ...[]byte) (*x509.CertPool, error) {
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(content[0]) {
				return nil, fmt.Errorf("%s has none in PEM", t.CAFile)
			}
			return pool, nil
		}, t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls: certificates of those who are trusted: %w", err)
		}
		config.RootCAs = pool
	}
	if t.CertFile != "" {
		own, err := t.own.read(func(content ...[]byte) (tls.Certificate, error) {
			return tls.X509KeyPair(content[0], content[1])
		}, t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls: certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}
