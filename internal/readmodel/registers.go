package readmodel

import (
	"fmt"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// registerRow is a row of registers: one register of a conversation.
type registerRow struct {
	projection.Key
	Register int8
	Sequence uint64
	projection.Version
	Value string
	// written is the value that is to be inserted.
	written valueWriter
}

var registersTable = table[registerRow]{into: "registers_in", from: "registers", columns: columns[registerRow](
	field("app", "app", func(r *registerRow) *string { return &r.App }),
	field("owner", "owner", func(r *registerRow) *string { return &r.Owner }),
	field("conversation_id", "conversation_id", func(r *registerRow) *string { return &r.ConversationID }),
	field("register", "CAST(register AS Int8)", func(r *registerRow) *int8 { return &r.Register }),
	field("sequence", "greatest.sequence", func(r *registerRow) *uint64 { return &r.Sequence }),
	field("time", "greatest.time", func(r *registerRow) *int64 { return micros(&r.Time) }),
	field("id", "greatest.id", func(r *registerRow) *string { return &r.ID }),
	registerValue(),
)}

// registerValue is a column that is not made a string before it is inserted.
func registerValue() column[registerRow] {
	c := shortened("value", "greatest.value", "if(register = 'head', substringIndex(greatest.value, '\\0', 10), greatest.value)",
		func(r *registerRow) *string { return &r.Value })
	c.value = func(r *registerRow) any { return &r.written.b }
	return c
}

// register is how a state's register is a row.
type register struct {
	number int8 // as in the schema
	set    bool // one of the settings, which most states have none of
	// write sets what an empty row has besides its key, and reports whether the register was ever written.
	write func(*projection.State, *registerRow) bool
	read  func(*projection.State, *registerRow) error
}

// registers are all of them.
var registers = []register{
	{1, false, writeHead, readHead},
	greatest(2, func(s *projection.State) *uint64 { return &s.LastSequence }),
	greatest(3, func(s *projection.State) *uint64 { return &s.EditedSequence }),
	{
		4, false,
		func(s *projection.State, _ *registerRow) bool { return s.Known },
		func(s *projection.State, _ *registerRow) error { s.Known = true; return nil },
	},
	mark(5, func(s *projection.State) *projection.ReadMark { return &s.Read }),
	mark(6, func(s *projection.State) *projection.ReadMark { return &s.PeerRead }),
	greatest(7, func(s *projection.State) *uint64 { return &s.Sent }),
	greatest(8, func(s *projection.State) *uint64 { return &s.PeerSent }),
	greatest(9, func(s *projection.State) *uint64 { return &s.Deleted }),
	greatest(10, func(s *projection.State) *uint64 { return &s.Cleared }),
	last(11, func(s *projection.Settings) *projection.Register[bool] { return &s.Pinned }, (*valueWriter).bool, (*valueReader).bool),
	text(12, func(s *projection.Settings) *projection.Register[string] { return &s.RemindType }),
	last(13, func(s *projection.Settings) *projection.Register[[]uint64] { return &s.Marks },
		each((*valueWriter).uint64), all((*valueReader).uint64)),
	last(14, func(s *projection.Settings) *projection.Register[[]string] { return &s.Groups },
		each((*valueWriter).text), all((*valueReader).text)),
	text(15, func(s *projection.Settings) *projection.Register[string] { return &s.CustomData }),
	text(16, func(s *projection.Settings) *projection.Register[string] { return &s.Draft }),
	text(17, func(s *projection.Settings) *projection.Register[string] { return &s.Remark }),
	last(18, func(s *projection.Settings) *projection.Register[projection.Member] { return &s.Member }, writeMember, readMember),
}

// greatest is a register of which only a sequence counts.
func greatest(number int8, of func(*projection.State) *uint64) register {
	return register{
		number, false,
		func(s *projection.State, r *registerRow) bool { r.Sequence = *of(s); return r.Sequence != 0 },
		func(s *projection.State, r *registerRow) error { *of(s) = r.Sequence; return nil },
	}
}

// mark is a register of the greatest sequence, of equal ones the latest.
func mark(number int8, of func(*projection.State) *projection.ReadMark) register {
	return register{
		number, false,
		func(s *projection.State, r *registerRow) bool {
			r.Sequence, r.Time = of(s).Sequence, of(s).Time
			return *of(s) != projection.ReadMark{}
		},
		func(s *projection.State, r *registerRow) error {
			*of(s) = projection.ReadMark{Sequence: r.Sequence, Time: r.Time}
			return nil
		},
	}
}

// last is a register of the last writer.
func last[T any](
	number int8, of func(*projection.Settings) *projection.Register[T], write func(*valueWriter, T), read func(*valueReader) T,
) register {
	return register{
		number, true,
		func(s *projection.State, r *registerRow) bool {
			set := of(s.Settings())
			if !set.Written() {
				return false
			}
			write(&r.written, set.Value)
			r.Version = set.Version
			return true
		},
		func(s *projection.State, r *registerRow) error {
			v := readValue(r.Value)
			s.Set = &projection.Settings{}
			*of(s.Set) = projection.Register[T]{Version: r.Version, Value: read(v)}
			return v.err
		},
	}
}

func text(number int8, of func(*projection.Settings) *projection.Register[string]) register {
	return last(number, of, (*valueWriter).text, (*valueReader).text)
}

// each writes a set whose elements are not empty.
func each[T any](write func(*valueWriter, T)) func(*valueWriter, []T) {
	return func(w *valueWriter, set []T) {
		for _, element := range set {
			write(w, element)
		}
	}
}

func all[T any](read func(*valueReader) T) func(*valueReader) []T {
	return func(r *valueReader) (set []T) {
		for r.rest != "" {
			set = append(set, read(r))
		}
		return set
	}
}

func writeHead(s *projection.State, r *registerRow) bool {
	h := s.Head
	if h == nil {
		return false
	}
	w := &r.written
	for _, field := range [...]string{h.MessageID, h.From, h.Type, h.Preview, h.Nick, h.Avatar, h.NameCard, h.CloudCustomData} {
		w.text(field)
	}
	w.uint32(h.PayloadBytes)
	w.text(h.Payload)
	w.text(h.LargePayload)
	r.Sequence, r.Version = h.Sequence, projection.Version{Time: h.Time, ID: h.ID}
	return true
}

func readHead(s *projection.State, r *registerRow) error {
	v := readValue(r.Value)
	s.Head = &projection.Head{
		Sequence: r.Sequence, Time: r.Time, ID: r.ID,
		MessageID: v.text(), From: v.text(), Type: v.text(), Preview: v.text(),
		Nick: v.text(), Avatar: v.text(), NameCard: v.text(), CloudCustomData: v.text(),
		PayloadBytes: v.uint32(), Payload: v.text(), LargePayload: v.text(),
	}
	return v.err
}

func writeMember(w *valueWriter, m projection.Member) {
	w.text(m.Status)
	w.text(m.Role)
	w.text(m.NameCard)
	w.uint64(m.JoinSequence)
	w.time(m.JoinTime)
	w.text(m.OperatorID)
}

func readMember(v *valueReader) projection.Member {
	return projection.Member{
		Status: v.text(), Role: v.text(), NameCard: v.text(),
		JoinSequence: v.uint64(), JoinTime: v.time(), OperatorID: v.text(),
	}
}

// ofState yields the rows of a state's registers, whose key the row has.
func (r *registerRow) ofState(s *projection.State, yield func(*registerRow) bool) bool {
	for i := range registers {
		if registers[i].set && s.Set == nil {
			continue
		}
		r.Register, r.Sequence, r.Version = registers[i].number, 0, projection.Version{}
		r.written.reset()
		if registers[i].write(s, r) && !yield(r) {
			return false
		}
	}
	return true
}

// readInto sets the register of the row in an empty state.
func (r *registerRow) readInto(s *projection.State) error {
	at := int(r.Register) - 1
	if at < 0 || at >= len(registers) {
		return fmt.Errorf("register %d: expected 1 to %d", r.Register, len(registers))
	}
	if err := registers[at].read(s, r); err != nil {
		return fmt.Errorf("register %d of %q under %q in app %s: %w", r.Register, r.ConversationID, r.Owner, r.App, err)
	}
	return nil
}

// userRow and groupRow are rows of user_profiles and group_profiles.
type (
	userRow struct {
		projection.UserKey
		projection.Version
		Value string
	}
	groupRow struct {
		projection.GroupKey
		projection.Version
		Value string
	}
)

var usersTable = table[userRow]{into: "user_profiles_in", from: "user_profiles", columns: columns[userRow](
	field("app", "app", func(r *userRow) *string { return &r.App }),
	field("user_id", "user_id", func(r *userRow) *string { return &r.UserID }),
	field("time", "profile.time", func(r *userRow) *int64 { return micros(&r.Time) }),
	field("id", "profile.id", func(r *userRow) *string { return &r.ID }),
	shortened("value", "profile.value", "substringIndex(profile.value, '\\0', 2)", func(r *userRow) *string { return &r.Value }),
)}

var groupsTable = table[groupRow]{into: "group_profiles_in", from: "group_profiles", columns: columns[groupRow](
	field("app", "app", func(r *groupRow) *string { return &r.App }),
	field("group_id", "group_id", func(r *groupRow) *string { return &r.GroupID }),
	field("time", "profile.time", func(r *groupRow) *int64 { return micros(&r.Time) }),
	field("id", "profile.id", func(r *groupRow) *string { return &r.ID }),
	shortened("value", "profile.value", "substringIndex(profile.value, '\\0', 4)", func(r *groupRow) *string { return &r.Value }),
)}

func newUserRow(k projection.UserKey, p *projection.UserProfile) userRow {
	var w valueWriter
	v := &p.Value
	w.text(v.Nick)
	w.text(v.Avatar)
	w.text(v.Gender)
	w.uint32(v.Birthday)
	w.text(v.Location)
	w.text(v.SelfSignature)
	w.text(v.AllowType)
	w.uint32(v.Language)
	w.uint32(v.MessageSettings)
	w.text(v.AdminForbidType)
	w.uint32(v.Level)
	w.uint32(v.Role)
	w.pairs(v.ProfileCustomField)
	return userRow{k, p.Version, w.String()}
}

func (r *userRow) profile() (*projection.UserProfile, error) {
	v := readValue(r.Value)
	p := &projection.UserProfile{Version: r.Version, Value: events.UserProfileChanged{
		UserID: r.UserID, Nick: v.text(), Avatar: v.text(),
		Gender: v.text(), Birthday: v.uint32(), Location: v.text(), SelfSignature: v.text(), AllowType: v.text(),
		Language: v.uint32(), MessageSettings: v.uint32(), AdminForbidType: v.text(), Level: v.uint32(), Role: v.uint32(),
		ProfileCustomField: v.pairs(),
	}}
	if v.err != nil {
		return nil, fmt.Errorf("user %q of app %s: %w", r.UserID, r.App, v.err)
	}
	return p, nil
}

func newGroupRow(k projection.GroupKey, p *projection.GroupProfile) groupRow {
	var w valueWriter
	v := &p.Value
	w.text(v.Name)
	w.text(v.Avatar)
	w.text(v.Type)
	w.bool(v.Dismissed)
	w.text(v.Introduction)
	w.text(v.Notification)
	w.text(v.OwnerID)
	w.time(v.CreateTime)
	w.uint64(v.MemberCount)
	w.uint64(v.MaxMemberCount)
	w.bool(v.MuteAllMembers)
	w.text(v.JoinOption)
	w.text(v.InviteOption)
	w.bool(v.IsSupportTopic)
	w.uint64(v.InfoSequence)
	w.pairs(v.GroupCustomField)
	return groupRow{k, p.Version, w.String()}
}

func (r *groupRow) profile() (*projection.GroupProfile, error) {
	v := readValue(r.Value)
	p := &projection.GroupProfile{Version: r.Version, Value: events.GroupProfileChanged{
		GroupID: r.GroupID, Name: v.text(), Avatar: v.text(), Type: v.text(), Dismissed: v.bool(),
		Introduction: v.text(), Notification: v.text(), OwnerID: v.text(), CreateTime: v.time(),
		MemberCount: v.uint64(), MaxMemberCount: v.uint64(), MuteAllMembers: v.bool(),
		JoinOption: v.text(), InviteOption: v.text(), IsSupportTopic: v.bool(), InfoSequence: v.uint64(),
		GroupCustomField: v.pairs(),
	}}
	if v.err != nil {
		return nil, fmt.Errorf("group %q of app %s: %w", r.GroupID, r.App, v.err)
	}
	return p, nil
}
