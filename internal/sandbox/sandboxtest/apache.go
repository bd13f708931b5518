//go:build kafka

package sandboxtest

import "github.com/convoview/convoview/internal/sandbox"

// Kafka is the kind of Kafka that tests get.
const Kafka = sandbox.ApacheKafka
