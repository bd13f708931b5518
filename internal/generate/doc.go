// Package generate makes up a living chat: an endless stream of events in which
// people meet, answer each other, read, pin, recall and leave, all drawn from
// one seed. The same Config gives the same events.
//
// # How it goes
//
// Each app is a world of people and groups, ordered from the busiest to the
// quietest. A few dozen sessions are open at a time; a session is a handful of
// people who talk about one topic in one conversation. Each turn takes a
// session and lets somebody speak in it. What a turn brings about (joins,
// profiles, the message, reads, a recall) waits in a queue of bodies, and every
// call of Next gives the oldest of them an ID and a time.
//
//	Next ── queue empty? ──► turn ──► session: introduce, speak, read, happen
//	  └──── pop ◄──────────── queue ◄──┘
//
// # What holds
//
//   - Sequences are dense in each conversation, from Config.FirstSequence + 1 on.
//   - Times and IDs both ascend strictly, so of two events on one key the one
//     that is given later wins: the keys are fit for a compacted topic.
//   - Nobody speaks in a group that they have not joined or have left; a
//     joinSequence is the group's last sequence. An erased user is never
//     heard of again.
//   - Memory is bounded by people, friendships and memberships, all of which
//     New draws or bounds; nothing grows with the number of events.
package generate
