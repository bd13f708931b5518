package ingest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
)

// TestConsumer_Secured goes through a broker that asks for a certificate and a password:
// reading, joining, committing and dead letters.
func TestConsumer_Secured(t *testing.T) {
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "projector"))
	for _, mechanism := range []string{SASLPlain, SASLScramSHA256, SASLScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			account := &lifecycle.Account{Username: "projector", Password: "correct horse"}
			h := newEmbedded(t, 2, kfake.EnableSASL(), kfake.Superuser(mechanism, account.Username, account.Password), kfake.TLS(&tls.Config{
				MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.Issue(t, "broker")},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
			}))
			secured := &lifecycle.TLS{Enabled: true, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
			h.client.Transport = &kafka.Transport{Dial: secured.Dial, SASL: SASL{mechanism, account}.Client()}
			config := h.config()
			config.Dialer, config.SASL = secured, SASL{mechanism, account}

			r := h.run(config, h.sink)
			h.produce(messagesTopic, 0, h.messages(5)...)
			h.produce(messagesTopic, 1, bad("k", "nonsense"))
			h.produce(stateTopic, 1, h.messages(1)...)
			h.awaitAll()
			r.mustStop()
			h.checkModel()

			wrong := config
			wrong.SASL.Account = &lifecycle.Account{Username: "projector", Password: "incorrect horse"}
			h.refused(wrong, "EOF") // this broker hangs up; others say why
			nobody := config
			nobody.Dialer = &lifecycle.TLS{Enabled: true, CAFile: files.CA} // no certificate of its own
			h.refused(nobody, "certificate required")
		})
	}
}

// refused runs a consumer that must say why brokers refuse it, and not its password.
func (h *harness) refused(config Config, why string) {
	h.Helper()
	logs := newLogs()
	c, err := New(config, newMemorySink(), events.NewDecoder(events.DefaultLimits()), slog.New(logs), prometheus.NewRegistry())
	if err != nil {
		h.Fatal(err)
	}
	ctx, stop := context.WithCancel(h.ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	said := logs.await(h, "waiting for Kafka and its topics", 1)["error"]
	stop()
	if err := <-done; err != nil {
		h.Error(err)
	}
	if !strings.Contains(said, why) || strings.Contains(said, "horse") {
		h.Errorf("it says %q, want %q", said, why)
	}
}

func TestSASL_Validate(t *testing.T) {
	account := func(username, password string) *lifecycle.Account {
		return &lifecycle.Account{Username: username, Password: password}
	}
	for _, c := range []struct {
		sasl SASL
		want string
	}{
		{SASL{}, ""},
		{SASL{"", account("", "")}, ""},
		{SASL{SASLScramSHA512, account("ann", "secret")}, ""},
		{SASL{"GSSAPI", account("ann", "secret")}, `sasl mechanism "GSSAPI": expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512`},
		{SASL{"", account("ann", "secret")}, `sasl mechanism ""`},
		{SASL{SASLPlain, nil}, "expected a username and a password"},
		{SASL{SASLPlain, account("", "")}, "expected a username and a password"},
		{SASL{SASLPlain, account("ann", "")}, "password of 0 bytes"},
		{SASL{SASLScramSHA256, account("", "secret")}, `username ""`},
		{SASL{SASLScramSHA256, account("ann\x00", "secret")}, `username "ann\x00"`},
		{SASL{SASLScramSHA512, account("ann", "secret\t")}, "characters that SASLprep forbids"},
		{SASL{SASLPlain, &lifecycle.Account{Username: "ann", PasswordFile: "nowhere"}}, "nowhere"},
	} {
		err := c.sasl.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.sasl.Mechanism, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
}
