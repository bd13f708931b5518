package ingest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
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
	dial := new(net.Dialer).DialContext
	if config.Dialer != nil {
		dial = config.Dialer.Dial
	}
	mechanism := config.SASL.Client()
	dialer := &kafka.Dialer{
		ClientID: config.ClientID, Timeout: config.DialTimeout, SASLMechanism: mechanism,
		DialFunc: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return impatient{modest{conn}, config.RequestTimeout}, nil
		},
	}
	transport := &kafka.Transport{
		ClientID:    config.ClientID,
		DialTimeout: config.DialTimeout,
		Dial:        dial,
		SASL:        mechanism,
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

// oneOfThem stands, for a consumer group, for one of the brokers that are asked first.
const oneOfThem = "one-of-the-brokers:0"

// forGroup gives what a consumer group connects with, and to. kafka-go asks the first broker
// that it can connect to, again and again, even if that one never answers. So each connection
// is to the next one in turn.
func (c *cluster) forGroup() (dialer kafka.Dialer, brokers []string) {
	var turn atomic.Uint64
	dialer = *c.dialer
	dialer.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == oneOfThem {
			address = c.config.Brokers[(turn.Add(1)-1)%uint64(len(c.config.Brokers))]
		}
		return c.dialer.DialFunc(ctx, network, address)
	}
	return dialer, slices.Repeat([]string{oneOfThem}, len(c.config.Brokers))
}

// topics gives topics with their partitions, as of the last
// MetadataInterval. A missing one has an error.
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

// impatient is a connection on which nothing waits longer than a request may take, unless it
// is told how long. A kafka.Conn tells it no time while it authenticates.
type impatient struct {
	net.Conn
	timeout time.Duration
}

func (c impatient) SetReadDeadline(t time.Time) error { return c.Conn.SetReadDeadline(c.bound(t)) }

func (c impatient) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.bound(t)) }

func (c impatient) bound(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now().Add(c.timeout)
	}
	return t
}

// metadataKey is what the protocol calls a request for metadata.
const metadataKey = 3

// modest is a connection on which no request has a broker create missing topics. The metadata
// requests of a kafka.Conn would.
type modest struct{ net.Conn }

// Write takes that word out, the last byte of such a request. kafka-go flushes requests one
// by one, and those with the names of some topics fit into its buffer.
func (c modest) Write(p []byte) (int, error) {
	if len(p) > 12 && int(binary.BigEndian.Uint32(p)) == len(p)-4 && binary.BigEndian.Uint16(p[4:]) == metadataKey {
		if version := binary.BigEndian.Uint16(p[6:]); version >= 4 && version <= 7 { // kafka-go writes 6, and 1 to brokers before 2.0
			p = bytes.Clone(p)
			p[len(p)-1] = 0
		}
	}
	return c.Conn.Write(p)
}

// dialLeader connects to the leader of a partition, through a tap. The end of ctx interrupts
// it at any step.
func (c *cluster) dialLeader(ctx context.Context, of events.Partition) (*kafka.Conn, *tap, error) {
	topics, err := c.topics(ctx, of.Topic)
	if err != nil {
		return nil, nil, err
	}
	t := topics[of.Topic]
	if t.Error != nil {
		return nil, nil, fmt.Errorf("find topic %s: %w", of.Topic, t.Error)
	}
	i := slices.IndexFunc(t.Partitions, func(p kafka.Partition) bool { return p.ID == of.ID })
	if i < 0 {
		return nil, nil, fmt.Errorf("find partition %v: %w", of, kafka.UnknownTopicOrPartition)
	}
	if p := t.Partitions[i]; p.Error != nil || p.Leader.Host == "" {
		return nil, nil, fmt.Errorf("find the leader of %v: %w", of, kafka.LeaderNotAvailable)
	}
	dialer, under, stop := *c.dialer, &tap{}, func() bool { return true }
	dialer.DialFunc = func(dialing context.Context, network, address string) (conn net.Conn, err error) {
		if under.Conn, err = c.dialer.DialFunc(dialing, network, address); err == nil {
			stop = context.AfterFunc(ctx, func() { _ = under.Close() })
		}
		return under, err
	}
	conn, err := dialer.DialPartition(ctx, "tcp", "", t.Partitions[i])
	stop()
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the leader of %v: %w", of, err)
	}
	return conn, under, nil
}

// partitions gives the IDs of the partitions of each topic; each must exist.
func (c *cluster) partitions(ctx context.Context, names ...string) (map[string][]int, error) {
	topics, err := c.topics(ctx, names...)
	if err != nil {
		return nil, err
	}
	ids := map[string][]int{}
	for _, name := range names {
		t := topics[name]
		if t.Error != nil {
			return nil, fmt.Errorf("find topic %s: %w", name, t.Error)
		}
		for _, p := range t.Partitions {
			ids[name] = append(ids[name], p.ID)
		}
	}
	return ids, nil
}

// question is how brokers are asked for an offset of a partition, and what they answer.
type question struct {
	request func(id int) kafka.OffsetRequest
	answer  func(kafka.PartitionOffsets) int64
}

var (
	// firstOffset is that of the first record; of an empty partition, its end.
	firstOffset = question{kafka.FirstOffsetOf, func(o kafka.PartitionOffsets) int64 { return o.FirstOffset }}
	// lastOffset is the one after the last record, the high-water mark.
	lastOffset = question{kafka.LastOffsetOf, func(o kafka.PartitionOffsets) int64 { return o.LastOffset }}
)

// offsetSince is the offset of the first record that is no older than t; -1 if all are older.
func offsetSince(t time.Time) question {
	at := max(0, t.UnixMilli()) // brokers take negative ones for something else
	return question{
		func(id int) kafka.OffsetRequest { return kafka.OffsetRequest{Partition: id, Timestamp: at} },
		func(o kafka.PartitionOffsets) int64 {
			for offset := range o.Offsets {
				return offset
			}
			return -1
		},
	}
}

// ask asks for an offset of each partition of topics; there must be an answer for each.
func (c *cluster) ask(ctx context.Context, q question, topics ...string) (map[events.Partition]int64, error) {
	ids, err := c.partitions(ctx, topics...)
	if err != nil {
		return nil, err
	}
	found, err := c.offsets(ctx, ids, q)
	if err != nil {
		return nil, err
	}
	all := map[events.Partition]int64{}
	for topic, list := range ids {
		for _, id := range list {
			p := events.Partition{Topic: topic, ID: id}
			offset, known := found[topic][id]
			if !known {
				return nil, fmt.Errorf("ask for an offset of %v: there is no answer", p)
			}
			all[p] = offset
		}
	}
	return all, nil
}

// ends gives the high-water marks of partitions.
func (c *cluster) ends(ctx context.Context, partitions map[string][]int) (map[string]map[int]int64, error) {
	return c.offsets(ctx, partitions, lastOffset)
}

// offsets asks for an offset of each partition. Those that brokers do not know are left out.
func (c *cluster) offsets(ctx context.Context, partitions map[string][]int, q question) (map[string]map[int]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	req := &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{}}
	for topic, ids := range partitions {
		for _, id := range ids {
			req.Topics[topic] = append(req.Topics[topic], q.request(id))
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
				found[topic][o.Partition] = q.answer(o)
			}
		}
	}
	return found, nil
}

// produce writes records to a partition, on all its replicas. A record can be sent once. They
// are compressed: max.message.bytes is about what is on the wire, so what one topic has taken
// compressed another one would not take as it is.
func (c *cluster) produce(ctx context.Context, to events.Partition, records []kafka.Record) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	res, err := c.client.Produce(ctx, &kafka.ProduceRequest{
		Topic:        to.Topic,
		Partition:    to.ID,
		RequiredAcks: kafka.RequireAll,
		Compression:  kafka.Zstd,
		Records:      kafka.NewRecordReader(records...),
	})
	if err != nil {
		return err
	}
	return res.Error
}
