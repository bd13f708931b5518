package readmodel

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/convoview/convoview/internal/events"
	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// fragments are what several views need, by their names in schemas/clickhouse/views.sql.
var fragments = strings.NewReplacer(
	"{erased}", "(SELECT app, user_id FROM {db}.erased_users)",
	"{first_day}", fmt.Sprintf(`multiIf(
        ifNull(p.plan.time, 0) = 0, intDiv(toUnixTimestamp(now()) - %d, 86400),
        ifNull(p.plan.retention, 0) = 0, 0,
        intDiv(toInt64(toUnixTimestamp(now())) - toInt64(ifNull(p.plan.retention, 0)), 86400))`, events.DefaultRetention),
	"{unescaped}", `t -> replaceAll(replaceAll(t, '\x01\x01', '\0'), '\x01\x02', '\x01') AS unescaped`,
	"{preview}", "(type, text) -> "+previewOf()+" AS preview",
)

// shownByType are the types of messages whose preview is not their text.
var shownByType = []string{
	"TIMImageElem", "TIMSoundElem", "TIMVideoFileElem", "TIMFileElem", "TIMFaceElem", "TIMLocationElem",
	"TIMCustomElem", "TIMRelayElem", "TIMGroupTipElem", "TIMGroupSystemNoticeElem",
}

// previewOf is events.Preview as an expression.
func previewOf() string {
	var cases strings.Builder
	for _, t := range shownByType {
		fmt.Fprintf(&cases, "type = %s, %s, ", quoted(t), quoted(events.Preview(t, "")))
	}
	return fmt.Sprintf("multiIf(type = %s, text, %s%s)", quoted(events.TypeText), cases.String(), quoted(events.Preview("", "")))
}

// viewHead is the beginning of a view in schemas/clickhouse/views.sql: its name, its
// columns and its comment.
var viewHead = regexp.MustCompile(`(?s)^CREATE OR REPLACE VIEW \S*\.(\w+)_view\n(\(\n.*?\n\))\n(COMMENT '[^\n]*')\nAS\n`)

// viewColumn is a column of a view.
var viewColumn = regexp.MustCompile(`(?m)^ +(\w+) .* COMMENT '`)

// generationViews gives the statements that make the views of a generation.
func (f form) generationViews(db string) []string {
	list := statements(schema.Views, "{db}") // fragments have it, too
	for i := range list {
		list[i] = f.view(strings.ReplaceAll(fragments.Replace(list[i]), "{db}", db))
	}
	return list
}

// views gives those that make the views that show those of the generation that is read.
// There has to be one.
func (f form) views(db string) []string {
	var list []string
	for _, statement := range statements(schema.Views, db) {
		head := viewHead.FindStringSubmatch(statement)
		var names []string
		for _, column := range viewColumn.FindAllStringSubmatch(head[2], -1) {
			names = append(names, column[1])
		}
		for _, view := range statements(strings.NewReplacer(
			"{view}", head[1], "{columns}", head[2], "{comment}", head[3], "{names}", strings.Join(names, ", "), "{claims}", f.claims(db),
		).Replace(schema.View), db) {
			list = append(list, f.view(view))
		}
	}
	return list
}
