package projection

import (
	"cmp"
	"slices"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// Version orders the writers of a register: by the event's time, then by its ID, bytewise.
// The zero Version is that of a register that was never written.
type Version struct {
	Time events.Micros
	ID   string
}

// Written reports whether the register was ever written: the contract lets no event be older than 2000.
func (v Version) Written() bool { return v.Time != 0 }

func (v Version) compare(w Version) int {
	return cmp.Or(cmp.Compare(v.Time, w.Time), strings.Compare(v.ID, w.ID))
}

// Register is a last-writer-wins register. Equal versions fall to the greater value,
// as ClickHouse's max over tuples (time, id, value…) has it.
type Register[T any] struct {
	Version
	Value T
}

// Merge folds other into r; compare orders values of equal versions.
func (r *Register[T]) Merge(other Register[T], compare func(a, b T) int) {
	c := r.compare(other.Version)
	if c == 0 {
		c = compare(r.Value, other.Value)
	}
	if c < 0 {
		*r = other
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// ReadMark is how far somebody has read, and when they said so: the greatest
// sequence, of equal ones the latest.
type ReadMark struct {
	Sequence uint64
	Time     events.Micros
}

func (m *ReadMark) merge(other ReadMark) {
	if cmp.Or(cmp.Compare(m.Sequence, other.Sequence), cmp.Compare(m.Time, other.Time)) < 0 {
		*m = other
	}
}

// Member is a user's membership of a group.
type Member struct {
	Status, Role, NameCard string
	JoinSequence           uint64
	JoinTime               events.Micros
	OperatorID             string
}

func compareMembers(a, b Member) int {
	return cmp.Or(
		strings.Compare(a.Status, b.Status),
		strings.Compare(a.Role, b.Role),
		strings.Compare(a.NameCard, b.NameCard),
		cmp.Compare(a.JoinSequence, b.JoinSequence),
		cmp.Compare(a.JoinTime, b.JoinTime),
		strings.Compare(a.OperatorID, b.OperatorID),
	)
}

// InlinePayloadBytes is the greatest payload that a list carries. A greater
// one is kept apart and shown by the profile alone.
const InlinePayloadBytes = 1024

// Head is the message that a conversation shows: the greatest (sequence, time,
// id) among those that may be a head. The order of the fields is that of the
// tuple in ClickHouse, which decides ties.
type Head struct {
	Sequence                       uint64
	Time                           events.Micros
	ID                             string
	MessageID, From, Type, Preview string
	Nick, Avatar, NameCard         string
	CloudCustomData                string
	PayloadBytes                   uint32 // length of the payload; 0: there is none
	Payload, LargePayload          string // at most one is set; see InlinePayloadBytes
}

func (h *Head) compare(o *Head) int {
	return cmp.Or(
		cmp.Compare(h.Sequence, o.Sequence),
		cmp.Compare(h.Time, o.Time),
		strings.Compare(h.ID, o.ID),
		strings.Compare(h.MessageID, o.MessageID),
		strings.Compare(h.From, o.From),
		strings.Compare(h.Type, o.Type),
		strings.Compare(h.Preview, o.Preview),
		strings.Compare(h.Nick, o.Nick),
		strings.Compare(h.Avatar, o.Avatar),
		strings.Compare(h.NameCard, o.NameCard),
		strings.Compare(h.CloudCustomData, o.CloudCustomData),
		cmp.Compare(h.PayloadBytes, o.PayloadBytes),
		strings.Compare(h.Payload, o.Payload),
		strings.Compare(h.LargePayload, o.LargePayload),
	)
}

// Light is the head without a large payload, which lists never show; nil of nil.
func (h *Head) Light() *Head {
	if h == nil || h.LargePayload == "" {
		return h
	}
	light := *h
	light.LargePayload = ""
	return &light
}

// Recall is a message's latest recall.
type Recall struct {
	Revoker, Reason string
}

func compareRecalls(a, b Recall) int {
	return cmp.Or(strings.Compare(a.Revoker, b.Revoker), strings.Compare(a.Reason, b.Reason))
}

// Modification is a message's highest version, of equal ones the latest. An absent part keeps the original's.
type Modification struct {
	Number             uint64 // the version; 0: never modified
	Time               events.Micros
	ID                 string
	Payload            string // "": absent
	HasMessageForShow  bool
	MessageForShow     string
	PayloadText        string
	HasCloudCustomData bool
	CloudCustomData    string
	From               string // the message's sender in GROUP and SYSTEM, if known
}

func (m *Modification) merge(o *Modification) {
	c := cmp.Or(
		cmp.Compare(m.Number, o.Number),
		cmp.Compare(m.Time, o.Time),
		strings.Compare(m.ID, o.ID),
		strings.Compare(m.Payload, o.Payload),
		compareBool(m.HasMessageForShow, o.HasMessageForShow),
		strings.Compare(m.MessageForShow, o.MessageForShow),
		strings.Compare(m.PayloadText, o.PayloadText),
		compareBool(m.HasCloudCustomData, o.HasCloudCustomData),
		strings.Compare(m.CloudCustomData, o.CloudCustomData),
		strings.Compare(m.From, o.From),
	)
	if c < 0 {
		*m = *o
	}
}

// Edit is what happened to one message after it was sent.
type Edit struct {
	Recall       Register[Recall]
	Modification Modification
}

// Merge folds other into e.
func (e *Edit) Merge(other Edit) {
	e.Recall.Merge(other.Recall, compareRecalls)
	e.Modification.merge(&other.Modification)
}

// UserProfile is the register of a user's whole profile.
type UserProfile = Register[events.UserProfileChanged]

// GroupProfile is the register of a group's whole profile.
type GroupProfile = Register[events.GroupProfileChanged]

// ShortUser is the part of a user's profile that lists show: the first fields
// of the register, so that the greatest of the parts is the part of the greatest.
func ShortUser(p UserProfile) UserProfile {
	return UserProfile{p.Version, events.UserProfileChanged{Nick: p.Value.Nick, Avatar: p.Value.Avatar}}
}

// ShortGroup is the part of a group's profile that lists look at; see ShortUser.
func ShortGroup(p GroupProfile) GroupProfile {
	return GroupProfile{p.Version, events.GroupProfileChanged{
		Name: p.Value.Name, Avatar: p.Value.Avatar, Type: p.Value.Type, Dismissed: p.Value.Dismissed,
	}}
}

// MergeUser folds other into p.
func MergeUser(p *UserProfile, other UserProfile) { p.Merge(other, compareUserProfiles) }

// MergeGroup folds other into p.
func MergeGroup(p *GroupProfile, other GroupProfile) { p.Merge(other, compareGroupProfiles) }

// MergeText folds other into r.
func MergeText(r *Register[string], other Register[string]) { r.Merge(other, strings.Compare) }

// MergePlan folds other into p.
func MergePlan(p *Plan, other Plan) { p.Merge(other, comparePlans) }

// Plan is the register of an app's plan.
type Plan = Register[events.AppPlanChanged]

func compareKeyValues(a, b []events.KeyValue) int {
	return slices.CompareFunc(a, b, func(x, y events.KeyValue) int {
		return cmp.Or(strings.Compare(x.Key, y.Key), strings.Compare(x.Value, y.Value))
	})
}

func compareUserProfiles(a, b events.UserProfileChanged) int {
	return cmp.Or(
		strings.Compare(a.Nick, b.Nick),
		strings.Compare(a.Avatar, b.Avatar),
		strings.Compare(a.Gender, b.Gender),
		cmp.Compare(a.Birthday, b.Birthday),
		strings.Compare(a.Location, b.Location),
		strings.Compare(a.SelfSignature, b.SelfSignature),
		strings.Compare(a.AllowType, b.AllowType),
		cmp.Compare(a.Language, b.Language),
		cmp.Compare(a.MessageSettings, b.MessageSettings),
		strings.Compare(a.AdminForbidType, b.AdminForbidType),
		cmp.Compare(a.Level, b.Level),
		cmp.Compare(a.Role, b.Role),
		compareKeyValues(a.ProfileCustomField, b.ProfileCustomField),
	)
}

func compareGroupProfiles(a, b events.GroupProfileChanged) int {
	return cmp.Or(
		strings.Compare(a.Name, b.Name),
		strings.Compare(a.Avatar, b.Avatar),
		strings.Compare(a.Type, b.Type),
		compareBool(a.Dismissed, b.Dismissed),
		strings.Compare(a.Introduction, b.Introduction),
		strings.Compare(a.Notification, b.Notification),
		strings.Compare(a.OwnerID, b.OwnerID),
		cmp.Compare(a.CreateTime, b.CreateTime),
		cmp.Compare(a.MemberCount, b.MemberCount),
		cmp.Compare(a.MaxMemberCount, b.MaxMemberCount),
		compareBool(a.MuteAllMembers, b.MuteAllMembers),
		strings.Compare(a.JoinOption, b.JoinOption),
		strings.Compare(a.InviteOption, b.InviteOption),
		compareBool(a.IsSupportTopic, b.IsSupportTopic),
		cmp.Compare(a.InfoSequence, b.InfoSequence),
		compareKeyValues(a.GroupCustomField, b.GroupCustomField),
	)
}

func comparePlans(a, b events.AppPlanChanged) int {
	return cmp.Or(
		cmp.Compare(a.MaxConversations, b.MaxConversations),
		cmp.Compare(a.Retention, b.Retention),
	)
}
