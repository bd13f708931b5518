// Package ingest is the projector's Kafka side: it brings every event of the
// source topics to a [Sink], at least once, and commits offsets only then.
//
// # The way of a record
//
//	owner (one goroutine per partition)   fetch → decode → fold into a piece
//	accumulator (one per process)         pieces of the next batch, bounded
//	writer (one goroutine per process)    1 write → 2 announce → 3 commit
//
// The next batch is folded while the previous one is being written. One writer
// for all partitions makes few and large writes of them; a write per partition
// and flush would be hundreds of parts a second in the database. A batch is
// due FlushInterval after its first piece, or when it has MaxBatchEvents,
// MaxBatchRows or MaxBatchBytes. While reading is behind, up to MaxInsertBatches of them
// are one insert: written, announced and committed together. See docs/adr/0019.
//
// Memory is bounded by two batches, the records of those of an insert, a piece, a fetch
// response and an unpacked record batch per partition (none while it waits for records), and
// the dead letters that wait. When a batch is full while the previous one cannot be written,
// owners stop fetching. Heartbeats are a matter of their own goroutine, so a
// sink that is away for a day causes no rebalance.
//
// # What is left out
//
// A sink may write to several places, some of which leave events out ([Keeper]). That is
// looked at when a batch is written, by the IDs of its events, so it does not matter
// what was known when they were folded. See docs/adr/0009.
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
// partition). It is compressed, or that topic would refuse what its source has taken
// compressed.
//
// [Letters] reads that topic, with the same fetches as any other, and [Redrive]
// sends again what the decoder accepts by then. It keeps no record of what was sent:
// a committed offset could not tell, since filters, limits and the release that reads
// decide anew each time what is sent, and merging makes it a matter of work alone. What
// it has to know is which letters are one event, or each run would send twice as many of
// those that go on failing; that is said by a header, which a redriven record keeps when
// it becomes a dead letter again.
//
// # What a fetch leaves out
//
// kafka-go gives records and keeps to itself what the batches around them say.
// So the connection under it is a [tap], which takes each fetch response whole
// and keeps its batches ([response]); what kafka-go reads is one that found nothing:
//
//   - With message.timestamp.type=LogAppendTime the time of a record is its
//     batch's, which the broker set.
//   - Records of aborted transactions, and the markers that end transactions,
//     are taken out and counted. What is in an open transaction is read when it
//     has ended, and so is what follows: brokers give no more (read_committed).
//   - A batch whose records were all compacted away is taken out. Reading goes
//     on after the last offset that a batch names, not that of its last record.
//   - A corrupted batch (CRC, and what can be told of its fields outside the
//     CRC) is never given to anybody, nor is what follows it in the response.
//
// # Corrupted batches
//
// What comes corrupted is fetched once more, over another connection. If it is
// corrupted there, too, it is so on the leader's disk: an error names topic,
// partition and offsets, it is counted, and reading goes on after it. That is
// the lesser evil. Standing still would hold back every conversation of the
// partition for records that may be gone for good; and nothing is made worse,
// since events may come late and in any order: once the batch is mended (from
// a replica, say) or its events are sent again, reading them again puts
// everything right.
//
// No checksum covers a batch's first offset. So no batch is believed that leaves a hole
// before it, or that begins elsewhere than where reading goes on, until those around it
// bear it out: of two that overlap, the first one lies if the second one has no room behind
// it. Holes as such are sound: compaction leaves them.
//
// Where to go on is told by the sound batch that follows, or else by the
// batch itself. When there is neither, or when the leader itself cannot find
// its way past the place, the partition stands still, and says so, until there
// is: nothing sound is ever jumped over.
//
// Batches of the message formats 0 and 1 (before Kafka 0.11) are refused, and so are those
// that unpack to more than maxUnpackedBytes or are sound and hold what are no records: the
// partition stands still and says so.
//
// # Offsets out of range
//
// When retention has deleted what was to be read next, or a topic was made
// anew, reading goes on at the earliest offset. It is logged as an error that
// names topic, partition and both offsets, and counted; that it happened is
// committed at once, so that it is said once.
//
// A topic that was made anew or has lost its end may be longer than before when
// it is looked at again. So what is fetched over a new connection begins, until
// anything comes, with the batch that was read last, which must be what it was. An
// owner that has read nothing yet cannot know.
//
// # Files
//
//	config.go       what it can be told
//	consumer.go     generations, start, stop in two phases
//	session.go      our part in one generation
//	partition.go    positions of one partition: read, written, committed, held back
//	owner.go        fetch, decode, fold; offsets out of range
//	fetch.go        how records come off the wire
//	tap.go          responses as they are, under kafka-go
//	batches.go      what batches say: times, checksums, transactions
//	records.go      the records of a batch, and the bound of what it unpacks to
//	watchdog.go     partitions that stand still
//	accumulator.go  bounds
//	writer.go       the order of write and commit
//	insert.go       what is written in one go
//	deadletter.go   dead letters
//	letters.go      reading dead letters
//	redrive.go      sending them again
//	balancer.go     which member reads which partition
//	check.go        topics that are missing, and their settings at start
//	connection.go   how connections are made
//	sasl.go         how brokers are told who we are
//	retry.go        which errors mean what
//	offsets.go      how far a group is, and who is in it, seen from outside
//	status.go       what keeps the consumer from its work
//	metrics.go      what is counted and measured
//	trace.go        the spans of batches
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
//   - kafka-go is told a high-water mark of our own making: it takes a response
//     without records for an error when the mark is ahead. See response.filter.
//   - The producer's next marker after the beginning of an aborted transaction
//     is its end, whatever it says; so markers need not be decoded.
//   - TLS belongs under the tap; see cluster.dialLeader.
package ingest
