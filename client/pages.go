package client

import (
	"context"
	"errors"
	"iter"
)

// Pages asks for page after page of a list, from r.Cursor on.
//
// An error ends it, but for one: a conversation that is too large for a reply
// (ErrTooLarge) is passed over if the loop goes on.
//
// With Sync or Since any page may begin the list anew, see [List]; [Client.Sync]
// looks after that.
func (c *Client) Pages(ctx context.Context, r ListRequest) iter.Seq2[*List, error] {
	return func(yield func(*List, error) bool) {
		r := r // each sequence begins at the same page
		for {
			page, err := c.List(ctx, r)
			if !yield(page, err) {
				return
			}
			next := ""
			if tooLarge := (*Error)(nil); err == nil {
				next = page.NextCursor
			} else if errors.Is(err, ErrTooLarge) && errors.As(err, &tooLarge) {
				next = tooLarge.NextCursor
			}
			if next == "" {
				return
			}
			r.Cursor = next
		}
	}
}

// Conversations gives the conversations of a list, in order, and asks for the next
// page when one is at its end. Errors are those of [Client.Pages].
//
// What moves in the list meanwhile may be seen twice or missed; what stays is seen
// once.
func (c *Client) Conversations(ctx context.Context, r ListRequest) iter.Seq2[Conversation, error] {
	return func(yield func(Conversation, error) bool) {
		for page, err := range c.Pages(ctx, r) {
			if err != nil {
				if !yield(Conversation{}, err) {
					return
				}
				continue
			}
			for _, conversation := range page.ConversationList {
				if !yield(conversation, nil) {
					return
				}
			}
		}
	}
}
