package rebuild_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/rebuild"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// topics are those of a test: two partitions of messages and one of states, ten
// records in each.
type topics struct {
	messages, state string
	client          *kgo.Client
}

// newTopics makes topics whose first records in each partition are from long ago and
// whose other ones are of now.
func newTopics(t *testing.T, old int) *topics {
	t.Helper()
	return newTopicsAt(t, old, time.Now())
}

// newTopicsAt makes the same at another time than now.
func newTopicsAt(t *testing.T, old int, now time.Time) *topics {
	t.Helper()
	s := &topics{
		messages: sandboxtest.Topic(t, 2, "message.timestamp.type", "CreateTime"),
		// Nothing is deleted by request from a topic that is but compacted.
		state: sandboxtest.Topic(t, 1, "message.timestamp.type", "CreateTime", "cleanup.policy", "compact,delete", "retention.ms", "-1"),
	}
	var err error
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(sandboxtest.Start(t).KafkaAddr()), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	for i := range 10 {
		at := now
		if i < old {
			at = at.Add(-30 * 24 * time.Hour)
		}
		record := func(topic string, partition int32) *kgo.Record {
			return &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Append(nil, i), Value: []byte("{}"), Timestamp: at}
		}
		if err := s.client.ProduceSync(t.Context(), record(s.messages, 0), record(s.messages, 1), record(s.state, 0)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// forget deletes what is before an offset.
func (s *topics) forget(t *testing.T, topic string, partition int32, before int64) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	of := kmsg.NewDeleteRecordsRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, p)
	req.Topics = append(req.Topics, of)
	response, err := req.RequestWith(t.Context(), s.client)
	if err == nil {
		err = kerr.ErrorForCode(response.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("delete %s/%d before offset %d: %v", topic, partition, before, err)
	}
}

// config is of a rebuild from the topics.
func (s *topics) config(t *testing.T) rebuild.Config {
	config := rebuild.DefaultConfig()
	config.Ingest.Brokers = []string{sandboxtest.Start(t).KafkaAddr()}
	config.Ingest.Topics = []string{s.messages, s.state}
	config.Ingest.GroupID = s.messages
	return config
}

// names says what is lacking.
func (s *topics) names(e *rebuild.IncompleteError) string {
	var parts []string
	for _, l := range e.Lacking {
		name := "messages"
		if l.Topic == s.state {
			name = "state"
		}
		parts = append(parts, fmt.Sprintf("%s/%d begins at offset %d", name, l.ID, l.First))
	}
	return strings.Join(parts, ", ")
}

// TestBegin_NamesWhatTheTopicsLack refuses a rebuild that would lack what may matter,
// before it makes anything.
func TestBegin_NamesWhatTheTopicsLack(t *testing.T) {
	for name, c := range map[string]struct {
		old       int
		retention uint64 // of one app; others have the default
		forget    map[string]int64
		lacking   string // "": nothing
	}{
		"everything is there":          {0, 0, nil, ""},
		"recent messages are gone":     {0, 1000, map[string]int64{"messages": 3}, "messages/1 begins at offset 3"},
		"only expired messages":        {5, 1000, map[string]int64{"messages": 3}, ""},
		"all that was expired":         {5, 1000, map[string]int64{"messages": 5}, "messages/1 begins at offset 5"},
		"nothing is left":              {5, 1000, map[string]int64{"messages": 10}, "messages/1 begins at offset 10"},
		"all that is left is expired":  {10, 1000, map[string]int64{"messages": 3}, ""},
		"shown for ever":               {5, 0, map[string]int64{"messages": 3}, "messages/1 begins at offset 3"},
		"shown longer than all is old": {5, 40 * 86_400, map[string]int64{"messages": 3}, "messages/1 begins at offset 3"},
		"shown since before 1970":      {5, 60 * 365 * 86_400, map[string]int64{"messages": 3}, "messages/1 begins at offset 3"},
		"shown as long as there is":    {5, 9_223_372_036, map[string]int64{"messages": 3}, "messages/1 begins at offset 3"},
		"states are gone, however old": {5, 1000, map[string]int64{"state": 3}, "state/0 begins at offset 3"},
		"messages and states are gone": {0, 1000, map[string]int64{"messages": 1, "state": 2}, "messages/1 begins at offset 1, state/0 begins at offset 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTopics(t, c.old)
			for topic, before := range c.forget {
				if topic == "messages" {
					s.forget(t, s.messages, 1, before)
				} else {
					s.forget(t, s.state, 0, before)
				}
			}
			server := readmodeltest.New(t, readmodeltest.Config(t))
			if len(c.forget) > 0 {
				m := projection.NewModel()
				m.Fold(events.Event{ID: "e", App: "demo", Time: 1, Body: &events.AppPlanChanged{MaxConversations: 100, Retention: c.retention}})
				if err := server.Generation(1).Write(t.Context(), m); err != nil {
					t.Fatal(err)
				}
			}

			of := s.config(t)
			begin := func() error {
				_, err := rebuild.Begin(t.Context(), of, server, slog.New(slog.DiscardHandler))
				return err
			}
			err := begin()
			var lacking *rebuild.IncompleteError
			if (c.lacking == "") != (err == nil) || err != nil && !errors.As(err, &lacking) {
				t.Fatalf("got %v, want %q", err, c.lacking)
			}
			if lacking == nil {
				return
			}
			got := s.names(lacking)
			if got != c.lacking {
				t.Errorf("lacking %s, want %s (%v)", got, c.lacking, err)
			}
			if r, err := server.Registry(t.Context()); err != nil || len(r.Generations) != 1 {
				t.Errorf("%d generations, %v", len(r.Generations), err)
			}
			of.Incomplete = true
			if err := begin(); err != nil {
				t.Errorf("all the same: %v", err)
			}
		})
	}
}

// TestBegin_LooksAtWhatTopicsKeep refuses messages that are compacted, and warns of topics
// that will not have everything later.
func TestBegin_LooksAtWhatTopicsKeep(t *testing.T) {
	for name, c := range map[string]struct {
		messages, state []string // settings
		compacted       bool
		warns           []string // of topics
	}{
		"as they should be":           {nil, []string{"cleanup.policy", "compact"}, false, nil},
		"messages are compacted":      {[]string{"cleanup.policy", "compact"}, []string{"cleanup.policy", "compact"}, true, nil},
		"compacted and deleted":       {[]string{"cleanup.policy", "compact,delete"}, []string{"cleanup.policy", "compact"}, true, nil},
		"messages go too early":       {[]string{"retention.ms", "604800000"}, []string{"cleanup.policy", "compact"}, false, []string{"messages keeps 168h0m0s, needed 193h0m0s"}},
		"messages go late enough":     {[]string{"retention.ms", "694800000"}, []string{"cleanup.policy", "compact"}, false, nil},
		"messages are kept for ever":  {[]string{"retention.ms", "-1"}, []string{"cleanup.policy", "compact"}, false, nil},
		"states go, however late":     {[]string{"retention.ms", "-1"}, []string{"cleanup.policy", "compact,delete", "retention.ms", "694800000"}, false, []string{"state keeps 193h0m0s, needed for ever"}},
		"states are only kept so far": {[]string{"retention.ms", "-1"}, []string{"retention.ms", "694800000"}, false, []string{"state keeps 193h0m0s, needed for ever"}},
	} {
		t.Run(name, func(t *testing.T) {
			defaults := []string{"retention.ms", "694800000"}
			s := &topics{messages: sandboxtest.Topic(t, 1, append(defaults, c.messages...)...), state: sandboxtest.Topic(t, 1, c.state...)}
			var log strings.Builder
			_, err := rebuild.Begin(t.Context(), s.config(t), readmodeltest.New(t, readmodeltest.Config(t)), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
			lacking := (*rebuild.IncompleteError)(nil)
			if errors.As(err, &lacking) != c.compacted || !c.compacted && err != nil {
				t.Fatalf("got %v", err)
			}
			if c.compacted && (len(lacking.Compacted) != 1 || lacking.Compacted[0] != s.messages || !strings.Contains(err.Error(), s.messages+" is compacted")) {
				t.Errorf("got %v", err)
			}
			var warns []string
			for line := range strings.Lines(log.String()) {
				topic := "messages"
				if strings.Contains(line, s.state) {
					topic = "state"
				}
				_, keeps, _ := strings.Cut(line, "keeps=")
				keeps, needed, _ := strings.Cut(keeps, " needed=")
				warns = append(warns, topic+" keeps "+keeps+", needed "+strings.Trim(strings.TrimSpace(needed), `"`))
			}
			if !slices.Equal(warns, c.warns) {
				t.Errorf("warned %q, want %q of %s", warns, c.warns, log.String())
			}
		})
	}
}
