// Package readmodel keeps the read model in ClickHouse.
//
// The tables hold the registers of package projection as partial rows: each
// batch inserts one row per register that it touched, and rows of one key merge by
// the merge law, in the engine when it merges parts and in a reader for what
// the engine has not merged yet. So a reader asks for plain rows, without FINAL
// and without GROUP BY, and folds them with the very functions that the
// projector folds events with; and a batch that is written twice, late or
// beside another projector's changes nothing.
//
// One declaration per table (tables.go, registers.go) says how a row is written and
// how it is read, and value.go how several fields are one text. Writers fill Null
// tables with flat columns, whose materialized views build the tuples and bitmaps that
// the client cannot send (see schemas/clickhouse/generation.sql).
//
// Inserts into several tables are not atomic together: until what failed is
// written again, fields of different tables may be one insert apart. Each field
// is right by itself.
package readmodel
