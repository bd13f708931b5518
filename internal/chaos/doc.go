// Package chaos has the crash tests of the way in, and nothing else.
//
// A run is drawn from its seed: events, how they are spread over topics and partitions, a
// group of projectors, and what happens to them at which step. They are the real
// [github.com/convoview/convoview/internal/ingest.Consumer], with its production timeouts,
// and a broker that speaks Kafka's protocol; everything that happens to them happens at what
// they are given: the connections, the decoder, the sink, the announcer.
//
// # Seeds
//
// A seed decides everything but the order in which goroutines run that have nothing to wait
// for. So a run that fails may not fail at once when it is played again (make chaos SEED=7
// RUNS=1), but does when it is played often enough (COUNT=100); a run takes 10 ms.
//
// # Time
//
// A run is a bubble of testing/synctest, its connections are in memory: waits cost nothing,
// and a busy machine changes nothing. The clock stands still while a goroutine waits for a
// mutex, as kafka-go's do for the answer to another's request on one connection. Hence two
// rules: whatever takes time on a connection with a request under way ends with the next
// request ([conn.Write]), and a process is stopped only where its writer is in the sink.
//
// # What a killed process is
//
// From that moment on nothing that it does has an effect: its connections are cut and
// refused, its sink and its announcer do nothing. Its goroutines are told to stop, and waited
// for at the end of the run. A process that is stopped (SIGSTOP) goes on later, with its
// connections, when the group has long given its partitions to others.
//
// # Real engines
//
// A few runs are of another kind: with ClickHouse and NATS, over proxies of toxiproxy, by the
// machine's clock. They have what the others take for granted: inserts of which the
// acknowledgement is lost, half of which arrived.
package chaos
