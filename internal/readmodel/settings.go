package readmodel

import (
	"maps"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// settings are those of all queries. A server's defaults or the profile of an account could
// say otherwise, and nobody would see it: rows that count as written and are not, or an answer
// that is not all of it. What makes a query fail is left to whoever has set it.
func (c Config) settings() clickhouse.Settings {
	settings := clickhouse.Settings{
		// A read after the acknowledgement must see the rows, whatever the server's defaults.
		"async_insert":                  0,
		"distributed_foreground_insert": 1,
		// And what views make of them, or there is no acknowledgement.
		"materialized_views_ignore_errors": 0, "ignore_materialized_views_with_dropped_target_table": 0,
		// Equal blocks are not the same block: a repeat is meant to be written.
		"insert_deduplicate": 0,
		// The rows of a block have hardly a key in common: looking for those that do at each
		// insert costs a fifth of it. What they have is merged with all the rest.
		"optimize_on_insert": 0,
		// All rows that there are, as they are now, and no others: extremes come as two more.
		"limit": 0, "offset": 0, "extremes": 0, "use_query_cache": 0, "final": 0,
		"additional_table_filters": "{}", "additional_result_filter": "",
		// A query that goes beyond a bound fails. By "break" it ends as if that were all, and an
		// INSERT is acknowledged with what it had by then.
		"timeout_overflow_mode": "throw", "timeout_overflow_mode_leaf": "throw",
		"read_overflow_mode": "throw", "read_overflow_mode_leaf": "throw", "result_overflow_mode": "throw",
		"set_overflow_mode": "throw", "join_overflow_mode": "throw", "group_by_overflow_mode": "throw",
		"distinct_overflow_mode": "throw", "sort_overflow_mode": "throw", "transfer_overflow_mode": "throw",
	}
	if c.Cluster != "" {
		maps.Copy(settings, clusterSettings(c.InsertQuorum))
	}
	if c.Nice > 0 { // servers before 26 know no such settings
		settings["os_threads_nice_value_query"] = c.Nice
		settings["os_threads_nice_value_materialized_view"] = c.Nice
	}
	return settings
}
