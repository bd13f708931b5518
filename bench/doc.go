// Command bench measures the whole system on one machine: the sandbox, a
// projector and a query worker as they are built, with this process as the
// load generator. docs/PERFORMANCE.md says what it found and what it means.
//
//	main.go      settings
//	goals.go     what is measured, and each figure's bound
//	list_hot.go… one goal each; ingest.go has two, and stages.go consume
//	bench.go     what they share: the system, the rounds
//	load.go      closed and open load, percentiles
//	ask.go       requests to the query worker, and what a right reply is
//	echo.go      the reference of list_hot, a process of its own
//	world.go     people and groups, and who talks to whom
//	sample.go    their names and words
//	seed.go      their past, written through the project's own fold
//	kafka.go     events, written as chat backends write them
//	live.go      a chat that goes on while we measure
//	traffic.go   full topics, for the goals of the writing side
//	stages.go    the stages of a projector, apart from each other
//	reference.go the reference of ingest: reference….sql, which ClickHouse runs
//	reads.go     the rows of lists, read without a query worker
//	machine.go   what the machine is, and what processes take and say of themselves
//	report.go    figures as they are found, verdicts at the end
package main
