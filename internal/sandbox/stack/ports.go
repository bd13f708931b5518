package stack

import (
	"context"
	"fmt"
	"net"
	"strconv"
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
	var p Ports
	for _, port := range []*int{&p.Kafka, &p.NATS, &p.ClickHouse, &p.HTTP, &p.ProjectorAdmin, &p.QueryAdmin} {
		// Held until all are found, so that they differ.
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", local(0))
		if err != nil {
			return Ports{}, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// KafkaAddr is the host and port of the Kafka broker.
func (p Ports) KafkaAddr() string { return local(p.Kafka) }

// NATSURL is the URL of the NATS server.
func (p Ports) NATSURL() string { return "nats://" + local(p.NATS) }

// ClickHouseAddr is the host and port of ClickHouse's native protocol.
func (p Ports) ClickHouseAddr() string { return local(p.ClickHouse) }

// ProjectorAdminAddr is the host and port of the projector's admin server.
func (p Ports) ProjectorAdminAddr() string { return local(p.ProjectorAdmin) }

// QueryAdminAddr is the host and port of the query worker's admin server.
func (p Ports) QueryAdminAddr() string { return local(p.QueryAdmin) }

// environment is what all commands of the stack need to find each other.
func (p Ports) environment() []string {
	return []string{
		"CONVOVIEW_KAFKA_BROKERS=" + p.KafkaAddr(),
		"CONVOVIEW_NATS_URL=" + p.NATSURL(),
		"CONVOVIEW_CLICKHOUSE_ADDRESSES=" + p.ClickHouseAddr(),
		"CONVOVIEW_LOG_FORMAT=text",
	}
}
