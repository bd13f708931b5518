package clickhouse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// request asks the HTTP interface; query is the part after the question mark.
func request(ctx context.Context, t *testing.T, method string, query url.Values, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, sandboxtest.Start(t).HTTPURL()+"/?"+query.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err().Error()
		}
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestHTTP_Queries(t *testing.T) {
	db := sandboxtest.Database(t)
	in := func(pairs ...string) url.Values {
		v := url.Values{"database": {db}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	const get, post = http.MethodGet, http.MethodPost
	for _, c := range []struct {
		name   string
		method string
		query  url.Values
		body   string
		status int
		want   string // the whole answer, or its beginning where the status is not 200
		code   string
	}{
		{"get", get, in("query", "SELECT 1, 'a'"), "", 200, "1\ta\n", ""},
		{"post", post, in(), "SELECT 1 FORMAT JSONEachRow", 200, "{\"1\":1}\n", ""},
		{"empty", get, in("query", "SELECT 1 AS a WHERE 0 FORMAT CSVWithNames"), "", 200, "\"a\"\n", ""},
		{"default format", get, in("query", "SELECT 1 AS a", "default_format", "CSVWithNames"), "", 200, "\"a\"\n1\n", ""},
		{"parameter", get, in("query", "SELECT {s:String}", "param_s", `it's; a\ttab`), "", 200, "it\\'s; a\\ttab\n", ""},
		{"setting", get, in("query", "SELECT getSetting('max_block_size')", "max_block_size", "7"), "", 200, "7\n", ""},
		{"database", get, in("query", "SELECT currentDatabase()"), "", 200, db + "\n", ""},
		{"create", post, in("query", "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n"), "", 200, "", ""},
		{"insert in the body", post, in(), "INSERT INTO t VALUES (1, 'a;b')", 200, "", ""},
		{"insert data in the body", post, in("query", "INSERT INTO t FORMAT JSONEachRow"), "{\"n\":2,\"s\":\"x;y\"}\n{\"n\":3}\n", 200, "", ""},
		{"insert values in the body", post, in("query", "INSERT INTO t (n, s) VALUES"), "(4, 'v;'), (5, 'w')", 200, "", ""},
		{"insert both in the body", post, in(), "INSERT INTO t FORMAT TSV\n6\tq;\n", 200, "", ""},
		{"insert binary", post, in("query", "INSERT INTO t (s) FORMAT RowBinary"), "\x03\x00;\n", 200, "", ""},
		{"query and body are one text", post, in("query", "SELECT arrayStringConcat(groupArray(s), ' ')"), "FROM (SELECT s FROM t ORDER BY n, s)", 200, "\\0;\\n a;b x;y  v; w q;\n", ""},
		{"write by get", get, in("query", "DROP TABLE t"), "", 403, "Code: 164. DB::Exception: ", "164"},
		{"insert by get", get, in("query", "INSERT INTO t FORMAT TSV"), "", 403, "Code: 164. DB::Exception: ", "164"},
		{"syntax error", get, in("query", "SELEC"), "", 400, "Code: 62. DB::Exception: ", "62"},
		{"unknown table", post, in(), "SELECT * FROM nope", 404, "Code: 60. DB::Exception: ", "60"},
		{"unknown database", get, url.Values{"database": {"nope"}, "query": {"SELECT 1"}}, "", 404, "Code: 81. DB::Exception: ", "81"},
		{"bad data", post, in("query", "INSERT INTO t FORMAT JSONEachRow"), "{\"n\":\"x\"}", 400, "Code: 27. DB::Exception: ", "27"},
		{"in the middle", get, in("query", "SELECT throwIf(number = 1000000) FROM numbers(2000000) FORMAT Null"), "", 500, "Code: 395. DB::Exception: ", "395"},
		{"two statements", post, in(), "SELECT 1; SELECT 2", 400, "Code: 62. DB::Exception: ", "62"},
		{"session", get, in("query", "SELECT 1", "session_id", "x"), "", 404, "Code: 115. DB::Exception: ", "115"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, got := request(t.Context(), t, c.method, c.query, c.body)
			if res.StatusCode != c.status || res.Header.Get("X-ClickHouse-Exception-Code") != c.code {
				t.Errorf("status %d, code %q, want %d, %q", res.StatusCode, res.Header.Get("X-ClickHouse-Exception-Code"), c.status, c.code)
			}
			if c.status == 200 && got != c.want || !strings.HasPrefix(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestHTTP_FormatsAndHealth(t *testing.T) {
	for format, want := range map[string]string{"JSON": "application/json", "CSV": "text/plain", "Parquet": "application/octet-stream"} {
		res, body := request(t.Context(), t, http.MethodGet, url.Values{"query": {"SELECT 1 AS a FORMAT " + format}}, "")
		if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, want) || res.Header.Get("X-ClickHouse-Format") != format || body == "" {
			t.Errorf("%s: %q, %q, %d bytes", format, got, res.Header.Get("X-ClickHouse-Format"), len(body))
		}
	}
	for path, want := range map[string]int{"/": 200, "/ping": 200, "/nope": 404} {
		res, err := http.Get(sandboxtest.Start(t).HTTPURL() + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: status %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestHTTP_ClientGoesAway(t *testing.T) {
	observer := sandboxtest.ClickHouse(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		request(ctx, t, http.MethodPost, nil, fmt.Sprintf(endless["before the first block"], "abandoned"))
	}()
	await(t, observer, "abandoned", 1)
	cancel(errors.New("gone"))
	<-done
	await(t, observer, "abandoned", 0)
}
