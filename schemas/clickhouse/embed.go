// Package clickhouse holds the read model's tables and views as SQL.
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

// Views makes the views of one generation in the database {db}.
//
//go:embed views.sql
var Views string

// View makes the view {view} in the database {db} of the registry, which shows that of the
// generation that is read.
//
//go:embed view.sql
var View string

// Roles makes the roles of a read model whose registry is the database {db}.
//
//go:embed roles.sql
var Roles string
