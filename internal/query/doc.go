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
//	from memory as it was sent before ──┐
//	  ▼ else                            │
//	the queue                           │
//	  ▼                                 │
//	a server ─ decode (400), rules → encode
//	  │ ▲                               │
//	  ▼ │ what is not in memory, or     │
//	    │ offsets to wait for           │
//	a cohort, in a waiting room (429)   │
//	                                    ▼
//	the connection ─ reply, or error headers with a JSON body
//
// micro calls the handlers of a subscription one after the other. So a handler
// sends what is in memory as it is to be sent, and leaves everything else to one
// of a few servers, which wait for nobody. micro's Request may not be answered once
// its handler returned (its error field is not guarded), so replies go through the
// connection, and the true counts and latencies are given to micro by a StatsHandler.
//
// What has to wait, for a load or for offsets, waits by itself, and counts for a
// bound of its own: a slow store slows nobody who does not need it. Then it is
// answered by its cohort, or goes back to the queue.
//
// # Memory
//
// An inbox holds what is one user's own: a row for each conversation, with the
// user's registers in a compact form. What the members of a group share,
// profiles, edits and senders are shared: a row points to those that it shows and
// holds them, so that they are in memory while an inbox is that shows them. Users
// come and go within one bound, which counts what they share, too.
//
// Loads and whatever the Feed brings are merged into these values, so that they
// hold what a load would bring. A change of a group touches one value. A row keeps
// what the rules said of it, and its item as JSON, together with the versions of
// what they were made of, and an inbox keeps the last whole reply in the same
// way: as long as all versions are the same, it is sent again.
//
// A value is relied on when it was loaded after the last loss of the feed, the
// feed is whole and it is not too old; else it is loaded again. Without a feed
// everything is loaded for every request. Profiles are always loaded,
// besides what concerns their whole app while lists of it are in memory.
//
// # Loading
//
// Requests that lack something go on in cohorts: what all of one lack is loaded
// at once, then all are tried again, until each has its reply. A request joins
// only a cohort that has not started, and a small one waits a while for company.
// A crowd, whose users have too many conversations together to be loaded at once,
// is taken apart: what is loaded takes some times what is kept of it.
//
// A list may change faster than what it shows is loaded, so that something else is
// lacking each time. Then its request goes on with the list as it is at that moment, in
// rows and groups of its own, of which no load is ever too late.
//
// Loading goes through batchers, which make one call of what many requests ask
// for at the same moment: a point query costs milliseconds however small it
// is, and a hundred users in one query little more than one. A request joins
// only batches that have not started, so it never sees a state older than
// itself. While the feed is whole a load of the same value that is under way is
// waited for instead: what has changed since it began is heard of.
//
// What a list means is said by package projection alone; a list and a profile
// show the same item because one function makes both.
package query
