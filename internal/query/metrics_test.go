package query

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	f := start(t, some())
	f.ask("list", `{"userID":"ann"}`)
	f.ask("profile", `{"userID":"ann","conversationID":"GROUPg1"}`)
	f.ask("unread", `{}`)
	problems, err := testutil.GatherAndLint(f.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for name, want := range map[string]int{
		"convoview_query_request_duration_seconds": 24, // every endpoint with every code, met or not
		"convoview_query_dropped_messages_total":   1,
		"convoview_query_reply_failures_total":     1,
		"convoview_query_in_flight_requests":       3,
		"convoview_query_generation":               1,
		"convoview_query_cache_hits_total":         1,
		"convoview_query_cache_misses_total":       1,
		"convoview_query_cache_evictions_total":    1,
		"convoview_query_cache_bytes":              1,
		"convoview_query_cache_limit_bytes":        1,
		"convoview_query_cache_inboxes":            1,
		"convoview_query_warm_up_users":            1,
		"convoview_query_load_requests":            1,
		"convoview_query_load_keys":                10, // every kind of load, used or not
		"convoview_query_load_duration_seconds":    10,
		"convoview_query_load_failures_total":      10,
	} {
		if got, err := testutil.GatherAndCount(f.registry, name); err != nil || got != want {
			t.Errorf("%s: %d series, %v, want %d", name, got, err, want)
		}
	}
}
