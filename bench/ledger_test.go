package main

import (
	"slices"
	"testing"
)

func TestShownIn(t *testing.T) {
	const one = `{"conversationID":"C2Cb\"ob","type":"C2C","unreadCount":3,"lastMessage":{"messageID":"m7","lastTime":5,"lastSequence":7,"fromAccount":"bob","payload":{"text":"\"unreadCount\":9,"}}}`
	got, err := shownIn([]byte(`{"code":0,"data":{"conversationList":[` + one + "," + one + string(wholeTail)))
	want := shown{id: `C2Cb"ob`, messageID: "m7", last: 7, unread: 3}
	if err != nil || !slices.Equal(got, []shown{want, want}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, reply := range []string{
		`{"code":0,"data":{"conversationList":[` + one + `],"nextCursor":"x"}`,
		`{"code":0,"data":{"conversationList":[{"conversationID":"C2Cbob","unreadCount":x,` + string(wholeTail),
	} {
		if got, err := shownIn([]byte(reply)); err == nil {
			t.Errorf("%s: got %+v, want an error", reply, got)
		}
	}
}
