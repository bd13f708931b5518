package rebuild

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// source is where replies are made from: a generation, or events that were folded.
type source interface {
	FullStates(ctx context.Context, keys []projection.Key) (map[projection.Key]*projection.State, error)
	FullGroups(ctx context.Context, keys []projection.GroupKey) (map[projection.GroupKey]*projection.GroupProfile, error)
	FullUsers(ctx context.Context, keys []projection.UserKey) (map[projection.UserKey]*projection.UserProfile, error)
	Edits(ctx context.Context, keys []projection.EditKey) (map[projection.EditKey]*projection.Edit, error)
	Senders(ctx context.Context, keys []projection.MentionKey) (map[projection.MentionKey]projection.Register[string], error)
	Apps(ctx context.Context, apps []string) (map[string]*projection.App, error)
}

// reply is all that replies show a user of a conversation: its profile, and its place
// in the list.
type reply struct {
	headed bool // there is a head that is not expired
	fields values
}

// values are those of fields by their paths, as JSON; nil: the user may not ask.
type values map[string]string

// Field is one in which two replies differ. A value is JSON; "" is no such field.
type Field struct {
	Field  string `json:"field"`
	Ours   string `json:"ours"`
	Theirs string `json:"theirs"`
}

// fieldsOf are those in which two replies differ, by their names. Conversations without a
// head that is not expired have none: what they remember of old messages differs rightly.
func fieldsOf(ours, theirs reply) []Field {
	if !ours.headed && !theirs.headed {
		return nil
	}
	if ours.fields == nil || theirs.fields == nil {
		if ours.fields == nil && theirs.fields == nil {
			return nil
		}
		return []Field{{"known", strconv.FormatBool(ours.fields != nil), strconv.FormatBool(theirs.fields != nil)}}
	}
	names := maps.Clone(ours.fields)
	maps.Copy(names, theirs.fields)
	var fields []Field
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if ours.fields[name] != theirs.fields[name] {
			fields = append(fields, Field{name, ours.fields[name], theirs.fields[name]})
		}
	}
	return fields
}

// placesAtOnce is how many replies are made of one read.
const placesAtOnce = 500

// replies makes the replies for places, each a user and a conversation, at a time.
func replies(ctx context.Context, from source, now events.Micros, places []projection.Key) (map[projection.Key]reply, error) {
	w := wanted{from: from}
	for _, k := range places {
		w.states = append(w.states, k)
		w.apps = append(w.apps, k.App)
		if t, name, _ := events.SplitConversationID(k.ConversationID); t == events.TypeGroup {
			w.states = append(w.states, projection.Key{App: k.App, ConversationID: k.ConversationID})
			w.groups = append(w.groups, projection.GroupKey{App: k.App, GroupID: name})
		}
	}
	if err := w.load(ctx); err != nil {
		return nil, err
	}
	conversations := map[projection.Key]*projection.Conversation{}
	rules := map[string]projection.Rules{}
	for _, k := range places {
		r, known := rules[k.App]
		if !known {
			r = cmp.Or(w.found.apps[k.App], &projection.App{}).Rules(now)
			rules[k.App] = r
		}
		_, name, _ := events.SplitConversationID(k.ConversationID)
		c, ok := projection.NewConversation(k.Owner, k.ConversationID, w.found.states[k],
			w.found.states[projection.Key{App: k.App, ConversationID: k.ConversationID}], w.found.groups[projection.GroupKey{App: k.App, GroupID: name}])
		if !ok {
			continue
		}
		conversations[k] = &c
		needs := c.Needs(k.App, r)
		w.edits = append(w.edits, needs.Edits...)
		w.users = append(w.users, needs.Peers...)
		w.mentions = append(w.mentions, needs.Mentions...)
	}
	if err := w.loadDetails(ctx); err != nil {
		return nil, err
	}
	all := make(map[projection.Key]reply, len(conversations))
	for k, c := range conversations {
		var err error
		if all[k], err = w.found.reply(k, c, rules[k.App]); err != nil {
			return nil, fmt.Errorf("what user %q of app %s is shown of %q: %w", k.Owner, k.App, k.ConversationID, err)
		}
	}
	return all, nil
}

// wanted is what is to be read of a source, and then what was found.
type wanted struct {
	from     source
	states   []projection.Key
	groups   []projection.GroupKey
	apps     []string
	edits    []projection.EditKey
	users    []projection.UserKey
	mentions []projection.MentionKey
	found    found
}

type found struct {
	states  map[projection.Key]*projection.State
	groups  map[projection.GroupKey]*projection.GroupProfile
	apps    map[string]*projection.App
	edits   map[projection.EditKey]*projection.Edit
	users   map[projection.UserKey]*projection.UserProfile
	senders map[projection.MentionKey]projection.Register[string]
}

func (w *wanted) load(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	fetch(ctx, g, w.from.FullStates, w.states, &w.found.states)
	fetch(ctx, g, w.from.FullGroups, w.groups, &w.found.groups)
	fetch(ctx, g, w.from.Apps, w.apps, &w.found.apps)
	return g.Wait()
}

func (w *wanted) loadDetails(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	fetch(ctx, g, w.from.Edits, w.edits, &w.found.edits)
	fetch(ctx, g, w.from.FullUsers, w.users, &w.found.users)
	fetch(ctx, g, w.from.Senders, w.mentions, &w.found.senders)
	return g.Wait()
}

// fetch has g read what is at keys, each once.
func fetch[K comparable, V any](ctx context.Context, g *errgroup.Group, from func(context.Context, []K) (map[K]V, error), keys []K, to *map[K]V) {
	if len(keys) == 0 {
		return
	}
	once := map[K]struct{}{}
	for _, k := range keys {
		once[k] = struct{}{}
	}
	g.Go(func() (err error) {
		*to, err = from(ctx, slices.Collect(maps.Keys(once)))
		return err
	})
}

// reply is what a user is shown of a conversation.
func (f *found) reply(k projection.Key, c *projection.Conversation, r projection.Rules) (reply, error) {
	if !c.Known(r) {
		return reply{headed: c.Headed(r)}, nil
	}
	d := projection.Details{Sender: func(m projection.Mention) string {
		return f.senders[projection.MentionKey{App: k.App, GroupID: c.Name, Mention: m}].Value
	}}
	if key, ok := c.HeadEdit(k.App, r); ok && f.edits[key] != nil {
		d.Edit = *f.edits[key]
	}
	if peer := f.users[projection.UserKey{App: k.App, UserID: c.Name}]; peer != nil {
		d.Peer = *peer
	}
	shown := struct {
		projection.Item
		Listed bool          `json:"listed"`
		Hidden bool          `json:"hidden"`
		Order  events.Micros `json:"order"` // what the list is ordered by, beside isPinned
	}{Item: c.Profile(d, r)}
	if l, listed := c.Listing(r); listed {
		shown.Listed, shown.Hidden, shown.Order = true, l.Hidden, l.Time
	}
	if g, ok := shown.GroupProfile.(*projection.GroupDetails); ok {
		// These two remember messages that are expired, and that the topics need not have any more.
		g.SelfInfo.ReadedSequence, g.NextMessageSeq = 0, 0
		g.LastMessage = projection.LastMessage{} // the item has it
	}
	payload := shown.LastMessage.Payload // may be anything, if it was damaged
	shown.LastMessage.Payload = nil
	var encoded bytes.Buffer
	e := json.NewEncoder(&encoded)
	e.SetEscapeHTML(false)
	if err := e.Encode(shown); err != nil {
		return reply{}, err
	}
	all := reply{c.Headed(r), values{}}
	if err := all.fields.flatten("", bytes.TrimSpace(encoded.Bytes())); err != nil {
		return reply{}, err
	}
	all.fields["lastMessage.payload"] = string(payload)
	return all, nil
}

// flatten adds the fields of an object under their paths.
func (v values) flatten(path string, value json.RawMessage) error {
	if !bytes.HasPrefix(value, []byte("{")) {
		v[path] = string(value)
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return err
	}
	for name, value := range fields {
		if path != "" {
			name = path + "." + name
		}
		if err := v.flatten(name, value); err != nil {
			return err
		}
	}
	return nil
}
