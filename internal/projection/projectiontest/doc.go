// Package projectiontest draws chats for property tests: few users, groups and
// sequences, so that everything that can meet does meet. And it answers
// requests from a folded model (Reader).
//
// Whatever it draws is what the decoder could have made of a record: sets are
// ascending and nil when empty, previews are derived, defaults are filled in.
package projectiontest
