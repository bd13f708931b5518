package ingest

import (
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
)

// Whether dead letters fit cannot be checked where settings are secret.
func TestConsumer_WarnsWhenSettingsMayNotBeRead(t *testing.T) {
	h := newEmbedded(t, 1)
	h.hideSettings()
	r := h.run(h.config(), h.sink)
	line := h.logs.await(h, "not allowed to read the settings of topics: cannot check that dead letters fit", 1)
	if line["level"] != "WARN" {
		t.Errorf("log line %v", line)
	}
	h.produce(messagesTopic, 0, h.message())
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// hideSettings has the brokers tell nobody how topics are set.
func (h *embedded) hideSettings() {
	h.cluster.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		response := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, resource := range r.(*kmsg.DescribeConfigsRequest).Resources {
			refused := kmsg.NewDescribeConfigsResponseResource()
			refused.ResourceType, refused.ResourceName = resource.ResourceType, resource.ResourceName
			refused.ErrorCode = kerr.TopicAuthorizationFailed.Code
			response.Resources = append(response.Resources, refused)
		}
		return response, nil, true
	})
}

// Whoever asks what topics keep can tell that from Kafka being away.
func TestOffsets_KeepingMayBeForbidden(t *testing.T) {
	h := newEmbedded(t, 1)
	offsets, err := NewOffsets(h.config())
	if err != nil {
		t.Fatal(err)
	}
	defer offsets.Close()
	if _, err := offsets.Keeping(h.ctx); err != nil {
		t.Error(err)
	}
	h.hideSettings()
	if _, err := offsets.Keeping(h.ctx); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// Where the producers' times are the topic's, a clock that is ahead bounds nothing.
func TestFetch_ProducersTimeAhead(t *testing.T) {
	h := newHarness(t, 0)
	h.createTopic(messagesTopic, 1, map[string]string{settingTimestampType: "CreateTime"})
	h.createTopic(stateTopic, 1, nil)
	h.createTopic(deadTopic, 2, nil)
	ahead := time.Now().Add(30 * time.Minute)
	e := events.Event{ID: "e", App: "demo", Time: events.MicrosOf(ahead), Body: &events.UserErased{UserID: "u"}}
	value, err := events.AppendJSON(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	record := bad("k", string(value))
	record.Time = ahead
	h.want.Fold(e)
	h.produceWith(h.franz(), messagesTopic, record)
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// A dead letter carries the time at which it was written, not its record's.
func TestDeadLetter_HasTheTimeOfTheCopy(t *testing.T) {
	h := newHarness(t, 1)
	before := time.Now().Truncate(time.Millisecond)
	record := bad("k", "{")
	record.Time = before.Add(-48 * time.Hour)
	h.produceWith(h.franz(), messagesTopic, record)
	r := h.run(h.config(), h.sink)
	h.awaitAll()
	letters := h.read(deadTopic, 2)
	if len(letters) != 1 || letters[0].Time.Before(before) || letters[0].Time.After(time.Now()) {
		t.Errorf("dead letters %v, want one of between %v and now", letters, before)
	}
	r.mustStop()
}
