//go:build kafka

package ingest

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/sandbox"
)

// threeBrokers is their number, and how many replicas partitions have.
const threeBrokers = 3

// Brokers of three go, and come again, while events flow. A majority is always there, so
// nothing waits for one of them, nothing is lost, and nothing is doubled.
func TestApache_ThreeBrokers(t *testing.T) {
	box := sandbox.New(sandbox.Config{Parts: sandbox.Kafka, Kafka: sandbox.ApacheKafka, KafkaBrokers: threeBrokers})
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range []struct {
		name string
		// away has some broker go, and gives it.
		away func(h *harness) int
		// times is how often.
		times int
	}{
		{"rolling restart", func() func(*harness) int {
			id := 0
			return func(h *harness) int {
				h.Helper()
				id++
				if err := box.Apache().StopBroker(id); err != nil {
					h.Fatal(err)
				}
				return id
			}
		}(), threeBrokers},
		{"coordinator killed", func(h *harness) int {
			h.Helper()
			id := h.coordinator()
			box.Apache().KillBroker(id)
			return id
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarnessOf(t, box, threeBrokers)
			config := h.config()
			config.SessionTimeout = 2 * time.Second // for which the group waits for those who had to find another coordinator
			one, two := h.run(config, h.sink), h.run(config, h.sink)
			h.awaitMembers(2, 2*threeBrokers)
			f := h.startFlow(threeBrokers)
			h.sink.await(h, 50)
			for range c.times {
				id := c.away(h)
				// They are read, written and committed while it is away.
				h.awaitMoreCommits(100)
				if err := box.Apache().StartBroker(h.ctx, id); err != nil {
					t.Fatal(err)
				}
				h.awaitReplicas()
			}
			sent := f.end()
			h.awaitAll()
			h.checkModel()
			h.checkOnce(one, sent)
			h.checkOnce(two, sent)
			if n := testutil.ToFloat64(one.metrics.stalls.WithLabelValues(messagesTopic)) + testutil.ToFloat64(two.metrics.stalls.WithLabelValues(messagesTopic)); n > 0 {
				t.Errorf("%v stalls", n)
			}
			one.mustStop()
			two.mustStop()
		})
	}
}

// coordinator is the broker that coordinates the group.
func (h *harness) coordinator() (id int) {
	h.Helper()
	h.poll(func() bool {
		res, err := h.client.FindCoordinator(h.ctx, &kafka.FindCoordinatorRequest{Key: group, KeyType: kafka.CoordinatorKeyTypeConsumer})
		if err != nil || res.Error != nil {
			return false
		}
		id = res.Coordinator.NodeID
		return id > 0
	}, "the group's coordinator")
	return id
}

// awaitMoreCommits waits until so many more records are committed than are now.
func (h *harness) awaitMoreCommits(n int64) {
	h.Helper()
	first, now := int64(-1), int64(0)
	var err error
	h.poll(func() bool {
		var offsets map[string]int64
		if offsets, err = h.committed(); err != nil {
			return false // while the coordinator moves
		}
		now = 0
		for _, offset := range offsets {
			now += offset
		}
		if first < 0 {
			first = now
		}
		return now >= first+n
	}, "%d commits more than %v; there are %v, %v", n, lazy(func() any { return first }), lazy(func() any { return now }), lazy(func() any { return err }))
}

// awaitReplicas waits until no partition lacks a replica.
func (h *harness) awaitReplicas() {
	h.Helper()
	var lacking string
	h.poll(func() bool {
		res, err := h.client.Metadata(h.ctx, &kafka.MetadataRequest{})
		if err != nil {
			lacking = err.Error()
			return false
		}
		for _, topic := range res.Topics {
			for _, p := range topic.Partitions {
				if len(p.Isr) < threeBrokers {
					lacking = fmt.Sprintf("%s/%d has replicas in sync %v", topic.Name, p.ID, p.Isr)
					return false
				}
			}
		}
		return true
	}, "all replicas: %v", lazy(func() any { return lacking }))
}
