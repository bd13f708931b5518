package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/convoview/convoview/client"
)

// One page of a list, after what was written before.
func ExampleClient_List() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// Where Kafka has put what a producer has written.
	var after client.After
	for _, at := range []client.Offset{
		write(nc, "list", `"messageSent":{"from":"bob","to":"ann","messageID":"m-1","sequence":1,"type":"TIMTextElem","payload":{"text":"Are you coming?"}}`),
		write(nc, "list", `"conversationPinned":{"userID":"ann","conversationID":"C2Cbob","isPinned":true}`),
	} {
		after.Add(at.Topic, at.Partition, at.Offset)
	}

	c, err := client.New(nc, client.Config{App: "list"})
	if err != nil {
		panic(err)
	}
	list, err := c.List(ctx, client.ListRequest{UserID: "ann", Limit: 20, After: after})
	if err != nil {
		panic(err)
	}
	for _, conversation := range list.ConversationList {
		fmt.Println(conversation.ConversationID, conversation.UnreadCount, conversation.IsPinned, conversation.LastMessage.MessageForShow)
	}
	// Output: C2Cbob 1 true Are you coming?
}

// One conversation in full.
func ExampleClient_Profile() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	after := client.After{
		write(nc, "profile", `"groupMemberChanged":{"groupID":"hike","userID":"ann","status":"joined","role":"Owner","joinSequence":0}`),
	}
	profile := write(nc, "profile", `"groupProfileChanged":{"groupID":"hike","name":"Sunday hike","type":"Public","ownerID":"ann"}`)
	after.Add(profile.Topic, profile.Partition, profile.Offset)

	c, err := client.New(nc, client.Config{App: "profile"})
	if err != nil {
		panic(err)
	}
	conversation, err := c.Profile(ctx, client.ProfileRequest{UserID: "ann", ConversationID: client.Group("hike"), After: after})
	if err != nil {
		panic(err)
	}
	fmt.Println(conversation.GroupProfile.Name, "of", conversation.GroupProfile.OwnerID)
	fmt.Println("ann is", conversation.GroupProfile.SelfInfo.Role)
	// Output:
	// Sunday hike of ann
	// ann is Owner
}

// The number at the app's icon: what is unread in groups.
func ExampleClient_Unread() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var after client.After
	for _, body := range []string{
		`"groupMemberChanged":{"groupID":"hike","userID":"ann","status":"joined","joinSequence":0}`,
		`"messageSent":{"from":"bob","groupID":"hike","messageID":"m-1","sequence":1,"type":"TIMImageElem"}`,
		`"messageSent":{"from":"bob","groupID":"hike","messageID":"m-2","sequence":5,"type":"TIMImageElem"}`,
		`"messageSent":{"from":"bob","to":"ann","messageID":"m-3","sequence":1,"type":"TIMImageElem"}`,
	} {
		at := write(nc, "unread", body)
		after.Add(at.Topic, at.Partition, at.Offset)
	}

	c, err := client.New(nc, client.Config{App: "unread"})
	if err != nil {
		panic(err)
	}
	unread, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann", Filter: client.Filter{Type: client.TypeGroup}, After: after})
	if err != nil {
		panic(err)
	}
	fmt.Println(unread)
	// Output: 2
}

// A whole list, whatever the size of its pages.
func ExampleClient_Conversations() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var after client.After
	for _, peer := range []string{"bob", "carol", "dave", "eve", "frank"} {
		at := write(nc, "pages", fmt.Sprintf(`"messageSent":{"from":%q,"to":"ann","messageID":"m","sequence":1,"type":"TIMImageElem"}`, peer))
		after.Add(at.Topic, at.Partition, at.Offset)
	}

	c, err := client.New(nc, client.Config{App: "pages"})
	if err != nil {
		panic(err)
	}
	for conversation, err := range c.Conversations(ctx, client.ListRequest{UserID: "ann", Limit: 2, After: after}) {
		if err != nil {
			panic(err)
		}
		fmt.Println(conversation.ConversationID, conversation.LastMessage.MessageForShow)
	}
	// Output:
	// C2Cfrank [Image]
	// C2Ceve [Image]
	// C2Cdave [Image]
	// C2Ccarol [Image]
	// C2Cbob [Image]
}

// A copy of a list, of which only what has changed is asked for.
func ExampleClient_Sync() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(nc, client.Config{App: "sync"})
	if err != nil {
		panic(err)
	}
	list := &client.LocalList{UserID: "ann"}

	for _, body := range []string{
		`"messageSent":{"from":"bob","to":"ann","messageID":"m-1","sequence":1,"type":"TIMTextElem","payload":{"text":"Are you coming?"}}`,
		`"messageSent":{"from":"carol","to":"ann","messageID":"m-1","sequence":1,"type":"TIMTextElem","payload":{"text":"Me, too!"}}`,
		`"conversationDeleted":{"userID":"ann","conversationID":"C2Cbob","throughSequence":1}`,
	} {
		changes, err := c.Sync(ctx, list, write(nc, "sync", body))
		if err != nil {
			panic(err)
		}
		for _, conversation := range changes.Changed {
			fmt.Println("changed:", conversation.ConversationID, conversation.LastMessage.MessageForShow)
		}
		for _, id := range changes.Removed {
			fmt.Println("removed:", id)
		}
	}
	fmt.Println("left:", len(list.Conversations))
	// Output:
	// changed: C2Cbob Are you coming?
	// changed: C2Ccarol Me, too!
	// removed: C2Cbob
	// left: 1
}

// Hears of changes, and pushes what has changed to whom it concerns. A notice only
// says where to look; what is true, Sync says.
func ExampleClient_Subscribe() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(nc, client.Config{App: "notices"})
	if err != nil {
		panic(err)
	}
	list := &client.LocalList{UserID: "ann"}
	sub, err := c.Subscribe(client.OfUser("ann"))
	if err != nil {
		panic(err)
	}
	defer func() { _ = sub.Close() }()

	var after client.After // a worker may hear of what was written a moment after the notice
	for notice, err := range sub.Notices(ctx) {
		if err != nil {
			panic(err)
		}
		changes, err := c.Sync(ctx, list, after...)
		if err != nil {
			panic(err)
		}
		if notice.Missed { // first, and whenever something may have been lost
			fmt.Println("in sync:", len(list.Conversations))
			at := write(nc, "notices", `"messageSent":{"from":"bob","to":"ann","messageID":"m-1","sequence":1,"type":"TIMTextElem","payload":{"text":"Are you coming?"}}`)
			after.Add(at.Topic, at.Partition, at.Offset)
			continue
		}
		for _, conversation := range changes.Changed {
			fmt.Println("push:", conversation.ConversationID, conversation.LastMessage.MessageForShow)
		}
		fmt.Println("because of:", strings.Join(notice.Kinds, " "))
		break
	}
	// Output:
	// in sync: 0
	// push: C2Cbob Are you coming?
	// because of: message
}

// A refusal is told apart by its code.
func ExampleError() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(nc, client.Config{App: "errors"})
	if err != nil {
		panic(err)
	}

	_, err = c.Profile(ctx, client.ProfileRequest{UserID: "ann", ConversationID: client.C2C("zoe")})
	fmt.Println(errors.Is(err, client.ErrNotFound))

	_, err = c.List(ctx, client.ListRequest{UserID: "ann", Limit: 501})
	if refused := (*client.Error)(nil); errors.As(err, &refused) {
		fmt.Println(refused.Code, refused.Message)
	}
	// Output:
	// true
	// 400 limit 501: expected an integer from 1 to 100, the app's maxConversations
}

// A user's requests go to the worker that has the user in memory, where NATS maps
// subjects so (docs/OPERATIONS.md, Many workers), and to any other in its absence.
func ExampleConfig_affinity() {
	nc := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := client.New(nc, client.Config{App: "affinity", Affinity: true})
	if err != nil {
		panic(err)
	}
	unread, err := c.Unread(ctx, client.UnreadRequest{UserID: "ann"})
	fmt.Println(unread, err)
	// Output: 0 <nil>
}
