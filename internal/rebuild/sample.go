package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/pause"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
)

// Sample compares what a generation shows of some conversations with what the topics
// say of them, folded anew, without what it leaves out.
type Sample struct {
	Generation *readmodel.Store
	// Ingest is how the topics are read, from their beginning and by a consumer group
	// of its own, whose name begins with the projectors'.
	Ingest  ingest.Config
	Decoder ingest.Decoder
	// Size is about how many conversations are drawn, Seed which ones.
	Size int
	Seed uint64
	Now  time.Time
	// MaxDifferences is how many conversations that differ are named.
	MaxDifferences int
	Interval       time.Duration // see Verify
	// Progress is told how many of all offsets are read.
	Progress func(done, total int64)
	Log      *slog.Logger
}

// Sampled is what was found.
type Sampled struct {
	// Conversations were drawn; compared were so many Replies, one for each user.
	Conversations, Replies int
	// Differences have the generation's values as ours, the topics' as theirs.
	Differences []Shown
	Whole       bool // there are no more
}

// Run compares. The generation may be written meanwhile: all that the topics had
// before it was read has to be in it, and all that is in it has to be in the topics
// after that. Both can be held exactly, since registers are a semilattice.
func (s *Sample) Run(ctx context.Context) (*Sampled, error) {
	draw, err := s.Generation.Draw(ctx, s.Size, s.Seed)
	if err != nil {
		return nil, err
	}
	fold := &fold{draw: draw, peers: map[projection.UserKey]struct{}{}, to: projection.NewModel()}
	err = s.Generation.Drawn(ctx, draw, func(k projection.Key) error {
		addPeer(fold.peers, k)
		return nil
	})
	if err != nil {
		return nil, err
	}

	decoder := s.Decoder
	leftOut, err := s.Generation.LeftOutOf(ctx, s.Generation.Number())
	if err != nil {
		return nil, err
	}
	if len(leftOut) > 0 {
		decoder = leavingOut{decoder, leftOut, new(atomic.Int64)}
	}

	projectors, err := ingest.NewOffsets(s.Ingest)
	if err != nil {
		return nil, err
	}
	defer projectors.Close()
	reading := s.Ingest
	reading.GroupID += "-verify-" + uuid.NewString()
	reading.DeadTopic = ""
	consumer, err := ingest.New(reading, fold, decoder, s.Log, prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ended := make(chan error, 1)
	go func() {
		err := consumer.Run(running)
		stop(errEnded) // nothing more is read that could be waited for
		ended <- err
	}()

	found, err := s.compare(running, draw, fold, projectors, consumer)
	stop(nil)
	if failed := <-ended; failed != nil && (err == nil || errors.Is(err, errEnded)) {
		err = fmt.Errorf("read the topics: %w", failed)
	}
	if group, failed := ingest.NewOffsets(reading); failed == nil { // nobody needs its offsets
		if failed := group.Forget(context.WithoutCancel(ctx)); failed != nil {
			s.Log.Warn("the consumer group is left behind", "group", reading.GroupID, "error", failed)
		}
		group.Close()
	}
	return found, err
}

func (s *Sample) compare(ctx context.Context, draw readmodel.Draw, fold *fold, projectors *ingest.Offsets, consumer *ingest.Consumer) (*Sampled, error) {
	// 1 what the topics have
	ends, err := projectors.Ends(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.read(ctx, consumer, ends); err != nil {
		return nil, err
	}
	before := fold.cut()
	// 2 what the generation has, which is no less
	if ends, err = projectors.Ends(ctx); err != nil {
		return nil, err
	}
	if err := settled(ctx, projectors, ends, s.Interval, s.Log); err != nil {
		return nil, err
	}
	places := map[projection.Key]struct{}{}
	err = s.Generation.Drawn(ctx, draw, func(k projection.Key) error { places[k] = struct{}{}; return nil })
	if err != nil {
		return nil, err
	}
	for k := range before.States {
		if k.Owner != "" {
			places[k] = struct{}{}
		}
	}
	all := slices.SortedFunc(maps.Keys(places), byConversation)
	found := &Sampled{Whole: true, Replies: len(all), Conversations: len(conversationsOf(all))}
	now, after := events.MicrosOf(s.Now), projection.NewModel()
	for some := range slices.Chunk(all, placesAtOnce) { // models of all of them would take much memory
		is := &recorder{Store: s.Generation, to: projection.NewModel()}
		if _, err := replies(ctx, is, now, some); err != nil {
			return nil, err
		}
		// 3 what the topics have now, which is no less again
		if ends, err = projectors.Ends(ctx); err != nil {
			return nil, err
		}
		if err := s.read(ctx, consumer, ends); err != nil {
			return nil, err
		}
		after.Merge(fold.cut())
		these, peers := conversationsOf(some), map[projection.UserKey]struct{}{}
		for _, k := range some {
			addPeer(peers, k)
		}
		among := func(app string, c events.Conversation) bool {
			_, ok := these[projection.EditKey{App: app, Conversation: c}]
			return ok
		}
		had := part(before, among, peers)
		has := join(had, part(after, among, peers))
		// Of whom nobody knew that they would be shown, no profile was kept.
		for k, profile := range is.to.Users {
			if _, kept := fold.peers[k]; !kept {
				had.Users[k], has.Users[k] = profile, profile
			}
		}
		var made [4]map[projection.Key]reply
		for i, m := range []*projection.Model{is.to, join(had, is.to), join(is.to, has), has} {
			if made[i], err = replies(ctx, newFolded(m), now, some); err != nil {
				return nil, err
			}
		}
		for _, k := range some {
			ours, withBefore, withOurs, topics := made[0][k], made[1][k], made[2][k], made[3][k]
			fields := fieldsOf(ours, withBefore)
			fields = append(fields, fieldsOf(withOurs, topics)...)
			if len(fields) == 0 {
				continue
			}
			if len(found.Differences) == s.MaxDifferences {
				found.Whole = false
				return found, nil
			}
			if plain := fieldsOf(ours, topics); len(plain) > 0 {
				fields = plain
			}
			found.Differences = append(found.Differences, Shown{k.App, k.Owner, k.ConversationID, fields})
		}
	}
	return found, nil
}

// join merges two models.
func join(a, b *projection.Model) *projection.Model {
	m := projection.NewModel()
	m.Merge(a)
	m.Merge(b)
	return m
}

// read waits until the consumer has read everything before the given offsets.
func (s *Sample) read(ctx context.Context, consumer *ingest.Consumer, before map[events.Partition]int64) error {
	for {
		var done, total int64
		read := consumer.Progress()
		for p, end := range before {
			total += end
			if at, known := read[p]; known {
				done += max(0, min(end, at.Written))
			}
		}
		s.Progress(done, total)
		if done == total {
			return nil
		}
		if err := pause.For(ctx, s.Interval); err != nil {
			return fmt.Errorf("read the topics: %w", err)
		}
	}
}

// fold keeps of what is read what the conversations that were drawn are made of.
type fold struct {
	draw  readmodel.Draw
	peers map[projection.UserKey]struct{} // whose profiles are kept

	mu sync.Mutex
	to *projection.Model
}

// Insert implements ingest.Sink.
func (f *fold) Insert(_ context.Context, batches iter.Seq2[[]*projection.Model, []events.Event]) error {
	for models := range batches {
		for _, m := range models {
			f.write(m)
		}
	}
	return nil
}

func (f *fold) write(m *projection.Model) {
	some := part(m, f.draw.Has, f.peers)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to.Merge(some)
}

// part is what a model has that replies on some conversations are made of, and the profiles
// of some users.
func part(m *projection.Model, among func(app string, c events.Conversation) bool, peers map[projection.UserKey]struct{}) *projection.Model {
	some := projection.NewModel()
	some.Plans, some.Erased = m.Plans, m.Erased
	for k, v := range m.States {
		if among(k.App, conversationOf(k)) {
			some.States[k] = v
		}
	}
	for k, v := range m.Edits {
		if among(k.App, k.Conversation) {
			some.Edits[k] = v
		}
	}
	for k, v := range m.Messages {
		if k.Conversation.Type == events.TypeGroup && among(k.App, k.Conversation) {
			some.Messages[k] = &projection.Message{From: v.From} // no reply shows more of it
		}
	}
	for k, v := range m.Groups {
		if among(k.App, events.Group(k.GroupID)) {
			some.Groups[k] = v
		}
	}
	for k, v := range m.Users {
		if _, kept := peers[k]; kept {
			some.Users[k] = v
		}
	}
	return some
}

// cut gives what was kept since the last time.
func (f *fold) cut() *projection.Model {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.to
	f.to = projection.NewModel()
	return m
}

// conversationOf is the conversation of registers.
func conversationOf(k projection.Key) events.Conversation {
	return events.ConversationOf{UserID: k.Owner, ConversationID: k.ConversationID}.Conversation()
}

// conversationsOf are those of their users' registers.
func conversationsOf(places []projection.Key) map[projection.EditKey]struct{} {
	all := map[projection.EditKey]struct{}{}
	for _, k := range places {
		all[projection.EditKey{App: k.App, Conversation: conversationOf(k)}] = struct{}{}
	}
	return all
}

// byConversation has the members of a group follow each other.
func byConversation(a, b projection.Key) int {
	return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.ConversationID, b.ConversationID), strings.Compare(a.Owner, b.Owner))
}

// addPeer adds whose profile is shown at a place.
func addPeer(to map[projection.UserKey]struct{}, place projection.Key) {
	if t, name, _ := events.SplitConversationID(place.ConversationID); t == events.TypeC2C {
		to[projection.UserKey{App: place.App, UserID: name}] = struct{}{}
	}
}
