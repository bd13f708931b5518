// Package bruteforce answers lists, profiles and totals from the raw events,
// by scanning them and following the contract's sentences word by word. It is
// for tests only: what the projection answers from its registers must equal
// what is read here.
//
// There are no registers and no merges. New drops exact repeats and the events
// that an erasure makes count for nothing, and indexes what is left by
// conversation, by user and by group; every question scans that index anew.
// Nothing here imports the projection, and each rule quotes the sentence that
// it follows.
//
// # Not obvious
//
//   - A conversation's messages are kept in ascending order of (sequence, time,
//     id), so "the greatest sequence, of equal ones the latest" is the last.
//   - Messages of one sequence are one message for the unread count only where
//     they are of one UTC day; head, recall and modification know no days.
//   - Reaching a sequence (read, sent, deleted, cleared, nextMessageSeq) does
//     not expire; being a message does.
package bruteforce
