package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/projection"
)

// listBody is a list's reply, the items as they stand there.
type listBody struct {
	Code int `json:"code"`
	Data struct {
		ConversationList []json.RawMessage `json:"conversationList"`
		IsSyncCompleted  bool              `json:"isSyncCompleted"`
		Removed          []string          `json:"removed"`
		Reset            bool              `json:"reset"`
	} `json:"data"`
	NextCursor string `json:"nextCursor"`
	SyncToken  string `json:"syncToken"`
}

func parseList(t testing.TB, body []byte) listBody {
	t.Helper()
	var b listBody
	if err := json.Unmarshal(body, &b); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	if b.IsSyncCompleted() != (b.NextCursor == "") || b.Code != 0 || b.Data.Removed == nil {
		t.Errorf("an odd reply: %s", body)
	}
	return b
}

func (b listBody) IsSyncCompleted() bool { return b.Data.IsSyncCompleted }

// pageOf adds items the first of which is items[from] until the page is full.
func pageOf(q *query, c *changes, items []projection.Item, from, maxBytes int) ([]byte, error) {
	var page bytes.Buffer
	r := newListReply(&page, q, c, maxBytes)
	for i := from; i < len(items); i++ {
		at := projection.Position{Time: 1, ConversationID: items[i].ConversationID}
		fits, err := r.add(appendItem(nil, &items[i], nil), &at, i == len(items)-1)
		if err != nil {
			return nil, err
		}
		if !fits {
			break
		}
	}
	r.end()
	return page.Bytes(), nil
}

func TestListReply_PagesEndBeforeTheMaximumPayload(t *testing.T) {
	t.Run("of a list", func(t *testing.T) { endsPages(t, &changes{}) })
	t.Run("of a sync", func(t *testing.T) {
		endsPages(t, &changes{synced: true, removed: []string{"C2C<gone>", "GROUP\"gone\""}, token: strings.Repeat("t", 300)})
	})
}

// endsPages holds that the pages of a list are as large as they may be, and together the list.
func endsPages(t *testing.T, c *changes) {
	q := listQuery(t, "demo", `{"userID":"ann"}`)
	var items []projection.Item
	for i := range 9 {
		items = append(items, projection.Item{
			ConversationID: fmt.Sprintf("C2C%0*d", 1+i*13, i),
			DraftText:      strings.Repeat("x", i*i*7%50),
		})
	}
	whole, err := pageOf(q, c, items, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := parseList(t, whole).Data.ConversationList
	if len(want) != len(items) {
		t.Fatalf("%d items in one page, want %d", len(want), len(items))
	}

	// The whole list fits exactly, and one byte less makes two pages of it.
	if page, err := pageOf(q, c, items, 0, len(whole)); err != nil || len(page) != len(whole) {
		t.Errorf("the page that fits exactly: %d bytes, %v", len(page), err)
	}
	refused := 0
	for maxBytes := len(whole) - 1; maxBytes > 600; maxBytes -= 5 {
		var got []json.RawMessage
		for len(got) < len(items) {
			page, err := pageOf(q, c, items, len(got), maxBytes)
			var reply *replyError
			if errors.As(err, &reply) && reply.Code == 413 {
				refused++
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b := parseList(t, page)
			if len(page) > maxBytes {
				t.Fatalf("a page of %d bytes where %d are allowed", len(page), maxBytes)
			}
			if same, err := pageOf(q, c, items, len(got), len(page)); err != nil || !bytes.Equal(same, page) {
				t.Fatalf("a page of %d bytes is another one where no more are allowed: %d bytes, %v", len(page), len(same), err)
			}
			if less, _ := pageOf(q, c, items, len(got), len(page)-1); len(less) >= len(page) {
				t.Fatalf("a page of %d bytes where %d are allowed", len(less), len(page)-1)
			}
			got = append(got, b.Data.ConversationList...)
			if b.NextCursor == "" {
				break
			}
			last, err := q.decodeCursor(b.NextCursor)
			if err != nil || last.ConversationID != items[len(got)-1].ConversationID {
				t.Fatalf("the cursor says %v, %v", last, err)
			}
		}
		if refused > 0 {
			break // the largest item does not fit any more
		}
		if !slices.EqualFunc(want, got, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
			t.Fatalf("pages of %d bytes give\n%s\nwant\n%s", maxBytes, got, want)
		}
	}
	if refused == 0 {
		t.Error("no item was ever too large")
	}
}

func TestListReply_AnItemOverTheMaximumPayloadIsRefused(t *testing.T) {
	q := listQuery(t, "demo", `{"userID":"ann"}`)
	items := []projection.Item{{ConversationID: "C2Cben", DraftText: strings.Repeat("x", 3000)}}
	fits, err := pageOf(q, &changes{}, items, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pageOf(q, &changes{}, items, 0, len(fits)); err != nil {
		t.Errorf("an item that fits exactly: %v", err)
	}
	_, err = pageOf(q, &changes{}, items, 0, len(fits)-1)
	want := fmt.Sprintf(`413: conversation "C2Cben" makes a reply of %d bytes: expected at most %d, the NATS server's maximum payload`,
		len(fits), len(fits)-1)
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestEncodeProfile_OverTheMaximumPayloadIsRefused(t *testing.T) {
	item := projection.Item{ConversationID: "C2Cben"}
	fits, err := encodeProfile(&item, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := encodeProfile(&item, len(fits)); err != nil {
		t.Error(err)
	}
	_, err = encodeProfile(&item, len(fits)-1)
	var reply *replyError
	if !errors.As(err, &reply) || reply.Code != 413 {
		t.Errorf("got %v, want 413", err)
	}
}
