// Package clickhouse runs the ClickHouse engine in this process and serves it
// on the native protocol and over HTTP, so that everything goes through
// clickhouse-go as against any server.
//
// The engine is libchdb, ClickHouse's own embedded build: a library without a
// server. The front before it is the least that clickhouse-go works with; it
// knows packets and blocks, and leaves SQL, types, formats and errors to the
// engine.
//
//	library.go    finds, loads and binds libchdb (no cgo)
//	signals.go    keeps the Go runtime's signal handlers
//	engine.go     a bounded pool of connections; query, stream, insert, kill
//	access.go     who may connect, and the roles that the engine holds them to
//	statement.go  the little that the front reads in a statement
//	native.go     a client of the native protocol
//	http.go       a request over HTTP
//	server.go     listeners, start and stop
//
// What is not obvious:
//
//   - A connection of the engine runs one query at a time; a client takes one
//     from the pool per query, not per session. Settings are set before a
//     query and taken back after it. So there is no session: SET and temporary
//     tables are refused, USE changes the database of the client alone.
//   - A query is killed by KILL QUERY from a connection kept for that, found by
//     the log_comment that names its connection: the library can cancel a
//     stream, but not a query that has given no block yet. The kill is repeated
//     until the query has ended, for it may come before the query is known.
//   - After a failed or cancelled statement the engine's connection holds on to
//     the tables of the query; it is replaced, which takes 0.1 ms.
//   - The engine gives blocks of revision 0 (the Native format); parameters
//     need 54459 or later on the wire, where columns carry a mark that those
//     lack. So blocks are decoded and encoded again, by clickhouse-go's code;
//     columns of simple types that are inserted are copied.
//     With revision 0 a DateTime loses the name of its time zone (the instant
//     stays; DateTime64 keeps it).
//   - A result without rows has no block at all; its header is asked for with
//     DESCRIBE TABLE.
//   - The rows of an INSERT go to the engine in pieces as they come (any bytes;
//     nothing is quoted), and they are in the table when the client hears of it.
//   - The engine has one user. Roles are in its configuration, and a query of a client
//     that has one runs with that alone: SET ROLE on the connection before it.
//   - The engine holds one data directory at a time in a process.
//   - Its cluster (Cluster) is itself, twice, with replicas that are away. The library
//     has no queue of ON CLUSTER statements, and its replicated tables cannot be written.
//     So on the native protocol what is said to other replicas is taken out of statements.
//
// What a server has and this has not: CREATE USER, CREATE ROLE and GRANT (the
// engine has no writable store for them; see Access), sessions, external tables,
// system log tables, query IDs of the client's choice, clickhouse-go's HTTP
// transport, and types that clickhouse-go cannot read, such as AggregateFunction (it
// says so; read them with finalizeAggregation, or over HTTP).
package clickhouse
