package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/pause"
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
	committed, err := o.Committed(ctx)
	if err != nil {
		return nil, err
	}
	var behind []events.Partition
	for p, offset := range before {
		if committed[p] < offset && offset > 0 {
			behind = append(behind, p)
		}
	}
	return behind, nil
}

// Committed gives the offsets that the group has committed; less than 0, or none, where
// it has not yet.
func (o *Offsets) Committed(ctx context.Context) (map[events.Partition]int64, error) {
	ids, err := o.cluster.partitions(ctx, o.cluster.config.Topics...)
	if err != nil {
		return nil, err
	}
	var res *kafka.OffsetFetchResponse
	err = o.askCoordinator(ctx, func(ctx context.Context) (err error) {
		res, err = o.cluster.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: o.cluster.config.GroupID, Topics: ids})
		if err == nil && !errors.Is(res.Error, kafka.GroupIdNotFound) { // which is one that has committed nothing
			err = res.Error
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the offsets of group %s: %w", o.cluster.config.GroupID, err)
	}
	committed := map[events.Partition]int64{}
	for topic, list := range res.Topics {
		for _, at := range list {
			if at.Error != nil {
				return nil, fmt.Errorf("ask for the offset of %s/%d: %w", topic, at.Partition, at.Error)
			}
			committed[events.Partition{Topic: topic, ID: at.Partition}] = at.CommittedOffset
		}
	}
	return committed, nil
}

// Ends gives the offset after the last record of each partition.
func (o *Offsets) Ends(ctx context.Context) (map[events.Partition]int64, error) {
	return o.cluster.ask(ctx, lastOffset, o.cluster.config.Topics...)
}

// Starts gives the offset of the first record of each partition; of an empty one, its end.
func (o *Offsets) Starts(ctx context.Context) (map[events.Partition]int64, error) {
	return o.cluster.ask(ctx, firstOffset, o.cluster.config.Topics...)
}

// Since gives the offset of the first record of each partition that is no older than
// a time, as the brokers see it; -1 if all are older.
func (o *Offsets) Since(ctx context.Context, t time.Time) (map[events.Partition]int64, error) {
	return o.cluster.ask(ctx, offsetSince(t), o.cluster.config.Topics...)
}

// Member is somebody in a consumer group.
type Member struct {
	// Process is another one for each Consumer and stays the same, whatever the
	// coordinator calls it; "" of an older version, and while the group is not settled.
	Process      string
	Client, Host string
}

func (m Member) String() string { return m.Client + " at " + m.Host }

// Group is who is in a consumer group.
type Group struct {
	// Settled says that all are in the same generation, and nobody comes or goes.
	Settled bool
	Members []Member
}

// Group tells who is in the group.
func (o *Offsets) Group(ctx context.Context) (Group, error) {
	id := o.cluster.config.GroupID
	var res *kafka.DescribeGroupsResponse
	err := o.askCoordinator(ctx, func(ctx context.Context) (err error) {
		res, err = o.cluster.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{id}})
		if err == nil && len(res.Groups) > 0 && !errors.Is(res.Groups[0].Error, kafka.GroupIdNotFound) {
			err = res.Groups[0].Error
		}
		return err
	})
	if err != nil {
		return Group{}, fmt.Errorf("ask who is in group %s: %w", id, err)
	}
	var group Group
	for _, g := range res.Groups { // there is one
		group.Settled = g.GroupState == stateStable
		for _, m := range g.Members {
			group.Members = append(group.Members, Member{processOf(m.MemberMetadata.UserData), m.ClientID, m.ClientHost})
		}
	}
	return group, nil
}

// stateStable is what Kafka calls a group that is settled. Only then it gives away
// what members have said of themselves.
const stateStable = "Stable"

// Partitions gives the partitions of the topics.
func (o *Offsets) Partitions(ctx context.Context) ([]events.Partition, error) {
	ids, err := o.cluster.partitions(ctx, o.cluster.config.Topics...)
	if err != nil {
		return nil, err
	}
	var list []events.Partition
	for topic, of := range ids {
		for _, id := range of {
			list = append(list, events.Partition{Topic: topic, ID: id})
		}
	}
	return list, nil
}

// Forget deletes the group, which nobody is in, and its offsets.
func (o *Offsets) Forget(ctx context.Context) error {
	group := o.cluster.config.GroupID
	err := o.askCoordinator(ctx, func(ctx context.Context) error {
		res, err := o.cluster.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return err
		}
		return res.Errors[group]
	})
	if err != nil && !errors.Is(err, kafka.GroupIdNotFound) {
		return fmt.Errorf("delete group %s: %w", group, err)
	}
	return nil
}

// askCoordinator asks the group's coordinator, again while the group has none that is
// ready, for as long as a request may take.
func (o *Offsets) askCoordinator(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, o.cluster.config.RequestTimeout)
	defer cancel()
	waits := newBackoff(o.cluster.config)
	for {
		err := ask(ctx)
		if err == nil || !coordinatorMoves(err) || pause.For(ctx, waits.NextBackOff()) != nil {
			return err
		}
	}
}

// Keeping is what a topic keeps.
type Keeping struct {
	// Compacted: of records with one key perhaps only the last one.
	Compacted bool
	// Retention is for how long it keeps records; 0: for ever.
	Retention time.Duration
}

// ErrForbidden says that brokers do not allow something.
var ErrForbidden = errors.New("not allowed")

// Keeping gives what each topic keeps, as it is set now. Its error is ErrForbidden when
// the settings of topics may not be read.
func (o *Offsets) Keeping(ctx context.Context) (map[string]Keeping, error) {
	settings, err := o.cluster.settings(ctx, o.cluster.config.Topics, settingCleanupPolicy, settingRetention)
	if judge(err) == forbidden {
		return nil, fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	if err != nil {
		return nil, err
	}
	all := map[string]Keeping{}
	for topic, of := range settings {
		k := Keeping{Compacted: strings.Contains(of[settingCleanupPolicy], "compact")}
		if strings.Contains(of[settingCleanupPolicy], "delete") {
			ms, err := strconv.ParseInt(of[settingRetention], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("read %s of topic %s: %w", settingRetention, topic, err)
			}
			if ms >= 0 && ms < int64(math.MaxInt64/time.Millisecond) {
				k.Retention = max(1, time.Duration(ms)*time.Millisecond)
			}
		}
		all[topic] = k
	}
	return all, nil
}
