// Package scenario reads and plays scenarios: short stories of a chat, written
// for people who know chat and not Go, with what each user then sees. It is
// for tests only.
//
// A scenario is a txtar file. It begins with a sentence that says what it
// shows; its sections are steps, in order:
//
//	Bob's message is unread for Ann until she reads it.
//
//	-- events --
//	10:00 messageSent from=bob to=ann sequence=1 messageForShow="Are you coming?"
//	-- list ann --
//	C2Cbob unreadCount=1
//	  lastMessage lastTime=10:00 lastSequence=1 fromAccount=bob messageForShow="Are you coming?"
//	-- events --
//	10:05 conversationRead userID=ann conversationID=C2Cbob sequence=1
//	-- unread ann --
//	0
//
// # Steps
//
//   - events: one event a line: its time, its body and the body's fields under
//     the names that the contract gives them. Lines that begin with # are remarks.
//   - list USER, profile USER CONVERSATION and unread USER ask, and the section
//     holds the answer. Fields of the request may follow: list ann markType=4.
//   - now TIME moves the clock, which else shows Noon.
//
// # Values
//
// A value is a word, or JSON where a word will not do: "two words", [1,4],
// {"text":"hi"}. A time is a time of day on the day of Noon, or whole:
// 2026-03-02T23:59:59.999999Z. Without saying so, an event has the next id of
// e1, e2, … and the app demo; a messageSent has the type TIMTextElem and the
// messageID m1 for sequence 1. app=other, before or after the body, says
// otherwise.
//
// Answers name what is not at its default: no empty texts, lists and zeros, no
// messageRemindType AcceptAndNotify, no IDs that stand in the line's beginning
// already. (none) is an empty list, (empty) the empty lastMessage, 404 a
// conversation that is not known.
package scenario
