package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
)

const (
	listHelp = `
Prints the conversation list of USER as a table, or as the reply came with
--json. Filters are combined with AND.

  chatload list emma_clark
  chatload list emma_clark --has-unread --type GROUP
  chatload list emma_clark --limit 20 --all
  chatload list --request '{"userID":""}'            any request, right or wrong`

	profileHelp = `
Prints one conversation of USER with its complete profile. CONVERSATION is
C2C<user>, GROUP<group> or @TIM#SYSTEM.

  chatload profile emma_clark C2Cliam_hughes
  chatload profile emma_clark GROUPapollo-team --json`

	unreadHelp = `
Prints how many unread messages USER has. Muted conversations do not count
unless --include-muted, and @TIM#SYSTEM never does.

  chatload unread emma_clark
  chatload unread emma_clark --type C2C --include-muted`
)

// request is the JSON of a request; every field that is not set is absent.
type request struct {
	UserID             string     `json:"userID"`
	ConversationID     *string    `json:"conversationID,omitempty"`
	ConversationIDList *[]string  `json:"conversationIDList,omitempty"`
	Type               *string    `json:"type,omitempty"`
	MarkType           *uint64    `json:"markType,omitempty"`
	GroupName          *string    `json:"groupName,omitempty"`
	HasUnreadCount     *bool      `json:"hasUnreadCount,omitempty"`
	HasGroupAtInfo     *bool      `json:"hasGroupAtInfo,omitempty"`
	IncludeMuted       bool       `json:"includeMuted,omitempty"`
	Limit              *uint64    `json:"limit,omitempty"`
	Cursor             *string    `json:"cursor,omitempty"`
	Sync               bool       `json:"sync,omitempty"`
	Since              *string    `json:"since,omitempty"`
	TimeoutMs          *uint64    `json:"timeoutMs,omitempty"`
	After              []position `json:"after,omitempty"`
}

// position is a place in Kafka that must have been applied.
type position struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// question is one of the commands that ask.
type question struct {
	operation string
	url       string
	app       string
	json      bool
	verbatim  optional[string]
	request   request

	ids, after                 optional[[]string]
	kind, group, cursor, since optional[string]
	mark, limit                optional[uint64]
	hasUnread, hasAt           optional[bool]
	timeout                    time.Duration
	all, sync, includeMuted    bool
}

func newQuestion(operation string) *question {
	return &question{
		operation: operation, url: nats.DefaultURL, app: "demo", verbatim: optionalText(),
		ids: optionalList(), after: optionalList(),
		kind: optionalText(), group: optionalText(), cursor: optionalText(), since: optionalText(),
		mark: optionalNumber(), limit: optionalNumber(), hasUnread: optionalBool(), hasAt: optionalBool(),
	}
}

func (q *question) register(f *lifecycle.Flags) {
	f.String(&q.url, "nats-url", "The NATS server.")
	f.String(&q.app, "app", "The app that is asked about.")
	f.Bool(&q.json, "json", "Print the reply as it came.")
	f.Var(&q.verbatim, "request", "json", "Send exactly these bytes; no other flag or argument then matters.")
	f.Duration(&q.timeout, "timeout", "How long the query worker may take, at most 5s; 0: its default.")
	f.Var(&q.after, "after", "topic:partition:offset,…", "Answer only when the projector has applied all of these.")
}

func (q *question) registerFilters(f *lifecycle.Flags) {
	f.Var(&q.ids, "ids", "list", "Only these conversations: a,b or a JSON array. --ids= asks for none.")
	f.Var(&q.kind, "type", "type", "Only conversations of this type: C2C, GROUP or @TIM#SYSTEM.")
	f.Var(&q.mark, "mark", "number", "Only those with this mark; 0: without any. 4 is the hidden ones.")
	f.Var(&q.group, "group", "name", "Only those in this conversation group. --group= asks for those in none.")
	f.Var(&q.hasUnread, "has-unread", "", "Only those with unread messages; --has-unread=false: without.")
	f.Var(&q.hasAt, "has-at", "", "Only those with a mention; --has-at=false: without.")
}

// build makes the request of the flags.
func (q *question) build() error {
	q.request.ConversationIDList, q.request.Type, q.request.MarkType, q.request.GroupName = q.ids.value, q.kind.value, q.mark.value, q.group.value
	q.request.HasUnreadCount, q.request.HasGroupAtInfo, q.request.IncludeMuted = q.hasUnread.value, q.hasAt.value, q.includeMuted
	q.request.Limit, q.request.Cursor, q.request.Sync, q.request.Since = q.limit.value, q.cursor.value, q.sync, q.since.value
	if q.timeout != 0 {
		ms := uint64(max(0, q.timeout.Milliseconds()))
		q.request.TimeoutMs = &ms
	}
	if q.after.value == nil {
		return nil
	}
	for _, s := range *q.after.value {
		p, err := parsePosition(s)
		if err != nil {
			return err
		}
		q.request.After = append(q.request.After, p)
	}
	return nil
}

func parsePosition(s string) (position, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 {
		partition, err1 := strconv.ParseUint(parts[1], 10, 31)
		offset, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 == nil && err2 == nil {
			return position{parts[0], int(partition), offset}, nil
		}
	}
	return position{}, fmt.Errorf("after %q: want topic:partition:offset", s)
}

// parse reads the arguments of an asking command.
func (q *question) parse(f *lifecycle.Flags, args []string, operands ...operand) error {
	err := parse(f, args, operands...)
	if q.verbatim.value != nil && errors.Is(err, errOperand) {
		err = nil
	}
	if err != nil {
		return err
	}
	if !events.ValidApp(q.app) {
		return fmt.Errorf("app %q: want 1 to 64 characters [A-Za-z0-9_-]", q.app)
	}
	return q.build()
}

func runList(ctx context.Context, c *console, args []string) error {
	q := newQuestion("list")
	f := c.flags("list USER", listHelp)
	q.register(f)
	q.registerFilters(f)
	f.Var(&q.limit, "limit", "number", "The size of a page.")
	f.Var(&q.cursor, "cursor", "cursor", "The nextCursor of the page before.")
	f.Bool(&q.all, "all", "Follow nextCursor to the end.")
	f.Bool(&q.sync, "sync", "Ask for a syncToken.")
	f.Var(&q.since, "since", "token", "Only what has changed since this syncToken.")
	if err := q.parse(f, args, operand{"USER", &q.request.UserID}); err != nil {
		return err
	}
	return q.ask(ctx, func(ask func([]byte) ([]byte, error)) error {
		whole, err := q.pages(c.stdout, ask)
		if err != nil || q.json {
			return err
		}
		return renderList(c.stdout, whole, time.Now(), terminalWidth(c.stdout))
	})
}

// pages asks for the list, and with --all until there is no more of it. With
// --json each reply is printed as it came.
func (q *question) pages(stdout io.Writer, ask func([]byte) ([]byte, error)) (listReply, error) {
	whole := listReply{UserID: q.request.UserID}
	for {
		body, err := q.body()
		if err != nil {
			return whole, err
		}
		reply, err := ask(body)
		if q.json {
			err = errors.Join(err, printReply(stdout, reply, err))
		}
		if err != nil {
			return whole, err
		}
		var page listReply
		if err := json.Unmarshal(reply, &page); err != nil {
			return whole, fmt.Errorf("read %d bytes of reply: %w", len(reply), err)
		}
		whole.add(page)
		if !q.all || page.NextCursor == "" || q.verbatim.value != nil {
			return whole, nil
		}
		q.request.Cursor = &page.NextCursor
	}
}

func runProfile(ctx context.Context, c *console, args []string) error {
	q := newQuestion("profile")
	f := c.flags("profile USER CONVERSATION", profileHelp)
	q.register(f)
	conversationID := ""
	q.request.ConversationID = &conversationID
	if err := q.parse(f, args, operand{"USER", &q.request.UserID}, operand{"CONVERSATION", &conversationID}); err != nil {
		return err
	}
	return q.once(ctx, c, func(reply []byte) error {
		var r profileReply
		if err := json.Unmarshal(reply, &r); err != nil {
			return fmt.Errorf("read %d bytes of reply: %w", len(reply), err)
		}
		return renderProfile(c.stdout, r.Data.Conversation, q.request.UserID, time.Now(), terminalWidth(c.stdout))
	})
}

func runUnread(ctx context.Context, c *console, args []string) error {
	q := newQuestion("unread")
	f := c.flags("unread USER", unreadHelp)
	q.register(f)
	q.registerFilters(f)
	f.Bool(&q.includeMuted, "include-muted", "Count muted conversations, too.")
	if err := q.parse(f, args, operand{"USER", &q.request.UserID}); err != nil {
		return err
	}
	return q.once(ctx, c, func(reply []byte) error {
		var r struct {
			Data struct {
				Total uint64 `json:"totalUnreadMessageCount"`
			} `json:"data"`
		}
		if err := json.Unmarshal(reply, &r); err != nil {
			return fmt.Errorf("read %d bytes of reply: %w", len(reply), err)
		}
		_, err := fmt.Fprintln(c.stdout, r.Data.Total)
		return err
	})
}

// once asks once and prints the reply, or has it rendered.
func (q *question) once(ctx context.Context, c *console, render func(reply []byte) error) error {
	return q.ask(ctx, func(ask func([]byte) ([]byte, error)) error {
		body, err := q.body()
		if err != nil {
			return err
		}
		reply, err := ask(body)
		if q.json {
			return errors.Join(err, printReply(c.stdout, reply, err))
		}
		if err != nil {
			return err
		}
		return render(reply)
	})
}

// body is the request's bytes.
func (q *question) body() ([]byte, error) {
	if q.verbatim.value != nil {
		return []byte(*q.verbatim.value), nil
	}
	return json.Marshal(q.request)
}

// ask connects and hands do the way to ask.
func (q *question) ask(ctx context.Context, do func(ask func([]byte) ([]byte, error)) error) error {
	conn, err := nats.Connect(q.url, nats.Name("chatload"))
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", q.url, err)
	}
	defer conn.Close()
	return do(func(body []byte) ([]byte, error) {
		return askWorker(ctx, conn, q.app, q.operation, body, q.timeout)
	})
}

// workerTimeout is how long a query worker takes at most; it answers by then.
const workerTimeout = 5 * time.Second

// askWorker sends one request and gives the reply, or its error.
func askWorker(ctx context.Context, conn *nats.Conn, app, operation string, body []byte, timeout time.Duration) ([]byte, error) {
	if timeout <= 0 {
		timeout = workerTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout+time.Second)
	defer cancel()
	subject := "convoview.v1." + app + ".conversation." + operation
	reply, err := conn.RequestWithContext(ctx, subject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("no query worker answers on %s", subject)
	case err != nil:
		return nil, fmt.Errorf("ask %s with %d bytes: %w", subject, len(body), err)
	}
	if code := reply.Header.Get("Nats-Service-Error-Code"); code != "" {
		return nil, &replyError{code, reply.Header.Get("Nats-Service-Error"), reply.Data}
	}
	return reply.Data, nil
}

// replyError is a query worker's refusal.
type replyError struct {
	code, message string
	body          []byte
}

// Error is the code and the message.
func (e *replyError) Error() string { return e.code + " " + e.message }

// printReply prints a reply as it came, or that of a refusal.
func printReply(w io.Writer, reply []byte, asked error) error {
	if refusal := (*replyError)(nil); errors.As(asked, &refusal) {
		reply = refusal.body
	}
	if reply == nil {
		return nil
	}
	_, err := fmt.Fprintf(w, "%s\n", reply)
	return err
}

// terminalWidth is how many columns a table may take.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok && isTerminal(f) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return min(width, math.MaxInt16)
		}
	}
	return defaultWidth
}
