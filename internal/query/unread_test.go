package query

import (
	"fmt"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/events"
)

func TestUnread(t *testing.T) {
	f := start(t, some())
	// Unread: @TIM#SYSTEM 1, GROUPg1 1, C2Cben 2, C2Ccid 1 (Discard), C2Cdan 1 (hidden).
	f.fold(ago(time.Hour), c2c("eve", "ann", 1, "x"), remind("ann", "C2Ceve", events.RemindAcceptNotNotify),
		c2c("fay", "ann", 1, "x"), remind("ann", "C2Cfay", "AcceptNotNotifyExceptAt"),
		c2c("gus", "ann", 1, "x"), remind("ann", "C2Cgus", "NotReceiveMsgExceptAt"),
		plan(1)) // the total is over the list before its cut
	for _, c := range []struct {
		fields string
		want   int
	}{
		{``, 5},
		{`,"includeMuted":false`, 5},
		{`,"includeMuted":true`, 8},
		{`,"type":"C2C"`, 4},
		{`,"type":"C2C","includeMuted":true`, 6},
		{`,"type":"GROUP"`, 1},
		{`,"type":"@TIM#SYSTEM"`, 0},
		{`,"type":"@TIM#SYSTEM","includeMuted":true`, 1},
		{`,"markType":1`, 2},
		{`,"markType":4`, 1},
		{`,"groupName":"work"`, 3},
		{`,"hasUnreadCount":false`, 0},
		{`,"hasGroupAtInfo":true`, 1},
		{`,"conversationIDList":["C2Cdan","C2Cben","C2Ccid"]`, 3},
		{`,"conversationIDList":["C2Cdan","C2Cben","C2Ccid"],"includeMuted":true`, 4},
		{`,"conversationIDList":[]`, 0},
	} {
		code, body := f.ask("unread", `{"userID":"ann"`+c.fields+`}`)
		if want := fmt.Sprintf(`{"code":0,"data":{"totalUnreadMessageCount":%d}}`, c.want); code != "0" || body != want {
			t.Errorf("%s: %s %s, want %s", c.fields, code, body, want)
		}
	}
	if _, body := f.ask("unread", `{"userID":"zoe"}`); body != `{"code":0,"data":{"totalUnreadMessageCount":0}}` {
		t.Errorf("an unknown user's: %s", body)
	}
}
