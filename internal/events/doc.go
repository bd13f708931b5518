// Package events holds the contract's events: their types, the identities in
// them, and the way between them and the values of Kafka records.
//
// # Decoding
//
// A record's value is JSON or Protobuf, bare or in a Confluent frame. Both
// encodings are read into one intermediate shape (rawEvent), driven by one
// table of bodies and fields (bodySpecs), and checked once: a rule cannot hold
// in one encoding and not in the other. A test compares the table with the
// Protobuf schema.
//
//	Record ── read ──► rawEvent ── checkHeader, checkBody ──► build ──► Event
//	             JSON, Protobuf                                  fill ◄── AppendJSON, AppendProtobuf
//
// The checks run in this order, and the first that fails is the record's
// error: empty value; size of the event; encoding; form (malformed); id; app;
// time; number of bodies (an unknown body alone is ErrUnknownBody); each field
// of the body in the schema's order; the rules between fields.
//
// # What a value means
//
//   - null is absent, in lists too. An empty string is absent, except in the
//     fields that the schema marks optional: there absent and "" differ.
//   - Unknown fields are ignored and counted, whatever they hold. A Protobuf
//     field of another wire type than the schema's is an unknown field.
//   - Duplicate names are malformed in every object that is read here; not
//     within payloads and unknown fields.
//   - A payload is kept as compact JSON, else unchanged, so that both encodings
//     give the same bytes.
//   - Lists that mean sets are sorted, their repeats dropped; limits count
//     what was sent.
//
// # Not obvious
//
//   - Nothing in an Event shares memory with the record's value, unless it is asked to
//     (Sharing): an ID in a long-lived map would keep 256 KB alive.
//   - Times are compared in seconds before they become microseconds: a
//     Timestamp's seconds times a million overflow.
//   - The generated Protobuf code keeps the last of several bodies; the decoder
//     walks the wire format itself to see all of them.
package events
