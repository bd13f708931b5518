package clickhouse

import (
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/go-cmp/cmp"
)

func TestParseInsert(t *testing.T) {
	for sql, want := range map[string]*insertStatement{
		"INSERT INTO t FORMAT Native":                  {into: "INSERT INTO t", target: "t", format: "Native"},
		"insert into db.t (a, `b c`) VALUES":           {into: "insert into db.t (a, `b c`)", target: "db.t", columns: []string{"a", "b c"}, format: "Values"},
		"\n INSERT INTO TABLE `x.y`.\"z\" FORMAT TSV;": {into: "INSERT INTO TABLE `x.y`.\"z\"", target: "`x.y`.\"z\"", format: "TSV"},
		"INSERT INTO FUNCTION null('a UInt8') VALUES":  {into: "INSERT INTO FUNCTION null('a UInt8')", target: "null('a UInt8')", format: "Values"},
		"INSERT INTO t (a) SETTINGS async_insert = 0, x='a,b' FORMAT CSV\n1;2\n": {
			into: "INSERT INTO t (a) SETTINGS async_insert = 0, x='a,b'", target: "t", columns: []string{"a"}, format: "CSV", data: "1;2\n",
		},
		"INSERT INTO t FORMAT JSONEachRow {\"a\":1}": {into: "INSERT INTO t", target: "t", format: "JSONEachRow", data: "{\"a\":1}"},
		"INSERT INTO t VALUES (1)":                   nil,
		"INSERT INTO t SELECT 1 FORMAT TSV":          nil,
		"SELECT 'INSERT INTO t FORMAT TSV'":          nil,
		"WITH 1 AS a INSERT INTO t SELECT a":         nil,
	} {
		got, ok := parseInsert(sql)
		if ok != (want != nil) {
			t.Errorf("%s: an insert with data: %t", sql, ok)
		} else if ok {
			if diff := cmp.Diff(*want, got, cmp.AllowUnexported(insertStatement{})); diff != "" {
				t.Errorf("%s (-want +got)\n%s", sql, diff)
			}
		}
	}
}

func TestParseException(t *testing.T) {
	for text, want := range map[string]exception{
		"Code: 60. DB::Exception: Table t does not exist. (UNKNOWN_TABLE)":                                {code: 60, text: "Table t does not exist."},
		"Code: 241. DB::Exception: Code: 241. DB::Exception: Too\nmuch (really). (MEMORY_LIMIT_EXCEEDED)": {code: 241, text: "Too\nmuch (really)."},
		"Code: 395. DB::Exception: no: while pushing to view. (SOME_NAME) (version 26.7.2.1)":             {code: 395, text: "no: while pushing to view."},
		"Error: Code: 1. DB::Exception: a. (UNSUPPORTED_METHOD) (version 26.7.2.1 (official build))":      {code: 1, text: "a."},
		"No active streaming query": {code: 1002, text: "No active streaming query"},
	} {
		got := parseException(text)
		if got.code != want.code || got.text != want.text || !strings.HasPrefix(got.Error(), "Code: ") {
			t.Errorf("%s: got %d, %q, %q", text, got.code, got.text, got.full)
		}
	}
}

func TestUnquote(t *testing.T) {
	for quoted, want := range map[string]string{
		`'a\'b\\n\n\0'`: "a'b\\n\n\x00",
		`''`:            "",
		`plain`:         "plain",
		`'`:             "'",
	} {
		if got := unquote(quoted, "'"); got != want {
			t.Errorf("%s: got %q, want %q", quoted, got, want)
		}
	}
	for _, s := range []string{"a`b", `a\b`, "a'b", ""} {
		if got := unquote(quoteIdentifier(s), "`"); got != s {
			t.Errorf("identifier %q came back as %q", s, got)
		}
		if got := unquote(quoteString(s), "'"); got != s {
			t.Errorf("string %q came back as %q", s, got)
		}
	}
}

// Whoever speaks another protocol is sent away, and the next one is served.
func TestSession_OtherProtocols(t *testing.T) {
	for _, words := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x2c\x00\x03\x00\x00", "\x16\x03\x01", "\x02"} {
		ours, theirs := net.Pipe()
		ended := make(chan error, 1)
		s := &session{server: &Server{}, net: ours, in: proto.NewReader(ours)}
		go func() { ended <- s.serve(t.Context()); _ = ours.Close() }()
		go func() { _, _ = theirs.Write([]byte(words)); _ = theirs.Close() }()
		if err := <-ended; err == nil {
			t.Errorf("%q was served", words)
		}
	}
}

// TestAlone takes out what is said to other replicas, and nothing else.
func TestAlone(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE DATABASE IF NOT EXISTS d ON CLUSTER 'sandbox'":                                                 "CREATE DATABASE IF NOT EXISTS d",
		"CREATE DATABASE d ON CLUSTER sandbox ENGINE = Replicated('/a/b', 's', '{replica}')":                   "CREATE DATABASE d",
		"DROP DATABASE d ON CLUSTER 'sandbox' SYNC":                                                            "DROP DATABASE d SYNC",
		"CREATE TABLE t ON CLUSTER 'sandbox'\n(a Int8)\nENGINE = ReplicatedMergeTree('/p', '{r}')\nORDER BY a": "CREATE TABLE t\n(a Int8)\nENGINE = MergeTree\nORDER BY a",
		"CREATE TABLE t\n(a Int8)\nENGINE = ReplicatedReplacingMergeTree\nORDER BY a":                          "CREATE TABLE t\n(a Int8)\nENGINE = ReplacingMergeTree\nORDER BY a",
		"GRANT ON CLUSTER 'sandbox' SELECT ON d.* TO r":                                                        "GRANT SELECT ON d.* TO r",
		"SYSTEM SYNC DATABASE REPLICA d":                                                                       "SELECT 1",
		"SELECT ' ON CLUSTER sandbox'":                                                                         "SELECT ' ON CLUSTER sandbox'",
		"CREATE TABLE t ON CLUSTER other (a Int8) ENGINE = Null":                                               "CREATE TABLE t ON CLUSTER other (a Int8) ENGINE = Null",
	} {
		if got := alone(sql); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}
