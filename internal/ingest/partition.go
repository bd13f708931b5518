package ingest

import (
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/events"
)

// partition is what one generation of the group knows of one partition. It
// belongs to that generation: the next one starts with a new value, so nothing
// learnt before a rebalance can be committed after it.
type partition struct {
	events.Partition
	session *session
	// assigned is the offset that the group had committed; less than 0: none, or none that
	// is of use.
	assigned int64

	mu sync.Mutex
	// next is where to read on. written: the sink holds everything before it.
	// announced: so others were told. committed: so the group knows. All are -1
	// until known.
	next, written, announced, committed int64
	// dead are the offsets of the dead letters that wait to be written, as they were met: after
	// a reset in no order, and one that is met again is there twice.
	dead      []int64
	deadBytes int
	// resets counts how often reading was moved elsewhere by force; what was
	// folded before says nothing about positions after.
	resets int
	// end is the high-water mark, and readable up to where records can be read, as far as
	// we know.
	end, readable int64
	// oldest is the Kafka timestamp of the first record that was read and is not
	// written; zero: there is none. behindSince is when end was seen to be ahead.
	oldest, behindSince time.Time
}

func newPartition(topic string, assigned kafka.PartitionAssignment, s *session) *partition {
	return &partition{Partition: events.Partition{Topic: topic, ID: assigned.ID}, session: s, assigned: assigned.Offset, next: -1, written: -1, announced: -1, committed: -1, end: -1}
}

// resume has reading begin where the group was, if it was anywhere and that is of use.
func (p *partition) resume(begun bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !begun {
		p.committed, p.assigned = p.assigned, -1
		return
	}
	if p.assigned >= 0 {
		p.next, p.written, p.announced, p.committed = p.assigned, p.assigned, p.assigned, p.assigned
	}
}

// reset moves reading to an offset by force.
func (p *partition) reset(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next, p.written, p.oldest = offset, offset, time.Time{}
	p.resets++
}

func (p *partition) position() (next int64, resets int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next, p.resets
}

// advance sets where to read on.
func (p *partition) advance(next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = next
}

// wrote says that the sink holds a piece.
func (p *partition) wrote(piece *piece) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if piece.resets != p.resets {
		return
	}
	p.written = max(p.written, piece.to)
	p.oldest = piece.latest // what follows is hardly younger
	if p.written >= p.next {
		p.oldest = time.Time{}
	}
	if p.written >= p.end {
		p.behindSince = time.Time{}
	}
}

// holds says that what was read, the first of it at oldest, is to be written.
func (p *partition) holds(oldest time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.oldest.IsZero() {
		p.oldest = oldest
	}
}

// didAnnounce says that others were told up to an offset.
func (p *partition) didAnnounce(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.announced = to
}

// spokenOf is the empty range at what others were told of; false when that is nothing yet.
func (p *partition) spokenOf() (events.Range, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := p.announced
	if at < 0 { // until it is known where reading begins
		at = p.assigned
	}
	return events.Range{Partition: p.Partition, From: at, To: at}, at >= 0
}

// committable is the offset up to which everything is in the sink or in the
// dead-letter topic, and whether committing it would say anything new.
func (p *partition) committable() (offset int64, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	offset = p.written
	if len(p.dead) > 0 {
		offset = min(offset, slices.Min(p.dead))
	}
	return offset, offset >= 0 && offset != p.committed
}

func (p *partition) didCommit(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = offset
}

// holdDead keeps the offset of a dead letter from being committed. It reports
// false, and does nothing, when too many bytes of them wait already.
func (p *partition) holdDead(offset int64, bytes, maxBytes int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deadBytes > 0 && p.deadBytes+bytes > maxBytes {
		return false
	}
	p.dead = append(p.dead, offset)
	p.deadBytes += bytes
	return true
}

// releaseDead says that a dead letter is written.
func (p *partition) releaseDead(offset int64, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.dead, offset); i >= 0 {
		p.dead = slices.Delete(p.dead, i, i+1)
		p.deadBytes -= bytes
	}
}

// sawEnd takes a high-water mark.
func (p *partition) sawEnd(end int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = end
	if end <= p.written {
		p.behindSince = time.Time{}
	} else if p.behindSince.IsZero() {
		p.behindSince = now
	}
}

// lag is how far the sink is behind the end, and how old the first record is that it
// does not have; false while it is not known where reading begins, or where the end is.
func (p *partition) lag(now time.Time) (records int64, age time.Duration, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := p.written
	if written < 0 { // until it is known where reading begins
		written = p.assigned
	}
	if written < 0 || p.end < 0 {
		return 0, 0, false
	}
	if p.end <= written {
		return 0, 0, true
	}
	since := p.oldest
	if since.IsZero() {
		since = p.behindSince
	}
	return p.end - written, max(0, now.Sub(since)), true
}

// progress gives the offset before which the sink holds everything, and the
// high-water mark as far as we know; each -1 until known.
func (p *partition) progress() (written, end int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.written, p.end
}

// groupKnows is the offset that the group has committed; less than 0: none.
func (p *partition) groupKnows() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed
}

// behind reports whether the end is ahead of where reading goes on.
func (p *partition) behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next >= 0 && p.end > p.next
}

// canRead takes up to where records can be read; -1: they cannot be read now.
func (p *partition) canRead(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.readable = to
}

// unread is how many records can be read that were not.
func (p *partition) unread() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.readable-p.next)
}
