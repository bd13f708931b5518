package lifecycle_test

import (
	"crypto/tls"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
)

// tlsServer takes connections and tells who they were from.
func tlsServer(t *testing.T, ca *tlstest.CA, cert tls.Certificate) (address string, peers <-chan string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	came := make(chan string, 1)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			secured := conn.(*tls.Conn)
			if err := secured.HandshakeContext(t.Context()); err != nil {
				came <- err.Error()
			} else {
				came <- secured.ConnectionState().PeerCertificates[0].Subject.CommonName
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), came
}

// TestTLS_FilesAreReadAgain holds that certificates are replaced without a restart, and
// that a replacement that is half done disturbs nobody.
func TestTLS_FilesAreReadAgain(t *testing.T) {
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "before"))
	address, peers := tlsServer(t, ca, ca.Issue(t, "server"))
	client := &lifecycle.TLS{Enabled: true, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
	if err := client.Validate(); err != nil {
		t.Fatal(err)
	}
	dial := func() (string, error) {
		conn, err := client.Dial(t.Context(), "tcp", address)
		if err != nil {
			<-peers
			return "", err
		}
		defer func() { _ = conn.Close() }()
		return <-peers, nil
	}
	if got, err := dial(); err != nil || got != "before" {
		t.Errorf("it was %q, %v", got, err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if got, err := dial(); err != nil || got != "before" {
		t.Errorf("while they are replaced it was %q, %v", got, err)
	}
	files.Write(t, ca, ca.Issue(t, "after, with a longer name"))
	if got, err := dial(); err != nil || got != "after, with a longer name" {
		t.Errorf("then it was %q, %v", got, err)
	}
	files.Write(t, tlstest.NewCA(t), ca.Issue(t, "who trusts somebody else now"))
	if _, err := dial(); err == nil {
		t.Error("a server was trusted whose CA is trusted no more")
	}
}

// TestTLS_TheServerIsWhoItSaysItIs holds that a certificate for another host is refused,
// by name and by address.
func TestTLS_TheServerIsWhoItSaysItIs(t *testing.T) {
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "client"))
	cert := ca.Issue(t, "server")
	address, peers := tlsServer(t, ca, cert)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, serverName string
		trusted          bool
	}{
		{"127.0.0.1", "", true}, {"127.0.0.1", "server", true}, {"127.0.0.1", "other", false}, {"localhost", "", false}, {"localhost", "server", true},
	} {
		client := &lifecycle.TLS{Enabled: true, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, ServerName: c.serverName}
		conn, err := client.Dial(t.Context(), "tcp4", net.JoinHostPort(c.host, port))
		if err == nil {
			_ = conn.Close()
		}
		<-peers
		if trusted := err == nil; trusted != c.trusted {
			t.Errorf("host %s, server name %q: %v", c.host, c.serverName, err)
		}
	}
}

func TestTLS_Validate(t *testing.T) {
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "client"))
	empty := files.CA + ".empty"
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls  *lifecycle.TLS
		want string
	}{
		{&lifecycle.TLS{}, ""},
		{&lifecycle.TLS{Enabled: true}, ""},
		{&lifecycle.TLS{Enabled: true, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}, ""},
		{&lifecycle.TLS{CAFile: files.CA}, `tls: ca file "` + files.CA + `": expected tls to be enabled, too`},
		{&lifecycle.TLS{ServerName: "server"}, `tls: server name "server": expected tls to be enabled, too`},
		{&lifecycle.TLS{Enabled: true, CertFile: files.Cert}, "expected both or neither"},
		{&lifecycle.TLS{Enabled: true, CAFile: "nowhere.pem"}, "nowhere.pem"},
		{&lifecycle.TLS{Enabled: true, CAFile: empty}, "has none in PEM"},
		{&lifecycle.TLS{Enabled: true, CertFile: files.Key, KeyFile: files.Key}, "certificate"},
	} {
		err := c.tls.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.tls, err, c.want)
		}
	}
}
