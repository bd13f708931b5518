package ingest

import (
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

func TestConfig_Validate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is invalid: %v", err)
	}
	c := DefaultConfig()
	c.Brokers, c.GroupID, c.DeadTopic = []string{"kafka:9092", "kafka"}, "", c.Topics[0]
	c.MaxBatchBytes, c.StopTimeout, c.HeartbeatInterval = 0, 0, 5*time.Second
	c.StartAt = map[events.Partition]int64{{Topic: "t", ID: 3}: -1}
	err := c.Validate()
	for _, want := range []string{`kafka brokers "kafka": expected host:port (--kafka-brokers)`, "kafka group", "chat.messages", "max batch bytes 0", "stop timeout 0s", "offset -1 to start t/3", "kafka heartbeat interval 5s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
	c = DefaultConfig()
	c.Brokers = nil
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "kafka brokers are missing: expected host:port (--kafka-brokers)") {
		t.Errorf("no brokers: got %v", err)
	}
}

// The pod's grace period is 30 s: see deploy/k8s.
func TestDefaultConfig_StopsWithinTheGracePeriod(t *testing.T) {
	const gracePeriod = 30 * time.Second
	if c := DefaultConfig(); c.StopTimeout >= gracePeriod {
		t.Errorf("stop timeout %v, want below %v", c.StopTimeout, gracePeriod)
	}
}
