// Package query answers the requests of chat backends over NATS: a user's
// conversation list, one conversation's profile, the total of unread messages.
//
// The worker is a NATS micro service in a queue group: any number of workers
// share the requests, and any worker can answer any of them. It keeps nothing
// between requests; a page's cursor says all that the next page needs.
//
// A request goes this way:
//
//	micro's callback ─ take: size, bounds, drain (else 400, 429, 503 at once)
//	  ▼
//	a goroutine ─ decode (400) → wait for a slot (504) → load → rules → encode
//	  ▼
//	the connection ─ reply, or error headers with a JSON body
//
// micro calls the handlers of a subscription one after the other, so a handler
// starts a goroutine and returns. micro's Request may not be answered once its handler returned
// (its error field is not guarded), so replies go through the connection, and
// the true counts and latencies are given to micro by a StatsHandler.
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
