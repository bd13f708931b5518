package readmodel

import (
	"fmt"
	"slices"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// micros makes a column of type Int64 of a time.
func micros(m *events.Micros) *int64 { return (*int64)(m) }

// columns joins single columns and lists of them.
func columns[R any](parts ...any) []column[R] {
	var all []column[R]
	for _, p := range parts {
		switch p := p.(type) {
		case column[R]:
			all = append(all, p)
		case []column[R]:
			all = append(all, p...)
		}
	}
	return all
}

// The kinds of rows of sequences.
const (
	kindCounted    int8 = 1
	kindUncounted  int8 = 2
	kindRecalled   int8 = 3
	kindMentioning int8 = 4
)

// sequencesRow is a row of sequences: one set of one day, or the recalled ones of all days.
type sequencesRow struct {
	projection.Key
	Day  events.Day
	Kind int8
	Set  projection.Sequences
	// Bitmap is the set as ClickHouse serializes its state.
	Bitmap string
}

var sequencesTable = table[sequencesRow]{into: "sequences_in", from: "sequences", columns: columns[sequencesRow](
	field("app", "app", func(r *sequencesRow) *string { return &r.App }),
	field("owner", "owner", func(r *sequencesRow) *string { return &r.Owner }),
	field("conversation_id", "conversation_id", func(r *sequencesRow) *string { return &r.ConversationID }),
	day(func(r *sequencesRow) *events.Day { return &r.Day }),
	field("kind", "CAST(kind AS Int8)", func(r *sequencesRow) *int8 { return &r.Kind }),
	set(),
)}

// readInto sets what the row says in an empty state.
func (r *sequencesRow) readInto(s *projection.State) error {
	set, err := decodeBitmap(r.Bitmap)
	if err != nil {
		return err
	}
	switch r.Kind {
	case kindRecalled:
		s.Recalled = set
	case kindCounted:
		s.Days = append(s.Days, projection.Day{Day: r.Day, Counted: set})
	case kindUncounted:
		s.Days = append(s.Days, projection.Day{Day: r.Day, Uncounted: set})
	case kindMentioning:
		for sequence := range set.All() {
			s.Mentions = append(s.Mentions, projection.Mention{Day: r.Day, Sequence: sequence})
		}
	default:
		return fmt.Errorf("sequences of kind %d: expected 1 to 4", r.Kind)
	}
	return nil
}

// set is the column of a set: written as its elements, read as the engine's own state, which
// costs a run of any length nothing.
func set() column[sequencesRow] {
	return column[sequencesRow]{
		name: "sequences", expr: "CAST(sequences AS String)",
		value: func(r *sequencesRow) any { return slices.Collect(r.Set.All()) },
		dest:  func(r *sequencesRow) any { return &r.Bitmap },
	}
}

// day is a column of type Date32: a Date ends in 2149.
func day[R any](at func(*R) *events.Day) column[R] {
	return column[R]{
		name: "day", expr: "toInt32(day)",
		value: func(r *R) any { return at(r).Time() },
		dest:  func(r *R) any { return (*int32)(at(r)) },
	}
}

// The edits of a message.
const (
	editRecall       int8 = 1
	editModification int8 = 2
)

// editRow is a row of edits: a recall or a modification of one message.
type editRow struct {
	App, Type, A, B string
	Sequence        uint64
	Edit            int8
	Number          uint64
	projection.Version
	Value string
}

var editsTable = table[editRow]{into: "edits_in", from: "edits", columns: columns[editRow](
	field("app", "app", func(r *editRow) *string { return &r.App }),
	field("type", "type", func(r *editRow) *string { return &r.Type }),
	field("a", "a", func(r *editRow) *string { return &r.A }),
	field("b", "b", func(r *editRow) *string { return &r.B }),
	field("sequence", "sequence", func(r *editRow) *uint64 { return &r.Sequence }),
	field("edit", "CAST(edit AS Int8)", func(r *editRow) *int8 { return &r.Edit }),
	field("version", "greatest.version", func(r *editRow) *uint64 { return &r.Number }),
	field("time", "greatest.time", func(r *editRow) *int64 { return micros(&r.Time) }),
	field("id", "greatest.id", func(r *editRow) *string { return &r.ID }),
	field("value", "greatest.value", func(r *editRow) *string { return &r.Value }),
)}

func (r *editRow) key() projection.EditKey {
	return projection.EditKey{
		App:          r.App,
		Conversation: events.Conversation{Type: typeOf(r.Type), A: r.A, B: r.B},
		Sequence:     r.Sequence,
	}
}

// editRows yields the rows of what happened to a message.
func editRows(k projection.EditKey, e *projection.Edit, yield func(*editRow) bool) bool {
	row := editRow{App: k.App, Type: typeName(k.Conversation.Type), A: k.Conversation.A, B: k.Conversation.B, Sequence: k.Sequence}
	if recall := &e.Recall; recall.Written() {
		var w valueWriter
		w.text(recall.Value.Revoker)
		w.text(recall.Value.Reason)
		row.Edit, row.Version, row.Value = editRecall, recall.Version, w.String()
		if !yield(&row) {
			return false
		}
	}
	if m := &e.Modification; m.Number != 0 {
		var w valueWriter
		w.text(m.Payload)
		w.bool(m.HasMessageForShow)
		w.text(m.MessageForShow)
		w.text(m.PayloadText)
		w.bool(m.HasCloudCustomData)
		w.text(m.CloudCustomData)
		w.text(m.From)
		row.Edit, row.Number, row.Version, row.Value = editModification, m.Number, projection.Version{Time: m.Time, ID: m.ID}, w.String()
		return yield(&row)
	}
	return true
}

// edit is the edit that has what the row says alone.
func (r *editRow) edit() (*projection.Edit, error) {
	e, v := &projection.Edit{}, readValue(r.Value)
	switch r.Edit {
	case editRecall:
		e.Recall = projection.Register[projection.Recall]{
			Version: r.Version, Value: projection.Recall{Revoker: v.text(), Reason: v.text()},
		}
	case editModification:
		e.Modification = projection.Modification{
			Number: r.Number, Time: r.Time, ID: r.ID,
			Payload: v.text(), HasMessageForShow: v.bool(), MessageForShow: v.text(), PayloadText: v.text(),
			HasCloudCustomData: v.bool(), CloudCustomData: v.text(), From: v.text(),
		}
	default:
		return nil, fmt.Errorf("edit %d: expected 1 or 2", r.Edit)
	}
	if v.err != nil {
		return nil, fmt.Errorf("edit %d of message %d in app %s: %w", r.Edit, r.Sequence, r.App, v.err)
	}
	return e, nil
}

// messageRow is a row of messages.
type messageRow struct {
	App, Type, A, B string
	Day             events.Day
	Sequence        uint64
	Time            events.Micros
	ID              string
	projection.Message
}

var messagesTable = table[messageRow]{into: "messages", from: "messages", columns: columns[messageRow](
	field("app", "app", func(r *messageRow) *string { return &r.App }),
	field("type", "type", func(r *messageRow) *string { return &r.Type }),
	field("a", "a", func(r *messageRow) *string { return &r.A }),
	field("b", "b", func(r *messageRow) *string { return &r.B }),
	day(func(r *messageRow) *events.Day { return &r.Day }),
	field("sequence", "sequence", func(r *messageRow) *uint64 { return &r.Sequence }),
	field("time", "time", func(r *messageRow) *int64 { return micros(&r.Time) }),
	field("id", "id", func(r *messageRow) *string { return &r.ID }),
	field("sender", "sender", func(r *messageRow) *string { return &r.From }),
	fullField("recipient", "recipient", func(r *messageRow) *string { return &r.To }),
	fullField("message_id", "message_id", func(r *messageRow) *string { return &r.MessageID }),
	fullField("message_type", "message_type", func(r *messageRow) *string { return &r.Message.Type }),
	fullField("text", "text", func(r *messageRow) *string { return &r.Text }),
	mentions(),
	fullField("mentions_all", "mentions_all", func(r *messageRow) *bool { return &r.AtAll }),
	fullField("counted", "counted", func(r *messageRow) *bool { return &r.Counted }),
	fullField("shown", "shown", func(r *messageRow) *bool { return &r.Shown }),
)}

// mentions is a column of a list, which clickhouse-go takes by value.
func mentions() column[messageRow] {
	c := fullField("mentions", "mentions", func(r *messageRow) *[]string { return &r.AtUsers })
	c.value = func(r *messageRow) any { return r.AtUsers }
	return c
}

// planRow is a row of plans.
type planRow struct {
	App  string
	Plan projection.Plan
}

var plansTable = table[planRow]{into: "plans_in", from: "plans", columns: columns[planRow](
	field("app", "app", func(r *planRow) *string { return &r.App }),
	field("time", "plan.time", func(r *planRow) *int64 { return micros(&r.Plan.Time) }),
	field("id", "plan.id", func(r *planRow) *string { return &r.Plan.ID }),
	field("max_conversations", "plan.max_conversations", func(r *planRow) *uint32 { return &r.Plan.Value.MaxConversations }),
	field("retention", "plan.retention", func(r *planRow) *uint64 { return &r.Plan.Value.Retention }),
)}

var erasedTable = table[projection.Erasure]{into: "erased_users", from: "erased_users", columns: columns[projection.Erasure](
	field("app", "app", func(r *projection.Erasure) *string { return &r.App }),
	field("user_id", "user_id", func(r *projection.Erasure) *string { return &r.UserID }),
	fullField("id", "id", func(r *projection.Erasure) *string { return &r.ID }),
)}
