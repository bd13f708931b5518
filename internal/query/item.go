package query

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// appendItem appends an item as replies have it: what encoding/json makes of its
// fields without escaping HTML, in half the time, which was most of what it takes to
// answer for a conversation that has changed. It leaves U+2028 and U+2029 as they are, too.
// The last message may be one that somebody else in the group was shown: then it is as
// it was encoded for them.
func appendItem(dst []byte, i *projection.Item, shown *lastShown) []byte {
	w := jsonWriter{dst}
	w.text(`{"conversationID":`, i.ConversationID)
	w.text(`,"type":`, i.Type)
	w.text(`,"subType":`, i.SubType)
	w.number(`,"unreadCount":`, i.UnreadCount)
	w.raw(`,"lastMessage":`)
	if shown == nil || i.LastMessage.LastSequence == 0 { // few see none where others see one
		w.lastMessage(&i.LastMessage)
	} else {
		w.dst = append(w.dst, shown.lastMessage(&i.LastMessage)...)
	}
	appendList(&w, `,"groupAtInfoList":`, i.GroupAtInfoList, func(m *projection.GroupAtInfo) {
		w.text(`{"from":`, m.From)
		w.text(`,"groupID":`, m.GroupID)
		w.number(`,"messageSequence":`, m.MessageSequence)
		appendList(&w, `,"atTypeArray":`, m.AtTypeArray, func(kind *int) { w.signed("", int64(*kind)) })
		w.raw(`}`)
	})
	w.signed(`,"peerReadTime":`, i.PeerReadTime)
	w.flag(`,"isPinned":`, i.IsPinned)
	w.text(`,"messageRemindType":`, i.MessageRemindType)
	appendList(&w, `,"markList":`, i.MarkList, func(mark *uint64) { w.number("", *mark) })
	w.text(`,"customData":`, i.CustomData)
	appendList(&w, `,"conversationGroupList":`, i.ConversationGroupList, func(name *string) { w.text("", *name) })
	w.text(`,"draftText":`, i.DraftText)
	w.text(`,"remark":`, i.Remark)
	w.raw(`,"userProfile":`)
	switch u := i.UserProfile.(type) {
	case *projection.UserInfo:
		w.userInfo(u)
		w.raw(`}`)
	case *projection.UserDetails:
		w.userDetails(u)
	default:
		w.raw(`null`)
	}
	w.raw(`,"groupProfile":`)
	switch g := i.GroupProfile.(type) {
	case *projection.GroupInfo:
		w.groupInfo(g)
		w.raw(`}`)
	case *projection.GroupDetails:
		w.groupDetails(g)
	default:
		w.raw(`null`)
	}
	w.raw(`}`)
	return w.dst
}

// lastShown is a group's last message as it was encoded last: nearly all members see
// the same.
type lastShown struct {
	message projection.LastMessage
	json    []byte
}

func (e *lastShown) lastMessage(m *projection.LastMessage) []byte {
	if e.json == nil || !equal(&e.message, m) {
		w := jsonWriter{e.json[:0]}
		w.lastMessage(m)
		e.message, e.json = *m, w.dst
	}
	return e.json
}

func equal(a, b *projection.LastMessage) bool {
	return a.MessageID == b.MessageID && a.LastTime == b.LastTime && a.LastSequence == b.LastSequence &&
		a.FromAccount == b.FromAccount && a.MessageForShow == b.MessageForShow && a.Type == b.Type &&
		bytes.Equal(a.Payload, b.Payload) && a.PayloadOmitted == b.PayloadOmitted &&
		a.IsRevoked == b.IsRevoked && equalTexts(a.Revoker, b.Revoker) && a.RevokeReason == b.RevokeReason &&
		a.IsPeerRead == b.IsPeerRead && a.Nick == b.Nick && a.NameCard == b.NameCard && a.Avatar == b.Avatar &&
		a.CloudCustomData == b.CloudCustomData && a.OnlineOnlyFlag == b.OnlineOnlyFlag && a.Version == b.Version
}

func equalTexts(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// jsonWriter appends JSON. A key comes with what stands before and after it.
type jsonWriter struct{ dst []byte }

func (w *jsonWriter) lastMessage(m *projection.LastMessage) {
	w.text(`{"messageID":`, m.MessageID)
	w.signed(`,"lastTime":`, m.LastTime)
	w.number(`,"lastSequence":`, m.LastSequence)
	w.text(`,"fromAccount":`, m.FromAccount)
	w.text(`,"messageForShow":`, m.MessageForShow)
	w.text(`,"type":`, m.Type)
	w.raw(`,"payload":`)
	if m.Payload == nil {
		w.raw(`null`)
	} else {
		w.dst = append(w.dst, m.Payload...)
	}
	if m.PayloadOmitted {
		w.raw(`,"payloadOmitted":true`)
	}
	w.flag(`,"isRevoked":`, m.IsRevoked)
	if m.Revoker == nil {
		w.raw(`,"revoker":null`)
	} else {
		w.text(`,"revoker":`, *m.Revoker)
	}
	w.text(`,"revokeReason":`, m.RevokeReason)
	w.flag(`,"isPeerRead":`, m.IsPeerRead)
	w.text(`,"nick":`, m.Nick)
	w.text(`,"nameCard":`, m.NameCard)
	w.text(`,"avatar":`, m.Avatar)
	w.text(`,"cloudCustomData":`, m.CloudCustomData)
	w.flag(`,"onlineOnlyFlag":`, m.OnlineOnlyFlag)
	w.number(`,"version":`, m.Version)
	w.raw(`}`)
}

// userInfo leaves the object open, as does groupInfo.
func (w *jsonWriter) userInfo(u *projection.UserInfo) {
	w.text(`{"userID":`, u.UserID)
	w.text(`,"nick":`, u.Nick)
	w.text(`,"avatar":`, u.Avatar)
}

func (w *jsonWriter) userDetails(u *projection.UserDetails) {
	w.userInfo(&u.UserInfo)
	w.text(`,"gender":`, u.Gender)
	w.number(`,"birthday":`, uint64(u.Birthday))
	w.text(`,"location":`, u.Location)
	w.text(`,"selfSignature":`, u.SelfSignature)
	w.text(`,"allowType":`, u.AllowType)
	w.number(`,"language":`, uint64(u.Language))
	w.number(`,"messageSettings":`, uint64(u.MessageSettings))
	w.text(`,"adminForbidType":`, u.AdminForbidType)
	w.number(`,"level":`, uint64(u.Level))
	w.number(`,"role":`, uint64(u.Role))
	w.fields(`,"profileCustomField":`, u.ProfileCustomField)
	w.signed(`,"lastUpdatedTime":`, u.LastUpdatedTime)
	w.raw(`}`)
}

func (w *jsonWriter) groupInfo(g *projection.GroupInfo) {
	w.text(`{"groupID":`, g.GroupID)
	w.text(`,"name":`, g.Name)
	w.text(`,"avatar":`, g.Avatar)
	w.text(`,"type":`, g.Type)
}

func (w *jsonWriter) groupDetails(g *projection.GroupDetails) {
	w.groupInfo(&g.GroupInfo)
	w.text(`,"introduction":`, g.Introduction)
	w.text(`,"notification":`, g.Notification)
	w.text(`,"ownerID":`, g.OwnerID)
	w.signed(`,"createTime":`, g.CreateTime)
	w.number(`,"memberCount":`, g.MemberCount)
	w.number(`,"maxMemberCount":`, g.MaxMemberCount)
	w.flag(`,"muteAllMembers":`, g.MuteAllMembers)
	w.text(`,"joinOption":`, g.JoinOption)
	w.text(`,"inviteOption":`, g.InviteOption)
	w.flag(`,"isSupportTopic":`, g.IsSupportTopic)
	w.number(`,"infoSequence":`, g.InfoSequence)
	w.fields(`,"groupCustomField":`, g.GroupCustomField)
	w.signed(`,"lastInfoTime":`, g.LastInfoTime)
	s := &g.SelfInfo
	w.text(`,"selfInfo":{"userID":`, s.UserID)
	w.text(`,"role":`, s.Role)
	w.text(`,"nameCard":`, s.NameCard)
	w.signed(`,"joinTime":`, s.JoinTime)
	w.number(`,"joinSequence":`, s.JoinSequence)
	w.text(`,"messageRemindType":`, s.MessageRemindType)
	w.number(`,"readedSequence":`, s.ReadedSequence)
	w.number(`},"nextMessageSeq":`, g.NextMessageSeq)
	w.raw(`,"lastMessage":`)
	w.lastMessage(&g.LastMessage)
	w.raw(`}`)
}

func (w *jsonWriter) fields(key string, list []events.KeyValue) {
	appendList(w, key, list, func(f *events.KeyValue) {
		w.text(`{"key":`, f.Key)
		w.text(`,"value":`, f.Value)
		w.raw(`}`)
	})
}

func (w *jsonWriter) raw(s string) { w.dst = append(w.dst, s...) }

// text writes invalid UTF-8 as U+FFFD, as encoding/json does.
func (w *jsonWriter) text(key, s string) {
	w.dst, _ = jsontext.AppendQuote(append(w.dst, key...), s)
}

func (w *jsonWriter) number(key string, n uint64) {
	w.dst = strconv.AppendUint(append(w.dst, key...), n, 10)
}

func (w *jsonWriter) signed(key string, n int64) {
	w.dst = strconv.AppendInt(append(w.dst, key...), n, 10)
}

func (w *jsonWriter) flag(key string, is bool) {
	w.dst = strconv.AppendBool(append(w.dst, key...), is)
}

// appendList writes an empty list for none.
func appendList[T any](w *jsonWriter, key string, list []T, element func(*T)) {
	w.raw(key)
	open := "["
	for i := range list {
		w.raw(open)
		element(&list[i])
		open = ","
	}
	if len(list) == 0 {
		w.raw(open)
	}
	w.raw("]")
}
