package projection

import (
	"encoding/binary"
	"errors"

	"github.com/convoview/convoview/internal/events"
)

// The compact form of a State is for keeping millions of them in memory: an
// absent register takes a bit, a number as few bytes as it needs. It is no
// format to store or to send: it changes with the code.

// The parts of a state, as bits of its compact form.
const (
	hasHead = 1 << iota
	hasSequences
	hasDays
	hasRecalled
	hasMentions
	isKnown
	hasRead
	hasPeerRead
	hasSent
	hasFloors
	hasPinned
	hasRemindType
	hasMarks
	hasGroups
	hasCustomData
	hasDraft
	hasRemark
	hasMember

	areSet = hasPinned | hasRemindType | hasMarks | hasGroups | hasCustomData | hasDraft | hasRemark | hasMember
)

// AppendCompact appends the compact form of s, without what no list will ever show: a large
// payload, the operator of a membership, and the messages and mentions that the owner has
// read, which are all but a few of a conversation of years.
func (s *State) AppendCompact(dst []byte) []byte {
	w, own, read := compactWriter{dst}, s.Settings(), s.read()
	mentions := 0
	for _, m := range s.Mentions {
		if m.Sequence > read {
			mentions++
		}
	}
	var mask uint64
	for _, part := range []struct {
		bit uint64
		is  bool
	}{
		{hasHead, s.Head != nil},
		{hasSequences, s.LastSequence != 0 || s.EditedSequence != 0},
		{hasDays, len(s.Days) > 0},
		{hasRecalled, len(s.Recalled) > 0},
		{hasMentions, mentions > 0},
		{isKnown, s.Known},
		{hasRead, s.Read != ReadMark{}},
		{hasPeerRead, s.PeerRead != ReadMark{}},
		{hasSent, s.Sent != 0 || s.PeerSent != 0},
		{hasFloors, s.Deleted != 0 || s.Cleared != 0},
		{hasPinned, own.Pinned.Written()},
		{hasRemindType, own.RemindType.Written()},
		{hasMarks, own.Marks.Written()},
		{hasGroups, own.Groups.Written()},
		{hasCustomData, own.CustomData.Written()},
		{hasDraft, own.Draft.Written()},
		{hasRemark, own.Remark.Written()},
		{hasMember, own.Member.Written()},
	} {
		if part.is {
			mask |= part.bit
		}
	}
	w.number(mask)
	if mask&hasHead != 0 {
		h := s.Head
		w.number(h.Sequence)
		w.time(h.Time)
		for _, text := range h.texts() {
			w.text(*text)
		}
		w.number(uint64(h.PayloadBytes))
	}
	if mask&hasSequences != 0 {
		w.number(s.LastSequence)
		w.number(s.EditedSequence)
	}
	if mask&hasDays != 0 {
		w.number(uint64(len(s.Days)))
		for _, d := range s.Days {
			w.signed(int64(d.Day))
			w.sequences(d.Counted.above(read))
			w.sequences(d.Uncounted.above(read))
		}
	}
	if mask&hasRecalled != 0 {
		w.sequences(s.Recalled)
	}
	if mask&hasMentions != 0 {
		w.number(uint64(mentions)) // not negative
		for _, m := range s.Mentions {
			if m.Sequence > read {
				w.signed(int64(m.Day))
				w.number(m.Sequence)
			}
		}
	}
	for _, mark := range []struct {
		bit uint64
		*ReadMark
	}{{hasRead, &s.Read}, {hasPeerRead, &s.PeerRead}} {
		if mask&mark.bit != 0 {
			w.number(mark.Sequence)
			w.time(mark.Time)
		}
	}
	if mask&hasSent != 0 {
		w.number(s.Sent)
		w.number(s.PeerSent)
	}
	if mask&hasFloors != 0 {
		w.number(s.Deleted)
		w.number(s.Cleared)
	}
	if mask&hasPinned != 0 {
		w.version(own.Pinned.Version)
		w.flag(own.Pinned.Value)
	}
	if mask&hasMarks != 0 {
		w.version(own.Marks.Version)
		w.number(uint64(len(own.Marks.Value)))
		for _, mark := range own.Marks.Value {
			w.number(mark)
		}
	}
	if mask&hasGroups != 0 {
		w.version(own.Groups.Version)
		w.number(uint64(len(own.Groups.Value)))
		for _, name := range own.Groups.Value {
			w.text(name)
		}
	}
	for _, r := range own.textRegisters() {
		if mask&r.bit != 0 {
			w.version(r.Version)
			w.text(r.Value)
		}
	}
	if mask&hasMember != 0 {
		m := &own.Member
		w.version(m.Version)
		w.text(m.Value.Status)
		w.text(m.Value.Role)
		w.text(m.Value.NameCard)
		w.number(m.Value.JoinSequence)
		w.time(m.Value.JoinTime)
	}
	return w.dst
}

// CompactDecoder decodes one compact form after the other into the same memory.
type CompactDecoder struct {
	state    State
	head     Head
	settings Settings
}

// Decode gives what AppendCompact has written. It is the caller's until the next one is decoded,
// and its texts are parts of compact.
func (d *CompactDecoder) Decode(compact string) (*State, error) {
	*d = CompactDecoder{}
	s, r := &d.state, compactReader{src: compact}
	mask := r.number()
	if mask&hasHead != 0 {
		h := &d.head
		s.Head = h
		h.Sequence = r.number()
		h.Time = r.time()
		for _, text := range h.texts() {
			*text = r.text()
		}
		h.PayloadBytes = uint32(r.number()) // it was one
	}
	if mask&hasSequences != 0 {
		s.LastSequence, s.EditedSequence = r.number(), r.number()
	}
	if mask&hasDays != 0 {
		s.Days = make([]Day, r.count())
		for i := range s.Days {
			s.Days[i] = Day{Day: r.day(), Counted: r.sequences(), Uncounted: r.sequences()}
		}
	}
	if mask&hasRecalled != 0 {
		s.Recalled = r.sequences()
	}
	if mask&hasMentions != 0 {
		s.Mentions = make([]Mention, r.count())
		for i := range s.Mentions {
			s.Mentions[i] = Mention{Day: r.day(), Sequence: r.number()}
		}
	}
	s.Known = mask&isKnown != 0
	if mask&hasRead != 0 {
		s.Read = ReadMark{Sequence: r.number(), Time: r.time()}
	}
	if mask&hasPeerRead != 0 {
		s.PeerRead = ReadMark{Sequence: r.number(), Time: r.time()}
	}
	if mask&hasSent != 0 {
		s.Sent, s.PeerSent = r.number(), r.number()
	}
	if mask&hasFloors != 0 {
		s.Deleted, s.Cleared = r.number(), r.number()
	}
	if mask&areSet != 0 {
		s.Set = &d.settings
		r.settings(mask, s.Set)
	}
	if r.failed || r.src != "" {
		return nil, errors.New("not the compact form of a state")
	}
	return s, nil
}

// texts are those of a head that lists may show.
func (h *Head) texts() []*string {
	return []*string{
		&h.ID, &h.MessageID, &h.From, &h.Type, &h.Preview, &h.Nick, &h.Avatar, &h.NameCard, &h.CloudCustomData, &h.Payload,
	}
}

type textRegister struct {
	bit uint64
	*Register[string]
}

func (s *Settings) textRegisters() []textRegister {
	return []textRegister{
		{hasRemindType, &s.RemindType},
		{hasCustomData, &s.CustomData},
		{hasDraft, &s.Draft},
		{hasRemark, &s.Remark},
	}
}

type compactWriter struct{ dst []byte }

func (w *compactWriter) number(v uint64) { w.dst = binary.AppendUvarint(w.dst, v) }

func (w *compactWriter) signed(v int64) { w.dst = binary.AppendVarint(w.dst, v) }

func (w *compactWriter) time(t events.Micros) { w.signed(int64(t)) }

func (w *compactWriter) flag(is bool) {
	if is {
		w.number(1)
	} else {
		w.number(0)
	}
}

func (w *compactWriter) text(s string) {
	w.number(uint64(len(s)))
	w.dst = append(w.dst, s...)
}

func (w *compactWriter) version(v Version) {
	w.time(v.Time)
	w.text(v.ID)
}

// sequences writes runs, each as its distance from the one before and its length.
func (w *compactWriter) sequences(s Sequences) {
	w.number(uint64(len(s)))
	var at uint64
	for _, run := range s {
		w.number(run.First - at)
		w.number(run.Last - run.First)
		at = run.Last
	}
}

type compactReader struct {
	src    string
	failed bool
}

func (r *compactReader) settings(mask uint64, own *Settings) {
	if mask&hasPinned != 0 {
		own.Pinned = Register[bool]{r.version(), r.flag()}
	}
	if mask&hasMarks != 0 {
		own.Marks.Version = r.version()
		own.Marks.Value = make([]uint64, r.count())
		for i := range own.Marks.Value {
			own.Marks.Value[i] = r.number()
		}
	}
	if mask&hasGroups != 0 {
		own.Groups.Version = r.version()
		own.Groups.Value = make([]string, r.count())
		for i := range own.Groups.Value {
			own.Groups.Value[i] = r.text()
		}
	}
	for _, t := range own.textRegisters() {
		if mask&t.bit != 0 {
			*t.Register = Register[string]{r.version(), r.text()}
		}
	}
	if mask&hasMember != 0 {
		own.Member = Register[Member]{r.version(), Member{
			Status: r.text(), Role: r.text(), NameCard: r.text(), JoinSequence: r.number(), JoinTime: r.time(),
		}}
	}
}

func (r *compactReader) number() uint64 {
	var v uint64
	for i := 0; i < len(r.src) && i < binary.MaxVarintLen64; i++ {
		b := r.src[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.src = r.src[i+1:]
			return v
		}
	}
	r.src, r.failed = "", true
	return 0
}

func (r *compactReader) signed() int64 {
	v := r.number()
	return int64(v>>1) ^ -int64(v&1) // the zigzag of a varint
}

func (r *compactReader) time() events.Micros { return events.Micros(r.signed()) }

func (r *compactReader) day() events.Day { return events.Day(r.signed()) } // it was one

func (r *compactReader) flag() bool { return r.number() == 1 }

// count is a number of things that take at least a byte each.
func (r *compactReader) count() int {
	n := r.number()
	if n > uint64(len(r.src)) {
		r.src, r.failed = "", true
		return 0
	}
	return int(n) // at most the length
}

func (r *compactReader) text() string {
	n := r.count()
	s := r.src[:n]
	r.src = r.src[n:]
	return s
}

func (r *compactReader) version() Version { return Version{Time: r.time(), ID: r.text()} }

func (r *compactReader) sequences() Sequences {
	n := r.count()
	if n == 0 {
		return nil
	}
	s := make(Sequences, n)
	var at uint64
	for i := range s {
		first := at + r.number()
		at = first + r.number()
		s[i] = Interval{First: first, Last: at}
	}
	return s
}
