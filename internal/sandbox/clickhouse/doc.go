// Package clickhouse runs the real ClickHouse engine inside this process.
package clickhouse
