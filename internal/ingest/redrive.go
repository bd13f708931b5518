package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/segmentio/kafka-go"
	"golang.org/x/time/rate"

	"github.com/convoview/convoview/internal/events"
)

// Redrive sends dead letters again to where they came from, unchanged but for two
// things: a header names the letter, and the key has the event's ID at its end
// ([events.KeyWithID]).
//
// What the decoder does not accept is not sent: it would only come back. Nothing is kept
// of what was sent. Sending again changes nothing, since merging is idempotent, so a
// Redrive that was interrupted is run again.
type Redrive struct {
	Letters *Letters
	Decoder Decoder
	Filter  Filter
	// DryRun sends nothing.
	DryRun bool
	// Told is given what has become of letters, in order, as soon as it is known.
	Told func([]Outcome) error
	// Progress is told how far it is.
	Progress func(Scanned)
}

// Outcome is what has become of a letter: it was sent, or Kept or Same say why not.
type Outcome struct {
	*Letter
	// Sent says that all replicas have it, or would have with DryRun.
	Sent bool
	// Event and Key are what is sent, and To is where.
	Event events.Event
	Key   []byte
	To    events.Partition
	// Kept is why the letter cannot be sent.
	Kept error
	// Same is the letter that this one is once more, of which one was sent before; its
	// topic is "" when there is none.
	Same Place
}

// Run sends what matches of all that is in the dead-letter topic when it begins. When it
// fails, Told was given everything that is known to be sent.
func (r *Redrive) Run(ctx context.Context) (Scanned, error) {
	partitions, err := r.Letters.cluster.partitions(ctx, r.Letters.cluster.config.Topics...)
	if err != nil {
		return Scanned{}, err
	}
	limiter := rate.NewLimiter(rate.Inf, lettersAtOnce)
	if most := r.Letters.cluster.config.MaxRate; most > 0 {
		limiter.SetLimit(rate.Limit(most))
	}
	sent := map[events.Partition]*roaring64.Bitmap{}
	return r.Letters.Scan(ctx, r.Filter, func(letters []Letter) error {
		all := make([]Outcome, len(letters))
		targets := map[events.Partition][]*Outcome{}
		for i := range letters {
			o := &all[i]
			*o = r.judge(&letters[i], partitions)
			if o.Kept == nil {
				o.Same = once(sent, o.Letter)
			}
			if o.Kept == nil && o.Same.Topic == "" {
				targets[o.To] = append(targets[o.To], o)
			}
		}
		for to, letters := range targets {
			if err := r.send(ctx, limiter, to, letters); err != nil {
				return errors.Join(err, r.Told(slices.DeleteFunc(all, func(o Outcome) bool { return !o.Sent })))
			}
		}
		return r.Told(all)
	}, r.Progress)
}

// once takes note that a letter is sent. A redriven letter that has failed again is in
// the topic twice and more often, and to send each would double them every time; so it
// gives the letter that was sent before with the same event, if there is one.
func once(sent map[events.Partition]*roaring64.Bitmap, l *Letter) Place {
	first := l.first()
	if sent[first.Partition] == nil {
		sent[first.Partition] = roaring64.New()
	}
	if !sent[first.Partition].CheckedAdd(uint64(first.Offset)) { // not negative
		return first
	}
	return Place{}
}

// judge decides where a letter goes, if anywhere.
func (r *Redrive) judge(l *Letter, partitions map[string][]int) Outcome {
	o := Outcome{Letter: l, Key: l.Key}
	ids := partitions[l.From.Topic]
	switch {
	case l.From.Topic == "":
		o.Kept = fmt.Errorf("it has no headers %s, %s and %s that say where it came from", headerTopic, headerPartition, headerOffset)
		return o
	case len(ids) == 0:
		o.Kept = fmt.Errorf("it came from %s, which is not projected", l.From.Partition)
		return o
	}
	// The record will have the time at which it is sent.
	if o.Event, o.Kept = r.Decoder.Decode(events.Record{Value: l.Value, Headers: l.Own(), Timestamp: time.Now()}); o.Kept != nil {
		return o
	}
	// It goes back to its partition, without asking how its producer has spread keys.
	o.To = events.Partition{Topic: l.From.Topic, ID: l.From.ID % len(ids)}
	o.Key = events.KeyWithID(l.Key, o.Event.ID)
	return o
}

// record is what is sent of a letter.
func (o *Outcome) record() kafka.Record {
	record := kafka.Record{Time: time.Now(), Value: kafka.NewBytes(o.Value)}
	if len(o.Key) > 0 {
		record.Key = kafka.NewBytes(o.Key)
	}
	for _, h := range o.Own() {
		record.Headers = append(record.Headers, kafka.Header{Key: h.Key, Value: h.Value})
	}
	record.Headers = append(record.Headers, kafka.Header{Key: headerRedriven, Value: []byte(o.first().String())})
	return record
}

// send sends letters to a partition, in their order and no more than MaxRate a second.
// Those that the broker refuses are kept.
func (r *Redrive) send(ctx context.Context, limiter *rate.Limiter, to events.Partition, letters []*Outcome) error {
	err := inRequests(letters, func(o *Outcome) int { return o.bytes }, func(letters []*Outcome) error {
		var err error
		if !r.DryRun {
			if err = limiter.WaitN(ctx, len(letters)); err != nil {
				err = cmp.Or(context.Cause(ctx), err)
			} else {
				err = r.produce(ctx, to, letters)
			}
		}
		switch {
		case err == nil:
			for _, o := range letters {
				o.Sent = true
			}
		case judge(err) == refused && len(letters) == 1:
			letters[0].Kept = err
		}
		return err
	})
	if judge(err) == refused {
		return nil
	}
	return err
}

// produce tries until the letters are there, or refused.
func (r *Redrive) produce(ctx context.Context, to events.Partition, letters []*Outcome) error {
	for tries := r.Letters.newTries(); ; {
		records := make([]kafka.Record, len(letters))
		for i, o := range letters {
			records[i] = o.record()
		}
		err := r.Letters.cluster.produce(ctx, to, records)
		if err == nil {
			return nil
		}
		err = fmt.Errorf("send %d dead letters to %v, the first %v: %w", len(letters), to, letters[0].Place, err)
		if judge(err) == refused {
			return err
		}
		if err := tries.failed(ctx, err); err != nil {
			return err
		}
	}
}
