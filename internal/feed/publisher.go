package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// SubjectPrefix is what the subjects of announcements begin with; the name of
// the projector follows.
const SubjectPrefix = "convoview.feed.v1."

// Publisher announces what one projector has applied.
type Publisher struct {
	nc      *nats.Conn
	subject string

	mu     sync.Mutex
	number uint64 // of the last message
	part   []byte // reused

	notices notices
}

// NewPublisher makes a publisher with a name of its own. Close it before its connection.
func NewPublisher(nc *nats.Conn) *Publisher {
	return &Publisher{nc: nc, subject: SubjectPrefix + uuid.NewString(), notices: notices{nc: nc, after: later}}
}

// Close publishes the notices that wait, at once.
func (p *Publisher) Close() error {
	p.notices.tellAll()
	return p.notices.lost()
}

// Announce says that the events of records, which have made changes, are visible,
// and with them everything in ranges; topics says how many partitions each
// topic has. A message that is larger than NATS takes is split. noticeDelay later it
// notifies those whose conversations have changed. The error says that followers may
// have missed something, which they will notice by themselves, or that earlier notices
// did not get out. The span in ctx, if it is sampled, goes on with those who hear of it.
func (p *Publisher) Announce(
	ctx context.Context, changes projection.Changes, records [][]events.Record, ranges []events.Range, topics map[string]int,
) error {
	err := p.announce(spanHeader(ctx), records, ranges, topics)
	p.notices.add(changes, time.Now())
	return errors.Join(err, p.notices.lost())
}

func (p *Publisher) announce(header nats.Header, records [][]events.Record, ranges []events.Range, topics map[string]int) error {
	last := &feedpb.Announcement{}
	for _, r := range ranges {
		told := &feedpb.Range{
			Topic: r.Partition.Topic, Partition: int32(r.Partition.ID), From: r.From, To: r.To, Moved: r.Moved, // Kafka numbers partitions in 32 bits
		}
		if !r.Oldest.IsZero() {
			told.OldestMs = proto.Int64(r.Oldest.UnixMilli())
		}
		last.Ranges = append(last.Ranges, told)
	}
	for name, n := range topics {
		last.Topics = append(last.Topics, &feedpb.Topic{Name: name, Partitions: int32(n)})
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	most := max(p.nc.MaxPayload(), leastPayload) // it is 0 before the first connection
	room := int(most) - proto.Size(last) - headRoom - headerSize(header)
	var errs []error
	part := p.part[:0]
	n := 0
	for _, run := range records {
		for _, r := range run {
			contentType, typed := r.ContentType()
			if len(part) > 0 && len(part)+len(r.Value)+len(contentType)+headRoom > room {
				errs = append(errs, p.send(header, part, &feedpb.Announcement{}))
				part = part[:0]
			}
			part = appendRecord(part, r.Value, contentType, typed)
		}
		n += len(run)
	}
	p.part = part
	if err := errors.Join(append(errs, p.send(header, part, last))...); err != nil {
		return fmt.Errorf("announce %d records: %w", n, err)
	}
	return nil
}

// leastPayload is what every NATS server must take; query workers hold it to that.
const leastPayload = 1 << 20

// headRoom is more than the number of an announcement, or the tags and lengths of a
// record, take.
const headRoom = 32

// send sends one message: records, as they are encoded, and what else is in it. Its
// number is used up even if it does not get out: that is how it is missed.
func (p *Publisher) send(header nats.Header, records []byte, a *feedpb.Announcement) error {
	p.number++
	a.Number = p.number
	data, err := proto.MarshalOptions{}.MarshalAppend(records, a) // one message after the other is both in one
	if err != nil {
		return err
	}
	return p.nc.PublishMsg(&nats.Msg{Subject: p.subject, Header: header, Data: data})
}

// The fields of an announcement that has records, which are most of what is sent and
// written as they are: see schemas/feed/v1.
const (
	fieldRecords     = 2
	fieldValue       = 1
	fieldContentType = 2
)

// appendRecord appends to an announcement of a record what tells its event.
func appendRecord(dst, value []byte, contentType string, typed bool) []byte {
	size := protowire.SizeTag(fieldValue) + protowire.SizeBytes(len(value))
	if typed {
		size += protowire.SizeTag(fieldContentType) + protowire.SizeBytes(len(contentType))
	}
	dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldRecords, protowire.BytesType), uint64(size)) // not negative
	dst = protowire.AppendBytes(protowire.AppendTag(dst, fieldValue, protowire.BytesType), value)
	if typed {
		dst = protowire.AppendString(protowire.AppendTag(dst, fieldContentType, protowire.BytesType), contentType)
	}
	return dst
}
