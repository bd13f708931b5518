package client

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Filter says which conversations are meant. What is not given means all; what is
// given must all be so.
type Filter struct {
	// ConversationIDList: only these, at most 500, hidden ones and those beyond
	// the list's cut included. Nil: all; empty: none.
	ConversationIDList []string `json:"conversationIDList,omitzero"`
	// Type: TypeC2C, TypeGroup or TypeSystem.
	Type string `json:"type,omitempty"`
	// MarkType: with this mark; 0: without any.
	MarkType *uint64 `json:"markType,omitempty"`
	// GroupName: in this conversation group of the user's; "": in none.
	GroupName *string `json:"groupName,omitempty"`
	// HasUnreadCount: with unread messages; false: without.
	HasUnreadCount *bool `json:"hasUnreadCount,omitempty"`
	// HasGroupAtInfo: with mentions; false: without.
	HasGroupAtInfo *bool `json:"hasGroupAtInfo,omitempty"`
}

// ListRequest asks for a user's list, or for what has changed in it.
type ListRequest struct {
	// UserID is whose list is asked for.
	UserID string `json:"userID"`
	Filter
	// Limit is the size of a page: 1 to the app's maxConversations, which it is by default.
	Limit uint64 `json:"limit,omitempty"`
	// Cursor is the NextCursor of the page before, whose other fields but Limit,
	// TimeoutMs and After must be the same; "" for the first page.
	Cursor string `json:"cursor,omitempty"`
	// Sync asks for a SyncToken.
	Sync bool `json:"sync,omitempty"`
	// Since is a SyncToken: only what has changed since.
	Since string `json:"since,omitempty"`
	// TimeoutMs is how long the worker may take: 1 to 5000. 0: what is left until
	// the context's deadline, less a little for the reply's way.
	TimeoutMs uint64 `json:"timeoutMs,omitempty"`
	// After is what must have been taken in before.
	After After `json:"after,omitempty"`
}

// List is a page of a list.
type List struct {
	// ConversationList is in the order of the list; with Since, what has changed.
	ConversationList []Conversation `json:"conversationList"`
	// IsSyncCompleted is false while there is another page.
	IsSyncCompleted bool `json:"isSyncCompleted"`
	// Removed are, with Since, the IDs that are not in the list any more. The first
	// page has them all.
	Removed []string `json:"removed"`
	// Reset says that the whole list begins with this page, and that nothing counts
	// that was known of it before: Since could not be used or, on a later page, the
	// list has changed since the first one.
	Reset bool `json:"reset"`
	// NextCursor goes on behind this page; "" on the last.
	NextCursor string `json:"-"`
	// SyncToken is, with Sync, the Since of the next time. It is on the page where
	// the list begins: the first one, or the last one with Reset.
	SyncToken string `json:"-"`
}

// List asks for one page.
func (c *Client) List(ctx context.Context, r ListRequest) (*List, error) {
	if err := errors.Join(text("userID", r.UserID), r.texts()); err != nil {
		return nil, err
	}
	var list List
	said, err := c.call(ctx, EndpointList, r.UserID, &r, &r.TimeoutMs, &list)
	if err != nil {
		return nil, err
	}
	list.NextCursor, list.SyncToken = said.NextCursor, said.SyncToken
	return &list, nil
}

// ProfileRequest asks for one conversation in full.
type ProfileRequest struct {
	// UserID is whose view is asked for.
	UserID string `json:"userID"`
	// ConversationID is the conversation's, as this user calls it.
	ConversationID string `json:"conversationID"`
	// TimeoutMs is how long the worker may take: 1 to 5000. 0: what is left until
	// the context's deadline, less a little for the reply's way.
	TimeoutMs uint64 `json:"timeoutMs,omitempty"`
	// After is what must have been taken in before.
	After After `json:"after,omitempty"`
}

// Profile asks for one conversation in full, in the user's list or not. It is
// ErrNotFound when the user does not know it.
func (c *Client) Profile(ctx context.Context, r ProfileRequest) (*Profile, error) {
	if err := errors.Join(text("userID", r.UserID), text("conversationID", r.ConversationID)); err != nil {
		return nil, err
	}
	var data struct {
		Conversation Profile `json:"conversation"`
	}
	if _, err := c.call(ctx, EndpointProfile, r.UserID, &r, &r.TimeoutMs, &data); err != nil {
		return nil, err
	}
	return &data.Conversation, nil
}

// UnreadRequest asks for the total of unread messages.
type UnreadRequest struct {
	// UserID is whose total is asked for.
	UserID string `json:"userID"`
	Filter
	// IncludeMuted counts SYSTEM and what the user is not notified of, too.
	IncludeMuted bool `json:"includeMuted,omitempty"`
	// TimeoutMs is how long the worker may take: 1 to 5000. 0: what is left until
	// the context's deadline, less a little for the reply's way.
	TimeoutMs uint64 `json:"timeoutMs,omitempty"`
	// After is what must have been taken in before.
	After After `json:"after,omitempty"`
}

// Unread gives the total of unread messages, beyond the list's cut, too.
func (c *Client) Unread(ctx context.Context, r UnreadRequest) (uint64, error) {
	if err := errors.Join(text("userID", r.UserID), r.texts()); err != nil {
		return 0, err
	}
	var data struct {
		Total uint64 `json:"totalUnreadMessageCount"`
	}
	_, err := c.call(ctx, EndpointUnread, r.UserID, &r, &r.TimeoutMs, &data)
	return data.Total, err
}

// text refuses what is no UTF-8: in JSON it would be another text, and so ask for another.
func text(field, value string) error {
	if !utf8.ValidString(value) {
		return fmt.Errorf("%w: %s %q: expected UTF-8", ErrBadRequest, field, value)
	}
	return nil
}

// texts refuses the texts of a filter that are no UTF-8.
func (f *Filter) texts() error {
	var errs []error
	for i, id := range f.ConversationIDList {
		errs = append(errs, text(fmt.Sprintf("conversationIDList[%d]", i), id))
	}
	if f.GroupName != nil {
		errs = append(errs, text("groupName", *f.GroupName))
	}
	return errors.Join(errs...)
}

// setTimeout sets a timeoutMs that is not given, unless it is the worker's default,
// and says what it then is.
func setTimeout(ms *uint64, timeout time.Duration) time.Duration {
	if *ms == 0 && timeout < workerTimeout {
		*ms = uint64(timeout.Milliseconds())
	}
	if *ms > 0 {
		return time.Duration(min(*ms, uint64(workerTimeout.Milliseconds()))) * time.Millisecond
	}
	return workerTimeout
}
