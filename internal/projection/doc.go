// Package projection is the meaning of the contract as pure functions: from
// events to registers, and from registers to what the API shows.
//
// # Registers
//
// Every field of the read model is a register with a merge that is associative,
// commutative and idempotent: the greatest (sequences, heads), the last writer
// by (time, id), or the union of sets. So any order, any repetition and any
// split into batches gives the same state, and at-least-once delivery has an
// exactly-once effect. The same law runs when the projector folds a batch
// (Model.Fold), when ClickHouse merges rows, and when a reader folds the rows
// that are not merged yet (State.Merge); ties are decided as ClickHouse
// compares tuples, so the order of fields in a register is part of the law.
//
//	events ── Fold ──► Model ── rows ──► ClickHouse ── rows ──► State ──► Conversation ──► Item
//
// Registers are kept under an owner (Key): both ends of a C2C conversation have
// their own copy, so that a list is one contiguous read; what the members of a
// group share is kept once, under the owner "".
//
// # Rules
//
// Conversation puts together what one user sees of one conversation and answers
// every question of the contract about it. Listing, Filter and Position make lists;
// one function makes the item that list and profile both show.
//
// Nothing here has a clock, a logger, randomness or I/O: the time comes in with
// Rules.
//
// # Not obvious
//
//   - Each event is filtered before it is merged: the head is the greatest among
//     the messages that may be a head, not the greatest message if it may be one.
//   - Recalled is a set, not the latest recall: head 9 is recalled, then 10,
//     which could never be a head; 9 must stay recalled. EditedSequence is only
//     an upper bound that saves look-ups.
//   - A sender's own C2C messages are left out of what counts for the sender,
//     since sending is reading, but their day is kept: it makes the conversation
//     known.
//   - A mention says only where it is; who sent it is looked up at reading, since
//     a later message with the same sequence may be another's.
//   - Expiry is applied when reading. A message's day is part of what is kept, so
//     whole days can be dropped without changing an answer.
package projection
