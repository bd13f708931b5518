package clickhouse

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// Codes of exceptions that the front itself raises.
const (
	codeSyntaxError    = 62
	codeNotImplemented = 48
	codeNoSuchColumn   = 16
)

// exception is an error of the engine, with the number that ClickHouse gives it.
type exception struct {
	code int
	text string // as a server words it, without code
}

func (e *exception) Error() string {
	return "Code: " + strconv.Itoa(e.code) + ". DB::Exception: " + e.text
}

var exceptionText = regexp.MustCompile(`(?s)^(?:Error: )?((?:Code: \d+\. DB::Exception: )+)(.*?)( \(version [0-9.]+[^)]*\))?$`)
var exceptionCode = regexp.MustCompile(`\d+`)

// parseException reads the engine's error text. Without a code it is 1002,
// ClickHouse's unknown exception.
func parseException(text string) *exception {
	m := exceptionText.FindStringSubmatch(text)
	if m == nil {
		return &exception{code: 1002, text: text}
	}
	code, _ := strconv.Atoi(exceptionCode.FindString(m[1]))
	return &exception{code: code, text: m[2]}
}

// packet is the exception in the native protocol.
func (e *exception) packet() *proto.Exception {
	return &proto.Exception{Code: proto.Error(e.code), Name: "DB::Exception", Message: "DB::Exception: " + e.text}
}

// insertStatement is an INSERT whose data comes after its text.
type insertStatement struct {
	into    string   // the statement up to its data
	target  string   // what DESCRIBE TABLE takes
	columns []string // as named; none means all
	format  string   // "" after VALUES
}

var insertText = regexp.MustCompile("(?is)^\\s*(INSERT\\s+INTO\\s+(?:TABLE\\s+)?(FUNCTION\\s+\\w+\\s*\\(.*?\\)|(?:`[^`]+`|\"[^\"]+\"|[\\w$]+)(?:\\s*\\.\\s*(?:`[^`]+`|\"[^\"]+\"|[\\w$]+))?)\\s*(?:\\(([^()]*)\\))?\\s*(?:SETTINGS\\s+.*?)?)\\s*(?:VALUES|FORMAT\\s+(\\w+))\\s*;?\\s*$")
var functionKeyword = regexp.MustCompile(`(?i)^FUNCTION\s+`)

// parseInsert tells whether sql is an INSERT without its data.
func parseInsert(sql string) (insertStatement, bool) {
	m := insertText.FindStringSubmatch(sql)
	if m == nil {
		return insertStatement{}, false
	}
	s := insertStatement{into: m[1], target: functionKeyword.ReplaceAllString(m[2], ""), format: m[4]}
	for column := range strings.SplitSeq(m[3], ",") {
		if column = unquoteIdentifier(strings.TrimSpace(column)); column != "" {
			s.columns = append(s.columns, column)
		}
	}
	return s, true
}

var (
	selectText  = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:SELECT\b|WITH\b|\()`)
	useText     = regexp.MustCompile(`(?is)^\s*USE\b`)
	sessionText = regexp.MustCompile(`(?is)^\s*(?:SET\b|CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\b)`)
)

func quoteIdentifier(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}

func unquoteIdentifier(s string) string {
	if len(s) >= 2 && (s[0] == '`' || s[0] == '"') && s[len(s)-1] == s[0] {
		return unescape(s[1 : len(s)-1])
	}
	return s
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

// unquoteString undoes the quoting in which the native protocol carries the
// value of a parameter.
func unquoteString(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return unescape(s[1 : len(s)-1])
	}
	return s
}

var unescape = strings.NewReplacer(`\\`, `\`, `\'`, `'`, "\\`", "`", `\"`, `"`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00").Replace
