package security

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"errors"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
	"github.com/convoview/convoview/internal/readmodel"
)

// TestRotation_ClickHouse holds that a server which trusts others now, and takes another
// password, is connected to again as soon as the files say so, and that it counts as away
// until then.
func TestRotation_ClickHouse(t *testing.T) {
	w := newWorld(t)
	w.migrate()
	c := readmodel.DefaultConfig()
	c.Addresses, c.Database = []string{w.engine.Addr()}, database
	c.Dialer, c.Account = w.tls(), &lifecycle.Account{UsernameFile: w.put("username", "query"), PasswordFile: w.file("clickhouse-query")}
	s, err := readmodel.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	check := func(when, want string) {
		t.Helper()
		err := s.Check(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", when, err, want)
		}
		if err != nil && (!away(err) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("%s: %v: it is away: %t", when, err, away(err))
		}
	}
	check("at first", "")

	other := tlstest.NewCA(t)
	w.engineTLS.renew(t, other)
	old := w.secrets["clickhouse-query"]
	w.secrets["clickhouse-query"] = secret()
	w.engine.SetAccounts(w.storeAccounts())
	check("over the connection that is there", "")
	w.engineTLS.cut()
	check("when the server has changed", "x509")
	w.files.Write(t, other, other.Issue(t, "client"))
	check("when the certificates have", "Authentication failed")
	if old == w.secrets["clickhouse-query"] {
		t.Fatal("the password is the same")
	}
	w.put("clickhouse-query", w.secrets["clickhouse-query"])
	check("when the password has", "")
	w.put("username", "projector")
	w.engineTLS.cut()
	check("when it is another's name", "Authentication failed")
	w.put("clickhouse-query", w.secrets["clickhouse-projector"])
	check("and password", "")
}

// away reports whether an error says that ClickHouse is away.
func away(err error) bool {
	var unavailable interface{ Unavailable() bool }
	return errors.As(err, &unavailable) && unavailable.Unavailable()
}

// TestRotation_Everything holds that a projector and a query worker go on without a restart
// when all certificates and passwords are replaced: those of Kafka, ClickHouse and NATS.
func TestRotation_Everything(t *testing.T) {
	w := newWorld(t)
	w.migrate()
	projector, worker := w.project(), w.serve()
	w.awaitShown("demo", w.send("demo"))

	// The servers first: whoever is connected stays so, and who connects is refused.
	other := tlstest.NewCA(t)
	for of := range w.secrets {
		w.secrets[of] = secret()
	}
	w.engine.SetAccounts(w.storeAccounts())
	w.renewKafka()
	w.engineTLS.renew(t, other)
	w.brokerTLS.renew(t, other)
	w.ca = other
	w.startNATS()
	w.brokerTLS.cut()
	w.engineTLS.cut()
	for _, p := range []*process{projector, worker} {
		p.await(t, "nats not connected.*x509", 2)
	}
	projector.await(t, "cannot join the consumer group.*x509", 1)

	w.files.Write(t, other, other.Issue(t, "client"))
	for of, password := range w.secrets {
		w.put(of, password)
	}
	for _, p := range []*process{projector, worker} {
		p.await(t, "nats connected again", 1)
	}
	w.produce()
	w.awaitShown("demo", w.send("demo"))
}

// renewKafka has the broker take the projector's new password.
func (w *world) renewKafka() {
	w.t.Helper()
	salt := []byte("0123456789abcdef")
	const iterations = 4096
	salted, err := pbkdf2.Key(sha512.New, w.secrets["kafka"], salt, iterations, sha512.Size)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &kafka.Client{Addr: w.producer.Addr, Transport: w.producer.Transport}
	res, err := client.AlterUserScramCredentials(w.t.Context(), &kafka.AlterUserScramCredentialsRequest{
		Upsertions: []kafka.UserScramCredentialsUpsertion{{
			Name: "projector", Mechanism: kafka.ScramMechanismSha512, Iterations: iterations, Salt: salt, SaltedPassword: salted,
		}},
	})
	if err == nil {
		err = res.Results[0].Error
	}
	if err != nil {
		w.t.Fatal(err)
	}
}
