//go:build kafka

package ingest

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/apachekafka"
)

// startSecured starts a broker of Apache Kafka that wants certificates of a CA, and
// passwords, and that allows nobody more than it is told to.
func startSecured(t *testing.T, ca *tlstest.CA, password string) *apachekafka.Cluster {
	t.Helper()
	jars, err := apachekafka.FindJars(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	own := tlstest.NewFiles(t)
	cert := ca.Issue(t, "broker")
	own.Write(t, ca, cert)
	// Kafka wants a key and its certificate in one file.
	key, err := os.ReadFile(own.Key)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})
	store := filepath.Join(t.TempDir(), "keystore.pem")
	if err := os.WriteFile(store, append(key, chain...), 0o600); err != nil {
		t.Fatal(err)
	}
	const security = "org.apache.kafka.common.security."
	cluster, err := apachekafka.Start(t.Context(), apachekafka.Config{
		Jars: jars, Dir: t.TempDir(), Secured: true,
		Scram: []string{"SCRAM-SHA-256=[name=projector,password=" + password + "]", "SCRAM-SHA-512=[name=projector,password=" + password + "]"},
		Settings: map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": store,
			"ssl.truststore.type": "PEM", "ssl.truststore.location": own.CA,
			"listener.name.sasl_ssl.ssl.client.auth":                "required", // without the name of the listener it is not about those with SASL
			"sasl.enabled.mechanisms":                               strings.Join(saslMechanisms, ","),
			"listener.name.sasl_ssl.plain.sasl.jaas.config":         security + "plain.PlainLoginModule required user_projector=\"" + password + "\";",
			"listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": security + "scram.ScramLoginModule required;",
			"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": security + "scram.ScramLoginModule required;",
			"authorizer.class.name":                                 "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":                                           "User:ANONYMOUS", // who comes without TLS
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Kill)
	return cluster
}

// allow allows the projector operations on topics, and on its group, and waits until the
// broker knows, to which the controller tells it later.
func (h *harness) allow(topics []string, groups []string, operations ...kafka.ACLOperationType) {
	h.Helper()
	request := &kafka.CreateACLsRequest{}
	add := func(resource kafka.ResourceType, names []string) {
		for _, name := range names {
			for _, operation := range operations {
				request.ACLs = append(request.ACLs, kafka.ACLEntry{
					ResourceType: resource, ResourceName: name, ResourcePatternType: kafka.PatternTypeLiteral,
					Principal: "User:projector", Host: "*", Operation: operation, PermissionType: kafka.ACLPermissionTypeAllow,
				})
			}
		}
	}
	add(kafka.ResourceTypeTopic, topics)
	add(kafka.ResourceTypeGroup, groups)
	response, err := h.client.CreateACLs(h.ctx, request)
	if err != nil {
		h.Fatal(err)
	}
	if err := errors.Join(response.Errors...); err != nil {
		h.Fatal(err)
	}
	for _, acl := range request.ACLs {
		h.poll(func() bool {
			known, err := h.client.DescribeACLs(h.ctx, &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{
				ResourceTypeFilter: acl.ResourceType, ResourceNameFilter: acl.ResourceName, ResourcePatternTypeFilter: acl.ResourcePatternType,
				PrincipalFilter: acl.Principal, HostFilter: acl.Host, Operation: acl.Operation, PermissionType: acl.PermissionType,
			}})
			return err == nil && len(known.Resources) > 0
		}, "%+v", acl)
	}
}

// Apache Kafka, too, is read and written by TLS with a certificate of our own and a
// password, whichever mechanism it is told by, and with the least permissions.
func TestApache_Secured(t *testing.T) {
	const password = "correct-horse"
	ca := tlstest.NewCA(t)
	files := tlstest.NewFiles(t)
	files.Write(t, ca, ca.Issue(t, "projector"))
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cluster := startSecured(t, ca, password)
	for _, mechanism := range saslMechanisms {
		t.Run(mechanism, func(t *testing.T) {
			nameAnew()
			h := makeHarness(t, 2, cluster.Addrs(), createAt(t, cluster))
			config := h.config()
			config.Brokers = cluster.SecuredAddrs()
			config.Dialer = &lifecycle.TLS{Enabled: true, CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key}
			config.SASL = SASL{mechanism, &lifecycle.Account{Username: "projector", PasswordFile: secret}}

			h.refused(config, "Topic Authorization Failed")
			sources := []string{messagesTopic, stateTopic}
			h.allow(sources, []string{group}, kafka.ACLOperationTypeRead)
			h.allow([]string{deadTopic}, nil, kafka.ACLOperationTypeWrite)
			h.allow(append(sources, deadTopic), nil, kafka.ACLOperationTypeDescribeConfigs)
			r := h.runWith(config, h.sink, strict())
			h.produce(messagesTopic, 0, h.messages(5)...)
			h.produce(messagesTopic, 1, bad("k", "nonsense"))
			h.produce(stateTopic, 1, h.custom("ann"))
			h.awaitAll()
			r.mustStop()

			// What was refused is sent again, which takes more.
			var outcomes []Outcome
			impatient := config
			impatient.StallTimeout = time.Second
			if _, err := h.redriving(impatient, &outcomes).Run(h.ctx); err == nil {
				t.Error("dead letters were read by who may only write them")
			}
			h.allow([]string{deadTopic}, nil, kafka.ACLOperationTypeRead)
			h.allow(sources, nil, kafka.ACLOperationTypeWrite)
			if _, err := h.redriving(config, &outcomes).Run(h.ctx); err != nil {
				t.Error(err)
			}
			if n := len(h.read(deadTopic, 2)); n < 2 || len(outcomes) != n {
				t.Errorf("of %d dead letters, %d were read", n, len(outcomes))
			}
			r = h.run(config, h.sink)
			h.awaitAll()
			r.mustStop()
			h.checkModel()

			wrong := config
			wrong.SASL.Account = &lifecycle.Account{Username: "projector", Password: "incorrect-horse"}
			h.refused(wrong, "SASL Authentication failed")
			nobody := config
			nobody.Dialer = &lifecycle.TLS{Enabled: true, CAFile: files.CA} // no certificate of its own
			h.refused(nobody, "certificate")
			stranger := tlstest.NewFiles(t)
			stranger.Write(t, tlstest.NewCA(t), ca.Issue(t, "projector"))
			trusting := config
			trusting.Dialer = &lifecycle.TLS{Enabled: true, CAFile: stranger.CA, CertFile: files.Cert, KeyFile: files.Key}
			h.refused(trusting, x509.UnknownAuthorityError{}.Error())
		})
	}
}

// createAt creates topics at a cluster.
func createAt(t *testing.T, cluster *apachekafka.Cluster) func(sandbox.Topic) error {
	client := &kafka.Client{Addr: kafka.TCP(cluster.Addrs()...)}
	return func(topic sandbox.Topic) error {
		config := kafka.TopicConfig{Topic: topic.Name, NumPartitions: topic.Partitions, ReplicationFactor: 1}
		for name, value := range topic.Config {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		response, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
		if err == nil {
			err = response.Errors[topic.Name]
		}
		if err != nil {
			return fmt.Errorf("create topic %s: %w", topic.Name, err)
		}
		return nil
	}
}
