// Package schemas holds the schemas of what convoview reads and writes, and
// samples of the events, for the programs and tests that need them as files.
package schemas

import "embed"

// Chat holds the Protobuf schema of the events, as chat/v1/events.proto.
//
//go:embed chat/v1/*.proto
var Chat embed.FS

// Samples holds events of every kind: samples/<body>/<case>.json with the same
// event in Protobuf as <case>.binpb, and samples/bad/<code>/ with dead letters.
//
//go:embed samples
var Samples embed.FS
