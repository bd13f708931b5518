package clickhouse_test

import (
	"fmt"
	"net"
	"reflect"
	"testing"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// columns holds every type that goes through the front, with two values.
var columns = []struct {
	name, columnType string
	values           [2]any
}{
	{"u8", "UInt8", [2]any{uint8(0), uint8(255)}},
	{"u64", "UInt64", [2]any{uint64(0), uint64(1<<64 - 1)}},
	{"i64", "Int64", [2]any{int64(-1 << 63), int64(1<<63 - 1)}},
	{"f64", "Float64", [2]any{0.5, -1e300}},
	{"flag", "Bool", [2]any{true, false}},
	{"text", "String", [2]any{"", "a;b\x00\xff'\\\n"}},
	{"fixed", "FixedString(3)", [2]any{"abc", "d;f"}},
	{"low", "LowCardinality(String)", [2]any{"x", "y"}},
	{"low_null", "LowCardinality(Nullable(String))", [2]any{ptr("x"), (*string)(nil)}},
	{"null", "Nullable(UInt32)", [2]any{(*uint32)(nil), ptr(uint32(7))}},
	{"list", "Array(UInt64)", [2]any{[]uint64{}, []uint64{1, 2}}},
	{"nested_list", "Array(Array(LowCardinality(String)))", [2]any{[][]string{{}, {"a"}}, [][]string{}}},
	{"pair", "Tuple(UInt64, String)", [2]any{[]any{uint64(1), "a"}, []any{uint64(2), "b"}}},
	{"pairs", "Array(Tuple(id String, n UInt8))", [2]any{[]map[string]any{{"id": "a", "n": uint8(1)}}, []map[string]any{}}},
	{"dict", "Map(LowCardinality(String), UInt64)", [2]any{map[string]uint64{}, map[string]uint64{"k": 1}}},
	{"day", "Date", [2]any{time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)}},
	{"second", "DateTime", [2]any{time.Unix(1, 0).UTC(), time.Unix(1<<31, 0).UTC()}},
	{"micro", "DateTime64(6, 'UTC')", [2]any{time.UnixMicro(1_700_000_000_123_456).UTC(), time.UnixMicro(1).UTC()}},
	{"local", "DateTime64(3)", [2]any{time.UnixMilli(1_700_000_000_123).UTC(), time.UnixMilli(1).UTC()}},
	{"id", "UUID", [2]any{uuid.Nil, uuid.MustParse("61f0c404-5cb3-11e7-907b-a6006ad3dba0")}},
	{"kind", "Enum8('C2C' = 1, 'GROUP' = 2)", [2]any{"C2C", "GROUP"}},
	{"price", "Decimal(18, 4)", [2]any{decimal.RequireFromString("1.5"), decimal.RequireFromString("-2.0001")}},
	{"ip", "IPv6", [2]any{net.ParseIP("::1"), net.ParseIP("2001:db8::1")}},
	{"greatest", "SimpleAggregateFunction(max, UInt64)", [2]any{uint64(3), uint64(4)}},
	{"last", "SimpleAggregateFunction(max, Tuple(UInt64, String))", [2]any{[]any{uint64(1), "a"}, []any{uint64(2), "b"}}},
	{"set", "SimpleAggregateFunction(groupUniqArrayArray, Array(UInt64))", [2]any{[]uint64{1}, []uint64{}}},
}

func ptr[T any](v T) *T { return &v }

func TestTypes_RoundTrip(t *testing.T) {
	db := sandboxtest.Database(t)
	for _, method := range []driver.CompressionMethod{driver.CompressionNone, driver.CompressionLZ4, driver.CompressionZSTD} {
		t.Run(method.String(), func(t *testing.T) {
			options := sandboxtest.Options(t, db)
			options.Compression = &driver.Compression{Method: method}
			conn, err := driver.Open(options)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for _, c := range columns {
				t.Run(c.name, func(t *testing.T) {
					table := fmt.Sprintf("%s_%s", method, c.name)
					run(t, conn, fmt.Sprintf("CREATE TABLE `%s` (row UInt8, v %s) ENGINE = MergeTree ORDER BY row", table, c.columnType))
					batch, err := conn.PrepareBatch(t.Context(), fmt.Sprintf("INSERT INTO `%s` (row, v)", table))
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = batch.Close() }()
					for i, v := range c.values {
						if err := batch.Append(uint8(i), v); err != nil {
							t.Fatal(err)
						}
					}
					if err := batch.Send(); err != nil {
						t.Fatal(err)
					}
					for _, where := range []struct {
						sql  string
						want []any
					}{
						{"1 ORDER BY row", c.values[:]},
						{"row = 1", c.values[1:]},
						{"row = 2", nil},
					} {
						got, columnType := read(t, conn, fmt.Sprintf("SELECT v FROM `%s` WHERE %s", table, where.sql))
						if columnType != c.columnType {
							t.Errorf("WHERE %s: type %s, want %s", where.sql, columnType, c.columnType)
						}
						if diff := cmp.Diff(where.want, got); diff != "" {
							t.Errorf("WHERE %s (-want +got)\n%s", where.sql, diff)
						}
					}
				})
			}
		})
	}
}

// read returns the first column of a query with its type.
func read(t *testing.T, conn driver.Conn, sql string) (values []any, columnType string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	kind := rows.ColumnTypes()[0]
	for rows.Next() {
		values = append(values, scan(t, rows, kind.DatabaseTypeName()))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return values, kind.DatabaseTypeName()
}

// scan reads a value into the Go type in which columns has it.
func scan(t *testing.T, rows interface{ Scan(...any) error }, columnType string) any {
	t.Helper()
	for _, c := range columns {
		if c.columnType != columnType {
			continue
		}
		value, into := newLike(c.values[0])
		if err := rows.Scan(into); err != nil {
			t.Fatal(err)
		}
		return value()
	}
	t.Fatalf("type %s is not in the table", columnType)
	return nil
}

// newLike returns a pointer to a new value of the type of v, and how to read it.
func newLike(v any) (value func() any, into any) {
	p := reflect.New(reflect.TypeOf(v))
	return func() any { return p.Elem().Interface() }, p.Interface()
}
