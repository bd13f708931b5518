// Package e2e holds tests that go the whole way: events on Kafka in, replies
// over NATS out, on the real engines.
//
//   - TestScenarios plays the scenarios, step by step.
//   - TestChat_AnyOrderAnyCrash plays a chat in order, and again shuffled,
//     repeated in part and through projectors that are killed. All replies must
//     be the same bytes, and what the brute-force reading gives.
//   - TestSize_… have lists, groups and totals of the greatest sizes, whose
//     answers are computed from how they were made.
//
// The chat and the great group are small by default; make test-full has them in
// full, by -events and -full. A failure says the -seed that draws the same again,
// and -chat plays a chat from a file.
package e2e
