package query

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Bounds of a request's fields.
const (
	maxTimeout         = 5000 // milliseconds; also the default
	maxConversationIDs = 500
	maxPlanList        = 1000 // no app's lists are longer
)

// What fields are expected to be.
const (
	expectID             = "expected 1 to 128 bytes of UTF-8 without control characters"
	expectConversationID = "expected C2C<userID>, GROUP<groupID> or " + events.SystemConversationID
	expectType           = "expected C2C, GROUP or " + events.SystemConversationID
	expectText           = "expected a text"
	expectBool           = "expected true or false"
	expectCursor         = "expected the nextCursor of the page before, with that page's userID and filters; the first page has none"
)

// query is a decoded request. Each endpoint has its own part of the fields.
type query struct {
	app, userID    string
	timeout        time.Duration
	after          []offset
	conversationID string            // profile
	filter         projection.Filter // list and unread
	includeMuted   bool              // unread
	limit          uint64            // list; 0: not given
	cursor         *string           // list
	sync           bool              // list
	since          *string           // list
	now            events.Micros     // one for the whole request
	begin          time.Time         // nothing older is shown than what a load then would bring
	progress
}

// progress is what a request has gathered so far for its answer.
type progress struct {
	cache    *cache // of the generation that it is answered from
	demand   demand
	inbox    *entry[inbox] // list and unread: held until the answer
	lacked   int           // list: how often something was lacking of what it shows
	lent     *page         // list: the reply, until it is sent
	profiled *profiled     // profile
}

// plain reports whether the query asks for nothing special, its limit aside.
func (q *query) plain() bool { return q.filter.All() && q.cursor == nil && !q.syncs() }

// syncs reports whether the query is about what a client holds.
func (q *query) syncs() bool { return q.sync || q.since != nil }

func decodeList(f *fields, q *query) {
	f.common(q)
	f.filter(&q.filter)
	if limit := f.integer("limit", 1, maxPlanList); limit != nil {
		q.limit = *limit
	}
	q.cursor = f.text("cursor", expectCursor, nil)
	if sync := f.boolean("sync"); sync != nil {
		q.sync = *sync
	}
	q.since = f.text("since", "expected a syncToken", nil)
}

func decodeUnread(f *fields, q *query) {
	f.common(q)
	f.filter(&q.filter)
	if muted := f.boolean("includeMuted"); muted != nil {
		q.includeMuted = *muted
	}
}

func decodeProfile(f *fields, q *query) {
	f.common(q)
	q.conversationID = f.required("conversationID", expectConversationID, validConversationID)
}

func validConversationID(id string) bool {
	_, _, ok := events.SplitConversationID(id)
	return ok
}

func (f *fields) common(q *query) {
	q.userID = f.required("userID", expectID, events.ValidID)
	q.timeout = maxTimeout * time.Millisecond
	if ms := f.integer("timeoutMs", 1, maxTimeout); ms != nil {
		q.timeout = time.Duration(*ms) * time.Millisecond // at most maxTimeout
	}
	q.after = f.offsets("after")
}

// offset is a place that the projector has to have applied.
type offset struct {
	events.Partition
	at int64
}

const anOffset = `{"topic","partition","offset"}`

// offsets gives a list of offsets, as long as fits into a request. One after the
// other is decoded: a decoded list takes many times what was sent.
func (f *fields) offsets(name string) []offset {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	if v.Kind() != '[' {
		f.fail(name, v, "expected a list of "+anOffset)
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(v))
	_, _ = dec.ReadToken() // all of it is valid
	var offsets []offset
	for i := 0; dec.PeekKind() != ']'; i++ {
		at := fmt.Sprintf("%s[%d]", name, i)
		e := &fields{}
		element, err := dec.ReadValue()
		if err != nil || json.Unmarshal(element, e) != nil {
			f.fail(at, element, "expected "+anOffset)
			return nil
		}
		offsets = append(offsets, e.offset())
		if unknown := e.unknown(func(e *fields) { e.offset() }); unknown != nil {
			e.err = unknown
		}
		if e.err != nil {
			f.err = badRequest("%s: %s", at, e.err.Message)
			return nil
		}
	}
	return offsets
}

func (f *fields) offset() offset {
	topic := f.required("topic", "expected the name of a topic", nil)
	partition := f.requiredInteger("partition", math.MaxInt32)
	place := f.requiredInteger("offset", math.MaxInt64-1)
	return offset{events.Partition{Topic: topic, ID: int(partition)}, int64(place)} // bounded above
}

// conversationTypes are the types by their names.
var conversationTypes = map[string]events.ConversationType{
	events.TypeC2C.String():    events.TypeC2C,
	events.TypeGroup.String():  events.TypeGroup,
	events.TypeSystem.String(): events.TypeSystem,
}

func (f *fields) filter(to *projection.Filter) {
	to.IDs = f.conversationIDs("conversationIDList")
	if name := f.text("type", expectType, func(s string) bool { return conversationTypes[s] != 0 }); name != nil {
		to.Type = conversationTypes[*name]
	}
	to.MarkType = f.integer("markType", 0, events.MaxSequence)
	to.GroupName = f.text("groupName", expectText, nil)
	to.HasUnreadCount = f.boolean("hasUnreadCount")
	to.HasGroupAtInfo = f.boolean("hasGroupAtInfo")
}

// fields are the fields of a request that nobody has asked for yet. The first
// error stays and what is asked for after it is not looked at.
type fields struct {
	left  []field
	named *[]string // takes the names of all fields that are asked for, unless it is nil
	err   *replyError
}

type field struct {
	name  string
	value jsontext.Value
}

// UnmarshalJSONFrom takes all fields of an object. A list of few is searched in
// less time than a map of them is made.
func (f *fields) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	begin, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if begin.Kind() != '{' {
		return errNoObject
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		text := name.String() // before the token's bytes are gone
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		f.left = append(f.left, field{text, value.Clone()})
	}
	_, err = dec.ReadToken()
	return err
}

var errNoObject = errors.New("no object")

// unknown is the error of a field that nobody has asked for, if there is one; ask
// asks for all that there may be.
func (f *fields) unknown(ask func(*fields)) *replyError {
	if len(f.left) == 0 {
		return nil
	}
	var names []string
	ask(&fields{named: &names})
	first := slices.MinFunc(f.left, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return badRequest("unknown field %s: expected %s", quote(first.name), strings.Join(names, ", "))
}

// decode decodes a request. JSON is taken strictly: names are case-sensitive
// and come once, text is valid UTF-8, nothing follows the object.
func decode(app string, data []byte, endpoint func(*fields, *query)) (*query, error) {
	q := &query{app: app}
	if !events.ValidApp(app) {
		return nil, badRequest("app %s: expected 1 to 64 of A-Z, a-z, 0-9, _ and - as the subject's third token", quote(app))
	}
	f := &fields{}
	if err := json.Unmarshal(data, f); err != nil {
		return nil, badRequest("request %s: expected one JSON object%s", quote(string(data)), detail(err))
	}
	endpoint(f, q)
	// A misspelt name is named first: what it leaves out may well be the other error.
	if err := f.unknown(func(f *fields) { endpoint(f, &query{}) }); err != nil {
		return nil, err
	}
	if f.err != nil {
		return nil, f.err
	}
	return q, nil
}

// detail says where JSON is malformed, and how.
func detail(err error) string {
	var syntax *jsontext.SyntacticError
	if !errors.As(err, &syntax) {
		return ""
	}
	where := fmt.Sprintf(" (byte %d", syntax.ByteOffset)
	if name := syntax.JSONPointer.LastToken(); name != "" {
		where += ", " + quote(name)
	}
	return where + ": " + printable(syntax.Err.Error()) + ")"
}

// take gives a field's value; null is absent.
func (f *fields) take(name string) (jsontext.Value, bool) {
	if f.named != nil {
		*f.named = append(*f.named, name)
	}
	i := slices.IndexFunc(f.left, func(one field) bool { return one.name == name })
	if i < 0 {
		return nil, false
	}
	v := f.left[i].value
	f.left = slices.Delete(f.left, i, i+1)
	return v, f.err == nil && v.Kind() != 'n'
}

func (f *fields) fail(name string, v jsontext.Value, expected string) {
	if f.err == nil {
		f.err = badRequest("%s %s: %s", name, show(v), expected)
	}
}

func (f *fields) text(name, expected string, valid func(string) bool) *string {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	s, ok := unquote(v)
	if !ok || valid != nil && !valid(s) {
		f.fail(name, v, expected)
		return nil
	}
	return &s
}

func (f *fields) required(name, expected string, valid func(string) bool) string {
	s := f.text(name, expected, valid)
	if s != nil {
		return *s
	}
	if f.err == nil {
		f.err = badRequest("%s is missing: %s", name, expected)
	}
	return ""
}

func (f *fields) boolean(name string) *bool {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	b := v.Kind() == 't'
	if !b && v.Kind() != 'f' {
		f.fail(name, v, expectBool)
		return nil
	}
	return &b
}

func (f *fields) integer(name string, least, most uint64) *uint64 {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	// A string never parses: its quotes are still on it.
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil || n < least || n > most {
		f.fail(name, v, fmt.Sprintf("expected an integer from %d to %d", least, most))
		return nil
	}
	return &n
}

func (f *fields) requiredInteger(name string, most uint64) uint64 {
	n := f.integer(name, 0, most)
	if n != nil {
		return *n
	}
	if f.err == nil {
		f.err = badRequest("%s is missing: expected an integer from 0 to %d", name, most)
	}
	return 0
}

// conversationIDs gives a set of conversation IDs; nil when the field is absent.
func (f *fields) conversationIDs(name string) map[string]struct{} {
	v, ok := f.take(name)
	if !ok {
		return nil
	}
	// Counted first: a decoded list takes many times what was sent.
	if n := entries(v); n > maxConversationIDs {
		f.err = badRequest("%s of %d: expected at most %d", name, n, maxConversationIDs)
		return nil
	}
	var list []jsontext.Value
	if v.Kind() != '[' || json.Unmarshal(v, &list) != nil {
		f.fail(name, v, "expected a list of conversation IDs")
		return nil
	}
	ids := make(map[string]struct{}, len(list))
	for i, element := range list {
		id, ok := unquote(element)
		if !ok || !validConversationID(id) {
			f.fail(fmt.Sprintf("%s[%d]", name, i), element, expectConversationID)
			return nil
		}
		ids[id] = struct{}{}
	}
	return ids
}

// entries is the length of a list; of anything else it is 0.
func entries(v jsontext.Value) int {
	dec := jsontext.NewDecoder(bytes.NewBuffer(v))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '[' {
		return 0
	}
	n := 0
	for dec.PeekKind() != ']' && dec.SkipValue() == nil {
		n++
	}
	return n
}

// unquote is the text that v is, if it is one.
func unquote(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	s, err := jsontext.AppendUnquote(nil, v)
	return string(s), err == nil
}

// show is a field's value as an error cites it: texts in quotes, all else as it is.
func show(v jsontext.Value) string {
	if s, ok := unquote(v); ok {
		return quote(s)
	}
	return printable(shorten(string(v)))
}

// quote cites s on one line.
func quote(s string) string { return strconv.Quote(shorten(s)) }

// shorten cuts s where an error would become unreadable.
func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	end := most
	for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// printable keeps s on one line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
