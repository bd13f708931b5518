package ingest

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// The mechanisms of SASL, as brokers name them.
const (
	SASLPlain       = "PLAIN"
	SASLScramSHA256 = "SCRAM-SHA-256"
	SASLScramSHA512 = "SCRAM-SHA-512"
)

var saslMechanisms = []string{SASLPlain, SASLScramSHA256, SASLScramSHA512}

// SASL is how we tell brokers who we are. PLAIN sends them the password, so it wants TLS.
type SASL struct {
	// Mechanism is one of the above; "": we tell nobody.
	Mechanism string
	// Account is who we are; it may be nil without a mechanism.
	Account Account
}

// Account says who we are.
type Account interface {
	// Credentials are for a connection that is made now.
	Credentials() (username, password string, err error)
	// Given reports whether it says anything.
	Given() bool
	// Validate reports what is wrong with its settings.
	Validate() error
}

// Validate reports what is wrong with the configuration.
func (s SASL) Validate() error {
	given := s.Account != nil && s.Account.Given()
	switch {
	case s.Mechanism == "" && !given:
		return nil
	case !slices.Contains(saslMechanisms, s.Mechanism):
		return fmt.Errorf("sasl mechanism %q: expected one of %s", s.Mechanism, strings.Join(saslMechanisms, ", "))
	case !given:
		return fmt.Errorf("sasl mechanism %s: expected a username and a password", s.Mechanism)
	}
	if err := s.Account.Validate(); err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	_, err := s.make()
	return err
}

// Client is what connections are made with, of valid settings; nil for none.
func (s SASL) Client() sasl.Mechanism {
	if s.Mechanism == "" {
		return nil
	}
	return s
}

// Name implements sasl.Mechanism.
func (s SASL) Name() string { return s.Mechanism }

// Start implements sasl.Mechanism. Each connection says who we are by then.
func (s SASL) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := s.make()
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

func (s SASL) make() (sasl.Mechanism, error) {
	username, password, err := s.Account.Credentials()
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	if username == "" || password == "" {
		return nil, fmt.Errorf("sasl username %q, and a password of %d bytes: expected both", username, len(password))
	}
	var m sasl.Mechanism
	switch s.Mechanism {
	case SASLPlain:
		m = plain.Mechanism{Username: username, Password: password}
	case SASLScramSHA256:
		m, err = scram.Mechanism(scram.SHA256, username, password)
	case SASLScramSHA512:
		m, err = scram.Mechanism(scram.SHA512, username, password)
	}
	if err != nil { // which has the password in it
		return nil, fmt.Errorf("sasl username %q, and a password of %d bytes: one of them has characters that SASLprep forbids, such as control characters", username, len(password))
	}
	return m, nil
}
