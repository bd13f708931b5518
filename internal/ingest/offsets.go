package ingest

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// Offsets tells how far projectors are, from outside.
type Offsets struct{ cluster *cluster }

// NewOffsets makes one that reads nothing but offsets.
func NewOffsets(c Config) (*Offsets, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Offsets{newCluster(c)}, nil
}

// Close closes the connections.
func (o *Offsets) Close() { o.cluster.close() }

// Behind gives the partitions of which the group has not committed everything before
// the given offsets.
func (o *Offsets) Behind(ctx context.Context, before map[events.Partition]int64) ([]events.Partition, error) {
	ids, err := o.partitions(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.cluster.config.RequestTimeout)
	defer cancel()
	res, err := o.cluster.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: o.cluster.config.GroupID, Topics: ids})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("ask for the offsets of group %s: %w", o.cluster.config.GroupID, err)
	}
	var behind []events.Partition
	for topic, list := range res.Topics {
		for _, at := range list {
			if at.Error != nil {
				return nil, fmt.Errorf("ask for the offset of %s/%d: %w", topic, at.Partition, at.Error)
			}
			p := events.Partition{Topic: topic, ID: at.Partition}
			if max(0, at.CommittedOffset) < before[p] {
				behind = append(behind, p)
			}
		}
	}
	return behind, nil
}

// Ends gives the offset after the last record of each partition.
func (o *Offsets) Ends(ctx context.Context) (map[events.Partition]int64, error) {
	ids, err := o.partitions(ctx)
	if err != nil {
		return nil, err
	}
	found, err := o.cluster.ends(ctx, ids)
	if err != nil {
		return nil, err
	}
	ends := map[events.Partition]int64{}
	for topic, list := range ids {
		for _, id := range list {
			end, known := found[topic][id]
			if !known {
				return nil, fmt.Errorf("ask for the end of %s/%d: there is no answer", topic, id)
			}
			ends[events.Partition{Topic: topic, ID: id}] = end
		}
	}
	return ends, nil
}

// partitions gives the IDs of the partitions of each topic.
func (o *Offsets) partitions(ctx context.Context) (map[string][]int, error) {
	topics, err := o.cluster.topics(ctx, o.cluster.config.Topics...)
	if err != nil {
		return nil, err
	}
	ids := map[string][]int{}
	for _, name := range o.cluster.config.Topics {
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
