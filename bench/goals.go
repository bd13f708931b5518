package main

import (
	"context"
	"fmt"
)

// goal is something that is measured.
type goal struct {
	name, about string
	measure     func(ctx context.Context, b *bench, f *figures) error
	figures     []figureSpec
}

// figureSpec says of figures, whose names match a pattern, in which unit they
// are and what they are to be. Without a bound they are for information.
type figureSpec struct {
	pattern, unit string
	bound
}

// bound is what a figure is to be, in words and as a function.
type bound struct {
	text  string
	holds func(value, against float64) bool
}

func atLeast(ratio float64, whose string) bound {
	return bound{fmt.Sprintf("at least %g of %s", ratio, whose), func(value, against float64) bool { return value >= ratio*against }}
}

func atMost(ratio float64, whose string) bound {
	return bound{fmt.Sprintf("at most %g of %s", ratio, whose), func(value, against float64) bool { return value <= ratio*against }}
}

func within(what string) bound {
	return bound{"at most " + what, func(value, against float64) bool { return value <= against }}
}

// goals are all of them, in the order in which they are measured: what needs a
// million users comes last.
var goals = []goal{
	{ // first: it needs topics that have everything
		"rebuild", "a rebuild against a projector, and lists beside one at 5,000 events/s against lists without; then a rebuild to its switch, with each reply compared", rebuilding,
		[]figureSpec{
			{"rate", "events/s", atLeast(0.9, "a projector's")},
			{"p99", "ms", atMost(2, "the one without")},
			{pattern: "all_the_way/replies", unit: "replies"},
			{pattern: "all_the_way/took", unit: "s"},
		},
	},
	{
		"ingest", "from a full topic of Protobuf to visible in ClickHouse, against its own Kafka engine", ingesting,
		[]figureSpec{
			{"rate", "events/s", atLeast(1.2, "the Kafka engine's")},
			{"bound", "events/s", atLeast(0.85, "what the CPU of consuming, decoding and inserting allows")},
			{"settled", "s", within("30 s until no table has more than 50 parts")},
		},
	},
	{
		"ingest_json", "the same in JSON, against the Kafka engine and Protobuf", ingestingJSON,
		[]figureSpec{
			{"rate", "events/s", atLeast(1, "the Kafka engine's")},
			{"protobuf", "events/s", atLeast(0.5, "the rate in Protobuf")},
		},
	},
	{
		"insert", "inserts of folded events, against plain inserts of the same blocks", inserting,
		[]figureSpec{{"rate", "events/s", atLeast(0.9, "the plain inserts'")}},
	},
	{
		"consume", "reading topics, against franz-go", consuming,
		[]figureSpec{{"rate", "events/s", atLeast(0.9, "franz-go's")}},
	},
	{
		"memory", "a projector with a backlog of 1,000,000 events, while ClickHouse is away for a minute", remembering,
		[]figureSpec{{"resident", "MiB", within("256 MiB")}},
	},
	{
		"parts", "active parts of the table that has the most, at 5,000 events/s for ten minutes", counting,
		[]figureSpec{{"most", "parts", within("50 parts")}},
	},
	{
		"recovery", "until all partitions move on when one of two projectors ends, at 5,000 events/s", recovering,
		[]figureSpec{
			{"killed", "s", within("the session timeout and 2 s")},
			{"stopped", "s", within("a heartbeat interval and 1 s")},
		},
	},
	{
		"list_hot", "lists of 10,000 users in memory, against a NATS echo of the same bytes", listHot,
		[]figureSpec{
			{"*/*/rate", "requests/s", atLeast(0.8, "the echo's")},
			{"*/*/p99", "ms", bound{
				"at most the greater of 1.5 of the echo's and the echo's + 2 ms",
				func(value, against float64) bool { return value <= max(1.5*against, against+2) },
			}},
		},
	},
	{
		"list_live", "lists in memory while 5,000 events/s are projected, against lists while nothing happens", listLive,
		[]figureSpec{
			{"*/rate", "requests/s", bound{}},
			{"half/p99", "ms", bound{
				"at most the greater of 3 of the idle one and 20 ms",
				func(value, against float64) bool { return value <= max(3*against, 20) },
			}},
			{"eighth/p99", "ms", bound{}},
			{"*/refused", "of requests", bound{}},
			{"*/hit_ratio", "of requests", bound{}},
		},
	},
	{
		"sync", "a since reply after 5 of 100 conversations have changed, against the whole list", syncing,
		[]figureSpec{
			{"bytes", "bytes", atMost(0.15, "the whole list's")},
			{"rate", "requests/s", atLeast(0.7, "the whole list's")},
		},
	},
	{
		"freshness", "from Kafka's acknowledgement to the first list that shows a message, at 5,000 events/s", freshness,
		[]figureSpec{
			{"p99", "ms", within("500 ms")},
			{"after/p99", "ms", bound{
				"at most 50 ms more than asking over and over",
				func(value, against float64) bool { return value <= against+50 },
			}},
		},
	},
	{
		"big_group", "a message to a group of 100,000 against one to a group of 10", bigGroup,
		[]figureSpec{
			{"feed_bytes", "bytes/message", atMost(1.5, "the small group's")},
			{"inserted_rows", "rows/message", atMost(1.5, "the small group's")},
			{"inserted_bytes", "bytes/message", atMost(1.5, "the small group's")},
			{"cpu", "µs/message", atMost(1.5, "the small group's")},
			{"head_loads", "loads", within("one load for 1,000 members")},
		},
	},
	{
		"list_cold", "lists of users who were never asked for, of a million, against reading their rows", listCold,
		[]figureSpec{
			{"one_by_one/rate", "users/s", atLeast(5, "one query per request")},
			{"engine/rate", "users/s", atLeast(0.5, "the engine reading all rows")},
			{"p99", "ms", bound{}},
		},
	},
	{
		"cache_bytes", "what conversations take in the query worker's memory", cacheBytes,
		[]figureSpec{
			{"registers", "bytes/conversation", within("512 bytes")},
			{"encoded", "bytes/conversation", within("2 KB")},
			{"resident", "MiB", atMost(1.5, "--cache-bytes, after a million users")},
		},
	},
}

func goalNames() (names []string) {
	for _, g := range goals {
		names = append(names, g.name)
	}
	return names
}
