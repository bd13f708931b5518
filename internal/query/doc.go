// Package query answers the requests of chat backends over NATS: a user's
// conversation list, one conversation's profile, the total of unread messages.
//
// The worker is a NATS micro service in a queue group: any number of workers
// share the requests, and any worker can answer any of them: what a worker has
// in memory only saves it from reading, and a page's cursor and a sync token
// say all that the next request needs.
//
// A request goes this way:
//
//	micro's callback ─ take: size, bounds, drain (else 400, 429, 503 at once)
//	  ▼
//	a goroutine ─ decode (400) → wait for offsets and a slot (504) → load → rules → encode
//	  ▼
//	the connection ─ reply, or error headers with a JSON body
//
// micro calls the handlers of a subscription one after the other, so a handler
// starts a goroutine and returns. micro's Request may not be answered once its handler returned
// (its error field is not guarded), so replies go through the connection, and
// the true counts and latencies are given to micro by a StatsHandler.
//
// # Memory
//
// Lists and totals are answered from tables of registers: of users' own, of
// what a group's members share, of profiles, edits and senders. A table loads
// what is missing and merges into what it has whatever the Feed brings, so that
// it always holds what a load would bring. A change of a group touches one
// entry. A user's row keeps what the rules said of it, and its item as JSON,
// together with the versions of what they were made of; it is judged again when
// one of them is another.
//
// An entry is relied on when it was loaded after the last loss of the feed, the
// feed is whole and it is not too old; else it is loaded again. Without a feed
// nothing is kept. Profiles are always loaded.
//
// # Loading
//
// Loading goes through batchers, which make one call of what many requests ask
// for at the same moment: a point query costs milliseconds however small it
// is, and a hundred users in one query little more than one. A request joins
// only batches that have not started, so it never sees a state older than
// itself.
//
// What a list means is said by package projection alone; a list and a profile
// show the same item because one function makes both.
package query
