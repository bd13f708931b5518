package feed

import (
	"cmp"
	"fmt"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	feedpb "github.com/convoview/convoview/schemas/feed/v1"
)

// Handler has registers in memory.
type Handler interface {
	// Apply merges what has become visible into what is in memory: the events, and the
	// model that they fold into. Whoever has a read model in memory that leaves some of
	// them out does not take those.
	Apply(*projection.Model, []events.Event)
	// Lost says that whatever was loaded before may lack something.
	Lost()
}

// Receiver takes announcements, however they came, and tells its handler. It has
// no clock, and is used by one goroutine.
type Receiver struct {
	handler Handler
	decoder *events.Decoder
	tracker *tracker
}

// NewReceiver makes a receiver that has heard of nothing yet.
func NewReceiver(h Handler) *Receiver {
	return &Receiver{
		handler: h,
		decoder: events.NewDecoder(events.Unlimited()), // a projector has checked it
		tracker: newTracker(),
	}
}

// Take takes an announcement of a projector. It gives what was lost, "" if
// nothing was; the handler has been told.
func (r *Receiver) Take(projector string, a *feedpb.Announcement, now time.Time) (lost string) {
	model, list, unread := r.fold(a.GetRecords())
	if lost = cmp.Or(r.tracker.take(projector, a, now), unread); lost != "" {
		r.handler.Lost()
	}
	if model != nil {
		r.handler.Apply(model, list)
	}
	return lost
}

// fold gives the events of records and makes a model of them, and says which of them it
// cannot read.
func (r *Receiver) fold(records []*feedpb.Record) (model *projection.Model, list []events.Event, unread string) {
	if len(records) == 0 {
		return nil, nil, ""
	}
	model, list = projection.NewModel(), make([]events.Event, 0, len(records))
	for _, record := range records {
		e, err := r.decoder.Decode(recordOf(record))
		if err != nil {
			unread = fmt.Sprintf("an event that cannot be read, is the projector newer? %v", err)
			continue
		}
		model.Fold(e)
		list = append(list, e)
	}
	return model, list, unread
}

func recordOf(r *feedpb.Record) events.Record {
	// The projector has looked at the record's own timestamp.
	record := events.Record{Value: r.GetValue(), Timestamp: events.EndOfTime}
	if r.ContentType != nil {
		record.Headers = []events.Header{{Key: events.HeaderContentType, Value: []byte(r.GetContentType())}}
	}
	return record
}
