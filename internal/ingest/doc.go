// Package ingest is the projector's Kafka side: it brings every event of the
// source topics to a [Sink], at least once, and commits offsets only then.
//
// # The way of a record
//
//	owner (one goroutine per partition)   fetch → decode → fold into a piece
//	accumulator (one per process)         pieces of the next batch, bounded
//	writer (one goroutine per process)    merge → 1 write → (2) → 3 commit
//
// The next batch is folded while the previous one is being written. One writer
// for all partitions makes few and large writes of them; a write per partition
// and flush would be hundreds of parts a second in the database. A batch is
// due FlushInterval after its first piece, or when it has MaxBatchEvents or
// MaxBatchBytes.
//
// Memory is bounded by two batches, a piece per partition, and the dead letters
// that wait. When a batch is full while the previous one cannot be written,
// owners stop fetching. Heartbeats are a matter of their own goroutine, so a
// sink that is away for a day causes no rebalance.
//
// # Generations
//
// The group's protocol gives partitions to members for a generation. All that
// is known of a partition belongs to one generation ([session]): the next one
// starts from the committed offsets with nothing in its hands. What was folded
// before may still be written, which is harmless, since merging is idempotent;
// but it is never committed: the writer commits for the current session only,
// and the coordinator refuses the generation of an old one.
//
// # Dead letters
//
// A record that holds no valid event is written to the dead-letter topic, by a
// goroutine of its own. Until it is there, offsets are committed up to it and
// not beyond, while reading and writing go on (up to MaxDeadLetterBytes per
// partition).
//
// # Offsets out of range
//
// When retention has deleted what was to be read next, or a topic was made
// anew, reading goes on at the earliest offset. It is logged as an error that
// names topic, partition and both offsets, and counted; that it happened is
// committed at once, so that it is said once.
//
// # Files
//
//	consumer.go     generations, start, stop in two phases
//	session.go      our part in one generation
//	partition.go    positions of one partition: read, written, committed, held back
//	owner.go        fetch, decode, fold; offsets out of range
//	fetch.go        how records come off the wire (replaceable as a whole)
//	watchdog.go     partitions that stand still
//	accumulator.go  bounds
//	writer.go       the order of write and commit
//	deadletter.go   dead letters
//	balancer.go     which member reads which partition
//	check.go        topics and their settings at start
//	connection.go   how connections are made
//	retry.go        which errors mean what
//
// # Not obvious
//
//   - A function given to Generation.Start must not return before the
//     generation ends, or it ends it. Owners that were told to stop wait, so
//     that heartbeats go on until everything is committed.
//   - Owners run under Generation.Start because the next generation begins only
//     when all such functions have returned: one process never has two owners
//     of one partition.
//   - Positions before and after a forced move of an offset must not be mixed:
//     a piece that was folded before says nothing about what is written after.
//     Hence piece.resets.
//   - Beginnings are committed, too, even of empty partitions: otherwise a
//     topic whose first records were deleted before they were read would look
//     like one that never had them.
//   - With message.timestamp.type=LogAppendTime the time of a record is the
//     broker's; kafka-go gives the producer's all the same, since it does not
//     look at that attribute of the batch.
package ingest
