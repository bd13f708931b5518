package ingest

import (
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
	Mechanism          string
	Username, Password string
}

// Validate reports what is wrong with the configuration.
func (s SASL) Validate() error {
	switch {
	case s == (SASL{}):
		return nil
	case !slices.Contains(saslMechanisms, s.Mechanism):
		return fmt.Errorf("sasl mechanism %q: want one of %s", s.Mechanism, strings.Join(saslMechanisms, ", "))
	case s.Username == "" || s.Password == "":
		return fmt.Errorf("sasl username %q, and a password of %d bytes: want both", s.Username, len(s.Password))
	}
	_, err := s.make()
	return err
}

// mechanism is that of valid settings; nil for none.
func (s SASL) mechanism() sasl.Mechanism {
	m, _ := s.make()
	return m
}

func (s SASL) make() (m sasl.Mechanism, err error) {
	switch s.Mechanism {
	case SASLPlain:
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	case SASLScramSHA256:
		m, err = scram.Mechanism(scram.SHA256, s.Username, s.Password)
	case SASLScramSHA512:
		m, err = scram.Mechanism(scram.SHA512, s.Username, s.Password)
	}
	if err != nil { // names and passwords that SASLprep forbids
		return nil, fmt.Errorf("sasl username %q, and a password of %d bytes: %w", s.Username, len(s.Password), err)
	}
	return m, nil
}
