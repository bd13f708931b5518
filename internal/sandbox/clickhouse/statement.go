package clickhouse

import (
	"regexp"
	"strconv"
	"strings"
)

// ClickHouse's numbers of the errors that the front itself raises or tells apart.
const (
	codeNoSuchColumn   = 16
	codeNotImplemented = 48
	codeSyntaxError    = 62
	codeReadOnly       = 164
	codeUnknown        = 1002

	codeAuthenticationFailed = 516
)

// exception is an error of the engine.
type exception struct {
	code int
	text string // without code, name and version, as the native protocol has it
	full string // as HTTP has it
}

func (e *exception) Error() string { return e.full }

// raise makes an exception of the front's own.
func raise(code int, text string) *exception {
	return &exception{code, text, "Code: " + strconv.Itoa(code) + ". DB::Exception: " + text}
}

var exceptionText = regexp.MustCompile(`(?s)^(?:Error: )?(?:Code: (\d+)\. DB::Exception: )+(.*?)(?: \([A-Z0-9_]+\))?(?: \(version [^)]*\)*)?$`)

// parseException reads the engine's error text.
func parseException(text string) *exception {
	m := exceptionText.FindStringSubmatch(text)
	if m == nil {
		return raise(codeUnknown, text)
	}
	code, _ := strconv.Atoi(m[1]) // digits
	return &exception{code, m[2], strings.TrimPrefix(text, "Error: ")}
}

// insertStatement is an INSERT of formatted data.
type insertStatement struct {
	into    string   // the statement up to VALUES or FORMAT
	target  string   // what DESCRIBE TABLE takes
	columns []string // as named; none means all
	format  string
	data    string // what follows in the text
}

// insertText leaves INSERT … VALUES (…) to the engine, whose parser finds the
// end of the values, and INSERT … SELECT.
var insertText = func() *regexp.Regexp {
	const name, value = "(?:`[^`]+`|\"[^\"]+\"|\\w+)", `\w+\s*=\s*(?:'[^']*'|[\w.-]+)`
	return regexp.MustCompile(`(?is)^\s*(INSERT\s+INTO\s+(?:TABLE\s+)?(FUNCTION\s+\w+\s*\(.*?\)|` + name + `(?:\.` + name + `)?)` +
		`\s*(?:\(([^()]*)\))?(?:\s*SETTINGS\s+` + value + `(?:\s*,\s*` + value + `)*)?)` +
		`\s*(?:VALUES\s*;?\s*$|FORMAT\s+(\w+)[ \t]*(?:;?\s*$|\r?\n?(.*)$))`)
}()

var functionKeyword = regexp.MustCompile(`(?i)^FUNCTION\s+`)

// parseInsert tells whether sql is an INSERT of formatted data.
func parseInsert(sql string) (insertStatement, bool) {
	m := insertText.FindStringSubmatch(sql)
	if m == nil {
		return insertStatement{}, false
	}
	s := insertStatement{into: strings.TrimSpace(m[1]), target: functionKeyword.ReplaceAllString(m[2], ""), format: m[4], data: m[5]}
	if s.format == "" {
		s.format = "Values"
	}
	for column := range strings.SplitSeq(m[3], ",") {
		if column = strings.TrimSpace(column); column != "" {
			s.columns = append(s.columns, unquote(column, "`\""))
		}
	}
	return s, true
}

var (
	selectText  = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SELECT\b|WITH\b|\()`)
	useText     = regexp.MustCompile(`(?is)^\s*USE\b`)
	sessionText = regexp.MustCompile(`(?is)^\s*(?:SET\b|CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\b)`)
)

// What is said to a cluster's other replicas is not for this one, which has none: the
// engine by itself has no queue of ON CLUSTER statements, and replicates nothing.
var toReplicas = []struct {
	text *regexp.Regexp
	here string
}{
	{regexp.MustCompile(`(?s)^(\s*(?:CREATE|DROP|ALTER|GRANT)\b.*?) ON CLUSTER '?` + Cluster + `\b'?`), "$1"},
	{regexp.MustCompile(`(?s)^(CREATE DATABASE .*) ENGINE = Replicated\(.*\)$`), "$1"},
	{regexp.MustCompile(`(?s)^(CREATE TABLE .*\nENGINE = )Replicated(\w*MergeTree)(?:\('[^']*', '[^']*'\))?`), "$1$2"},
	{regexp.MustCompile(`^SYSTEM SYNC (?:DATABASE )?REPLICA .*$`), "SELECT 1"},
}

// alone is a statement without what it says to other replicas.
func alone(sql string) string {
	for _, r := range toReplicas {
		sql = r.text.ReplaceAllString(sql, r.here)
	}
	return sql
}

// refuse names what a server refuses and the engine by itself does not, and
// what the front does not do.
func refuse(sql string, kind analysis) error {
	if kind.statements > 1 {
		return raise(codeSyntaxError, "Syntax error (Multi-statements are not allowed)")
	}
	if sessionText.MatchString(sql) {
		return raise(codeNotImplemented, "The sandbox keeps no session: give settings with the query or in the connection's options, and use ordinary tables")
	}
	return nil
}

func quoteIdentifier(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

var unescape = strings.NewReplacer(`\\`, `\`, `\'`, `'`, "\\`", "`", `\"`, `"`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00")

// unquote undoes quoting by one of the quotes.
func unquote(s, quotes string) string {
	if len(s) >= 2 && strings.IndexByte(quotes, s[0]) >= 0 && s[len(s)-1] == s[0] {
		return unescape.Replace(s[1 : len(s)-1])
	}
	return s
}
