package stack

import (
	"context"

	"github.com/convoview/convoview/internal/sandbox/ports"
)

// Ports are those that a stack listens on, on 127.0.0.1.
type Ports struct {
	Kafka, NATS, ClickHouse, HTTP, ProjectorAdmin, QueryAdmin int
}

// UsualPorts are those that the servers themselves use.
func UsualPorts() Ports {
	return Ports{Kafka: 9092, NATS: 4222, ClickHouse: 9000, HTTP: 8123, ProjectorAdmin: 8080, QueryAdmin: 8081}
}

// FreePorts finds ports that nobody listens on.
func FreePorts(ctx context.Context) (Ports, error) {
	found, err := ports.Find(ctx, 6)
	if err != nil {
		return Ports{}, err
	}
	return Ports{Kafka: found[0], NATS: found[1], ClickHouse: found[2], HTTP: found[3], ProjectorAdmin: found[4], QueryAdmin: found[5]}, nil
}

// KafkaAddr is the host and port of the Kafka broker.
func (p Ports) KafkaAddr() string { return ports.Local(p.Kafka) }

// NATSURL is the URL of the NATS server.
func (p Ports) NATSURL() string { return "nats://" + ports.Local(p.NATS) }

// ClickHouseAddr is the host and port of ClickHouse's native protocol.
func (p Ports) ClickHouseAddr() string { return ports.Local(p.ClickHouse) }

// ProjectorAdminAddr is the host and port of the projector's admin server.
func (p Ports) ProjectorAdminAddr() string { return ports.Local(p.ProjectorAdmin) }

// QueryAdminAddr is the host and port of the query worker's admin server.
func (p Ports) QueryAdminAddr() string { return ports.Local(p.QueryAdmin) }

// environment is what all commands of the stack need to find each other.
func (p Ports) environment() []string {
	return []string{
		"CONVOVIEW_KAFKA_BROKERS=" + p.KafkaAddr(),
		"CONVOVIEW_NATS_URL=" + p.NATSURL(),
		"CONVOVIEW_CLICKHOUSE_ADDRESSES=" + p.ClickHouseAddr(),
		"CONVOVIEW_LOG_FORMAT=text",
	}
}
