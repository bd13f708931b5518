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
		"convoview_query_requests_total":         4, // an endpoint and code each: 0 of all three, and a 400
		"convoview_query_request_seconds":        3,
		"convoview_query_dropped_total":          1,
		"convoview_query_running":                1,
		"convoview_query_hall":                   1,
		"convoview_query_waiting":                1,
		"convoview_query_memory_hits_total":      1,
		"convoview_query_memory_misses_total":    1,
		"convoview_query_memory_evictions_total": 1,
		"convoview_query_memory_bytes":           1,
		"convoview_query_memory_inboxes":         1,
		"convoview_query_load_keys":              10, // every kind of load, used or not
		"convoview_query_load_seconds":           10,
	} {
		if got, err := testutil.GatherAndCount(f.registry, name); err != nil || got != want {
			t.Errorf("%s: %d series, %v, want %d", name, got, err, want)
		}
	}
}
