// Package clickhouse holds the read model's tables as SQL.
package clickhouse

import _ "embed"

// Generation makes the tables of one generation in the database {db}.
//
//go:embed generation.sql
var Generation string

// Registry makes the tables that say which generations there are in the database {db}.
//
//go:embed registry.sql
var Registry string
