package ingest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
)

// cluster is our one way to the brokers: how connections are made is decided
// here and nowhere else.
type cluster struct {
	config    Config
	dialer    *kafka.Dialer
	transport *kafka.Transport
	client    *kafka.Client
}

func newCluster(config Config) *cluster {
	dialer := &kafka.Dialer{ClientID: config.ClientID, Timeout: config.DialTimeout, DualStack: true}
	transport := &kafka.Transport{
		ClientID:    config.ClientID,
		DialTimeout: config.DialTimeout,
		MetadataTTL: config.MetadataInterval,
		// Of a large cluster we need to know but these.
		MetadataTopics: config.allTopics(),
	}
	return &cluster{
		config:    config,
		dialer:    dialer,
		transport: transport,
		client:    &kafka.Client{Addr: kafka.TCP(config.Brokers...), Timeout: config.RequestTimeout, Transport: transport},
	}
}

func (c *cluster) close() { c.transport.CloseIdleConnections() }

// partitions gives the partitions of the topics, as of the last
// MetadataInterval. Unlike a metadata request on a kafka.Conn it never makes a
// broker create a missing topic; that one has an error instead.
func (c *cluster) topics(ctx context.Context, names ...string) (map[string]kafka.Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	res, err := c.client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("ask %s for topics: %w", strings.Join(c.config.Brokers, ","), err)
	}
	topics := map[string]kafka.Topic{}
	for _, t := range res.Topics {
		topics[t.Name] = t
	}
	return topics, nil
}

// dialLeader connects to the leader of a partition, through a tap.
func (c *cluster) dialLeader(ctx context.Context, topic string, id int) (*kafka.Conn, *tap, error) {
	topics, err := c.topics(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	t := topics[topic]
	if t.Error != nil {
		return nil, nil, fmt.Errorf("find topic %s: %w", topic, t.Error)
	}
	i := slices.IndexFunc(t.Partitions, func(p kafka.Partition) bool { return p.ID == id })
	if i < 0 {
		return nil, nil, fmt.Errorf("find partition %s/%d: %w", topic, id, kafka.UnknownTopicOrPartition)
	}
	if p := t.Partitions[i]; p.Error != nil || p.Leader.Host == "" {
		return nil, nil, fmt.Errorf("find the leader of %s/%d: %w", topic, id, kafka.LeaderNotAvailable)
	}
	dialer, under := *c.dialer, &tap{}
	dialer.TLS = nil // dial does it, or the tap would see ciphertext
	dialer.DialFunc = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		under.Conn, err = c.dial(ctx, network, address)
		return under, err
	}
	conn, err := dialer.DialPartition(ctx, "tcp", "", t.Partitions[i])
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the leader of %s/%d: %w", topic, id, err)
	}
	return conn, under, nil
}

func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if c.dialer.TLS == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	return (&tls.Dialer{Config: c.dialer.TLS}).DialContext(ctx, network, address)
}

// ends gives the high-water marks of partitions.
func (c *cluster) ends(ctx context.Context, partitions map[string][]int) (map[string]map[int]int64, error) {
	return c.offsets(ctx, partitions, kafka.LastOffsetOf, func(o kafka.PartitionOffsets) int64 { return o.LastOffset })
}

// offsets asks for an offset of each partition.
func (c *cluster) offsets(
	ctx context.Context, partitions map[string][]int, which func(id int) kafka.OffsetRequest, of func(kafka.PartitionOffsets) int64,
) (map[string]map[int]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	req := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for topic, ids := range partitions {
		for _, id := range ids {
			req.Topics[topic] = append(req.Topics[topic], which(id))
		}
	}
	res, err := c.client.ListOffsets(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ask for the offsets of partitions: %w", err)
	}
	found := map[string]map[int]int64{}
	for topic, offsets := range res.Topics {
		found[topic] = map[int]int64{}
		for _, o := range offsets {
			if o.Error == nil {
				found[topic][o.Partition] = of(o)
			}
		}
	}
	return found, nil
}
