package events

import (
	"errors"
	"fmt"
	"math"
)

// Limits bound what one event may hold. An event over a limit is a dead letter
// (CodeTooLarge) that names the field.
type Limits struct {
	// EventBytes bounds a record's value, in bytes as it came.
	EventBytes int
	// PayloadBytes bounds a payload, in bytes of its compact JSON.
	PayloadBytes int
	// CloudCustomDataBytes bounds a message's cloudCustomData.
	CloudCustomDataBytes int
	// CustomDataBytes bounds a conversation's customData.
	CustomDataBytes int
	// DraftTextBytes bounds a conversation's draftText.
	DraftTextBytes int
	// TextBytes bounds each other name and text: those of profiles, nick,
	// avatar, nameCard, messageID, type, reason, remark, and group names.
	TextBytes int
	// ProfileBytes bounds all names and texts of one profile together.
	ProfileBytes int
	// AtUserListEntries bounds the entries of an atUserList, repeats included.
	AtUserListEntries int
	// MarkListEntries bounds the entries of a markList, repeats included.
	MarkListEntries int
	// ConversationGroupListEntries bounds the entries of a conversationGroupList, repeats included.
	ConversationGroupListEntries int
}

const kilobyte = 1024

// DefaultLimits are the contract's.
func DefaultLimits() Limits {
	return Limits{
		EventBytes:                   256 * kilobyte,
		PayloadBytes:                 64 * kilobyte,
		CloudCustomDataBytes:         8 * kilobyte,
		CustomDataBytes:              4 * kilobyte,
		DraftTextBytes:               4 * kilobyte,
		TextBytes:                    4 * kilobyte,
		ProfileBytes:                 64 * kilobyte,
		AtUserListEntries:            500,
		MarkListEntries:              1000,
		ConversationGroupListEntries: 1000,
	}
}

// Validate names every limit that is not positive.
func (l Limits) Validate() error {
	var errs []error
	for _, limit := range []struct {
		name  string
		value int
	}{
		{"event bytes", l.EventBytes},
		{"payload bytes", l.PayloadBytes},
		{"cloud custom data bytes", l.CloudCustomDataBytes},
		{"custom data bytes", l.CustomDataBytes},
		{"draft text bytes", l.DraftTextBytes},
		{"text bytes", l.TextBytes},
		{"profile bytes", l.ProfileBytes},
		{"at user list", l.AtUserListEntries},
		{"mark list", l.MarkListEntries},
		{"conversation group list", l.ConversationGroupListEntries},
	} {
		if limit.value < 1 {
			errs = append(errs, fmt.Errorf("limit %s %d: expected at least 1", limit.name, limit.value))
		}
	}
	return errors.Join(errs...)
}

// Unlimited are limits that nothing exceeds: those of an encoder, and of a
// reader of what was checked before.
func Unlimited() Limits { return unlimited }

var unlimited = Limits{
	EventBytes:                   math.MaxInt,
	PayloadBytes:                 math.MaxInt,
	CloudCustomDataBytes:         math.MaxInt,
	CustomDataBytes:              math.MaxInt,
	DraftTextBytes:               math.MaxInt,
	TextBytes:                    math.MaxInt,
	ProfileBytes:                 math.MaxInt,
	AtUserListEntries:            math.MaxInt,
	MarkListEntries:              math.MaxInt,
	ConversationGroupListEntries: math.MaxInt,
}
