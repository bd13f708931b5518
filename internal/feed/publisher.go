package feed

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
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
}

// NewPublisher makes a publisher with a name of its own.
func NewPublisher(nc *nats.Conn) *Publisher {
	return &Publisher{nc: nc, subject: SubjectPrefix + uuid.NewString()}
}

// Announce says that the events of records, folded into models, are visible,
// and with them everything in ranges; topics says how many partitions each
// topic has. A message that is larger than NATS takes is split. Then it notifies
// those whose conversations have changed. The error says that followers may
// have missed something; they will notice by themselves.
func (p *Publisher) Announce(models []*projection.Model, records []events.Record, ranges []events.Range, topics map[string]int) error {
	err := p.announce(records, ranges, topics)
	if failed := notify(p.nc, noticesOf(models, time.Now())); failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d notices did not get out", failed))
	}
	return err
}

func (p *Publisher) announce(records []events.Record, ranges []events.Range, topics map[string]int) error {
	last := &feedpb.Announcement{}
	for _, r := range ranges {
		last.Ranges = append(last.Ranges, &feedpb.Range{
			Topic: r.Topic, Partition: int32(r.Partition), From: r.From, To: r.To, Moved: r.Moved, //nolint:gosec // Kafka numbers partitions in 32 bits
		})
	}
	for name, n := range topics {
		last.Topics = append(last.Topics, &feedpb.Topic{Name: name, Partitions: int32(n)}) //nolint:gosec // as above
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	most := max(p.nc.MaxPayload(), leastPayload) // it is 0 before the first connection
	room := int(most) - proto.Size(last) - headRoom
	var errs []error
	part, size := &feedpb.Announcement{}, 0
	for _, r := range records {
		record := wireRecord(r)
		n := proto.Size(record) + headRoom
		if size > 0 && size+n > room {
			errs = append(errs, p.send(part))
			part, size = &feedpb.Announcement{}, 0
		}
		part.Records = append(part.Records, record)
		size += n
	}
	part.Ranges, part.Topics = last.Ranges, last.Topics
	if err := errors.Join(append(errs, p.send(part))...); err != nil {
		return fmt.Errorf("announce %d records: %w", len(records), err)
	}
	return nil
}

// leastPayload is what every NATS server must take; query workers hold it to that.
const leastPayload = 1 << 20

// headRoom is more than the number of an announcement, or the tag and length of
// a record, take.
const headRoom = 16

// send sends one message. Its number is used up even if it does not get out:
// that is how it is missed.
func (p *Publisher) send(a *feedpb.Announcement) error {
	p.number++
	a.Number = p.number
	data, err := proto.Marshal(a)
	if err != nil {
		return err //nolint:wrapcheck // Announce says what it was
	}
	return p.nc.Publish(p.subject, data)
}

// wireRecord keeps of a record what tells its event.
func wireRecord(r events.Record) *feedpb.Record {
	record := &feedpb.Record{Value: r.Value}
	if contentType, ok := r.ContentType(); ok {
		record.ContentType = &contentType
	}
	return record
}
