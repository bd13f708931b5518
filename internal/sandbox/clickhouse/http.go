package clickhouse

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// notSettings are the parameters of a request that are no settings. Of others,
// such as session_id, the engine says that it does not know them.
var notSettings = map[string]bool{
	"database": true, "default_format": true, "query": true, "query_id": true, "quota_key": true, "user": true, "password": true,
}

var formatText = regexp.MustCompile(`(?is)\bFORMAT\s+(\w+)\s*(?:SETTINGS\s.*)?;?\s*$`)

// ServeHTTP answers as ClickHouse's HTTP interface: a query in the parameter
// query or in the body, the data of an INSERT after it in the body.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-ClickHouse-Server-Display-Name", s.hello.DisplayName)
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/ping":
		http.NotFound(w, r)
	case r.URL.Path == "/ping" || r.Method == http.MethodGet && !r.URL.Query().Has("query"):
		_, _ = io.WriteString(w, "Ok.\n")
	default:
		if err := s.answer(w, r); err != nil {
			refuseRequest(w, err)
		}
	}
}

// refuseRequest sends the error.
func refuseRequest(w http.ResponseWriter, err error) {
	e := (*exception)(nil)
	if !errors.As(err, &e) {
		e = raise(codeUnknown, err.Error())
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.code))
	http.Error(w, e.full, httpStatus(e.code))
}

// httpStatus is ClickHouse's choice for the common errors.
func httpStatus(code int) int {
	switch code {
	case 6, 26, 27, 36, 53, codeSyntaxError, 69, 117, 457:
		return http.StatusBadRequest
	case codeReadOnly, 291, 497:
		return http.StatusForbidden
	case codeNoSuchColumn, 46, 47, 50, 56, 60, 63, 73, 81, 115:
		return http.StatusNotFound
	case codeNotImplemented:
		return http.StatusNotImplemented
	}
	return http.StatusInternalServerError
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	values := r.URL.Query()
	sql, body := values.Get("query"), io.Reader(r.Body)
	stmt, inserts := parseInsert(sql)
	if !inserts {
		text, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		sql = strings.TrimPrefix(sql+"\n"+string(text), "\n")
		stmt, inserts = parseInsert(sql)
		body = http.NoBody
	}
	var settings []setting
	var params []param
	for name, v := range values {
		if bare, ok := strings.CutPrefix(name, "param_"); ok {
			params = append(params, param{bare, v[0]})
		} else if !notSettings[name] {
			settings = append(settings, setting{name, v[0]})
		}
	}
	database := cmp.Or(values.Get("database"), r.Header.Get("X-ClickHouse-Database"), "default")
	format := cmp.Or(values.Get("default_format"), r.Header.Get("X-ClickHouse-Format"), "TabSeparated")

	c, err := s.engine.acquire(r.Context(), database, "", settings)
	if err != nil {
		return err
	}
	defer c.release()
	kind := c.analyse(sql)
	if r.Method != http.MethodPost && kind.statements > 0 && kind.class != classReadOnly {
		return raise(codeReadOnly, "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries")
	}
	if inserts {
		return c.insertData(r.Context(), stmt, params, io.MultiReader(strings.NewReader(stmt.data), body))
	}
	if err := refuse(sql, kind); err != nil {
		return err
	}
	if m := formatText.FindStringSubmatch(sql); m != nil {
		format = m[1]
	}
	w.Header().Set("X-ClickHouse-Format", format)
	if strings.HasPrefix(format, "JSON") {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8") // of others net/http finds it out
	}
	return c.query(r.Context(), sql, format, params, func(data []byte) error {
		_, _ = w.Write(data) // an error says that the client is gone
		return nil
	})
}

// insertData inserts formatted data.
func (c *conn) insertData(ctx context.Context, stmt insertStatement, params []param, data io.Reader) error {
	in, err := c.insert(stmt.into, stmt.format, params)
	if err != nil {
		return err
	}
	if _, err := io.Copy(in, data); err != nil {
		in.cancel()
		return err
	}
	return in.finish(ctx)
}
