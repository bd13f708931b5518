package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// LocalList is a copy of a user's list, or of the part of it that passes a
// filter. [Client.Sync] makes it equal to the list in convoview. It can be kept as
// JSON and gone on with later, anywhere. It is for one goroutine at a time.
type LocalList struct {
	UserID string `json:"userID"`
	Filter Filter `json:"filter"`
	// Conversations are in the order of the list.
	Conversations []Conversation `json:"conversations"`
	// LeftOut are the IDs of those that are in the list in convoview and not here,
	// because they are larger than a reply may be.
	LeftOut []string `json:"leftOut,omitempty"`
	// SyncToken stands for all of them; "" before the first Sync.
	SyncToken string `json:"syncToken"`
}

// Changes are what a Sync has changed. Both are empty when nothing has.
type Changes struct {
	// Changed are new or different, in the order of the list.
	Changed []Conversation
	// Removed are the IDs of those that are not in the list any more, or have become
	// too large for it.
	Removed []string
}

// Sync asks what has changed since the last time, of the whole list the first
// time, and puts it into l. After an error l is as it was. With after it waits for
// what was written to Kafka before.
//
// Items are those of the list, whatever was missed meanwhile. So is the order: where
// it does not follow from what has changed (two last messages of the same second,
// or one that was cleared), Sync asks for the whole list once more. Only a
// conversation that was cleared beyond its last message may move without telling.
//
// A list has several pages when it does not fit into one reply. Where it changes
// while they are asked for, Sync begins again, up to 20 times; then it gives
// [ErrUnsettled].
func (c *Client) Sync(ctx context.Context, l *LocalList, after ...Offset) (Changes, error) {
	r := ListRequest{UserID: l.UserID, Filter: l.Filter, Sync: true, Since: l.SyncToken, After: after}
	all, leftOut, err := c.wholeSync(ctx, r)
	if err != nil {
		return Changes{}, err
	}
	list, ordered := all.ConversationList, true
	if r.Since != "" && !all.Reset {
		list, ordered = merged(l.Conversations, all.ConversationList, slices.Concat(all.Removed, leftOut))
		leftOut = append(stillLeftOut(l.LeftOut, all, leftOut), leftOut...)
	}
	if !ordered {
		r.Since = ""
		if all, leftOut, err = c.wholeSync(ctx, r); err != nil {
			return Changes{}, err
		}
		list = all.ConversationList
	}
	changes := changesOf(l.Conversations, list)
	l.Conversations, l.LeftOut, l.SyncToken = list, leftOut, all.SyncToken
	return changes, nil
}

// maxBeginnings is how often a list is begun before it does not settle.
const maxBeginnings = 1 + 20

// wholeSync gives all pages as one, all of one list, and the IDs of those that are
// too large to be in it.
func (c *Client) wholeSync(ctx context.Context, r ListRequest) (whole *List, leftOut []string, err error) {
	beginnings := 0
	for page, err := range c.Pages(ctx, r) {
		var large []string
		if refused := (*Error)(nil); errors.Is(err, ErrTooLarge) && errors.As(err, &refused) {
			page, large = &List{Removed: refused.Removed, Reset: refused.Reset, SyncToken: refused.SyncToken}, []string{refused.ConversationID}
		} else if err != nil {
			return nil, nil, err
		}
		if whole != nil && !page.Reset {
			whole.ConversationList = append(whole.ConversationList, page.ConversationList...)
			leftOut = append(leftOut, large...)
			continue
		}
		if beginnings++; beginnings > maxBeginnings {
			return nil, nil, fmt.Errorf("%w: it was begun %d times", ErrUnsettled, maxBeginnings)
		}
		whole, leftOut = page, large
	}
	return whole, leftOut, nil
}

// stillLeftOut are those of the IDs before of which a sync has said nothing.
func stillLeftOut(before []string, said *List, leftOut []string) []string {
	shown := placesOf(said.ConversationList)
	return slices.DeleteFunc(slices.Clone(before), func(id string) bool {
		_, ok := shown[id]
		return ok || slices.Contains(said.Removed, id) || slices.Contains(leftOut, id)
	})
}

// placesOf gives the last place of each ID.
func placesOf(list []Conversation) map[string]int {
	places := make(map[string]int, len(list))
	for i := range list {
		places[list[i].ConversationID] = i
	}
	return places
}

// changesOf is the way from one list to another.
func changesOf(from, to []Conversation) (c Changes) {
	before, now := placesOf(from), placesOf(to)
	for _, conversation := range to {
		i, ok := before[conversation.ConversationID]
		if !ok || !equal(from[i], conversation) {
			c.Changed = append(c.Changed, conversation)
		}
	}
	for _, conversation := range from {
		if _, ok := now[conversation.ConversationID]; !ok {
			c.Removed = append(c.Removed, conversation.ConversationID)
		}
	}
	return c
}

// equal reports whether two conversations say the same. A payload that was kept as
// JSON may be written otherwise than it came: json.Marshal escapes what HTML minds.
func equal(a, b Conversation) bool {
	if !bytes.Equal(a.LastMessage.Payload, b.LastMessage.Payload) {
		kept, errKept := json.Marshal(a.LastMessage.Payload)
		came, errCame := json.Marshal(b.LastMessage.Payload)
		if errKept != nil || errCame != nil || !bytes.Equal(kept, came) {
			return false
		}
		a.LastMessage.Payload = b.LastMessage.Payload
	}
	return reflect.DeepEqual(a, b)
}

// merged puts what has changed into a list. It reports false when the order does
// not follow. Those that have changed are in order, and so are all others, whose
// places cannot have changed.
func merged(list, changed []Conversation, removed []string) ([]Conversation, bool) {
	before := placesOf(list)
	kept := slices.Clone(list)
	var moved []Conversation
	gone := map[string]bool{}
	for _, id := range removed {
		gone[id] = true
	}
	for _, conversation := range changed {
		id := conversation.ConversationID
		i, ok := before[id]
		if ok && samePlace(&list[i].Item, &conversation.Item) {
			kept[i] = conversation
			delete(gone, id)
		} else {
			moved = append(moved, conversation)
			gone[id] = true
		}
	}
	kept = slices.DeleteFunc(kept, func(conversation Conversation) bool { return gone[conversation.ConversationID] })

	result := make([]Conversation, 0, len(kept)+len(moved))
	for len(kept) > 0 && len(moved) > 0 {
		first, known := isFirst(&moved[0].Item, kept)
		switch {
		case !known:
			return nil, false
		case first:
			result, moved = append(result, moved[0]), moved[1:]
		default:
			result, kept = append(result, kept[0]), kept[1:]
		}
	}
	return append(append(result, kept...), moved...), true
}

// samePlace reports whether one item at two times is surely at the same place
// among those that have not changed: the same last message, pinned or not.
func samePlace(a, b *Item) bool {
	return a.IsPinned == b.IsPinned && hasTime(a) && a.LastMessage.MessageID == b.LastMessage.MessageID &&
		a.LastMessage.LastSequence == b.LastMessage.LastSequence && a.LastMessage.LastTime == b.LastMessage.LastTime
}

// hasTime reports whether an item shows its last message, and so the time by which
// it has its place.
func hasTime(item *Item) bool { return item.LastMessage.LastSequence > 0 }

// isFirst reports whether an item comes before all of a list, or else behind the
// first of them, and whether that is known.
func isFirst(item *Item, list []Conversation) (first, known bool) {
	if item.IsPinned != list[0].IsPinned {
		return item.IsPinned, true
	}
	if !hasTime(item) {
		return false, false
	}
	for i := range list { // the first that shows its time bounds those before it
		other := &list[i].Item
		if other.IsPinned != item.IsPinned {
			break
		}
		if hasTime(other) {
			earlier := other.LastMessage.LastTime < item.LastMessage.LastTime
			later := other.LastMessage.LastTime > item.LastMessage.LastTime
			return earlier, later || earlier && i == 0
		}
	}
	return false, false
}
