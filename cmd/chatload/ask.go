package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"github.com/convoview/convoview/client"
	"github.com/convoview/convoview/internal/lifecycle"
)

const (
	listHelp = `
Prints the conversation list of USER as a table, or as the reply came with
--json. Filters are combined with AND.

  chatload list ava_walsh
  chatload list ava_walsh --has-unread --type GROUP
  chatload list ava_walsh --limit 20 --all
  chatload list --request '{"userID":""}'            any request, right or wrong`

	profileHelp = `
Prints one conversation of USER with its complete profile. CONVERSATION is
C2C<user>, GROUP<group> or @TIM#SYSTEM.

  chatload profile ava_walsh C2Coscar_carter
  chatload profile ava_walsh GROUPweekend-hikers --json`

	unreadHelp = `
Prints how many unread messages USER has. Muted conversations and @TIM#SYSTEM do
not count unless --include-muted.

  chatload unread ava_walsh
  chatload unread ava_walsh --type C2C --include-muted`
)

// question is one of the commands that ask.
type question struct {
	to       client.Endpoint
	nats     lifecycle.NATSConfig
	inbox    string // prefix
	app      string
	json     bool
	verbatim optional[string]

	userID, conversationID     string
	ids, after                 optional[[]string]
	kind, group, cursor, since optional[string]
	mark, limit                optional[uint64]
	hasUnread, hasAt           optional[bool]
	timeout                    time.Duration
	all, sync, includeMuted    bool

	positions client.After // what after says
}

func newQuestion(to client.Endpoint) *question {
	return &question{
		to: to, nats: lifecycle.DefaultNATSConfig(), inbox: strings.TrimSuffix(nats.InboxPrefix, "."), app: "demo", verbatim: optionalText(),
		ids: optionalList(), after: optionalList(),
		kind: optionalWord(), group: optionalText(), cursor: optionalWord(), since: optionalWord(),
		mark: optionalNumber(0), limit: optionalNumber(1), hasUnread: optionalBool(), hasAt: optionalBool(),
	}
}

func (q *question) register(f *lifecycle.Flags) {
	q.nats.Register(f)
	f.String(&q.inbox, "nats-inbox-prefix", "What the subjects of our replies begin with.")
	f.String(&q.app, "app", "The app that is asked about.")
	f.Bool(&q.json, "json", "Print the reply as it came.")
	f.Var(&q.verbatim, "request", "json", "Send exactly these bytes and print the reply as it came; besides them only --app and how to reach NATS matter then.")
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

// filter is that of the flags.
func (q *question) filter() client.Filter {
	f := client.Filter{Type: given(q.kind), MarkType: q.mark.value, GroupName: q.group.value, HasUnreadCount: q.hasUnread.value, HasGroupAtInfo: q.hasAt.value}
	f.ConversationIDList = given(q.ids)
	return f
}

// timeoutMs is the timeout of the flags; 0: none.
func (q *question) timeoutMs() uint64 { return uint64(max(0, q.timeout.Milliseconds())) }

// longestTimeout is what a request may ask for.
const longestTimeout = 5 * time.Second

func parsePosition(s string) (client.Offset, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 3 {
		partition, err1 := strconv.ParseUint(parts[1], 10, 31)
		offset, err2 := strconv.ParseInt(parts[2], 10, 64)
		if err1 == nil && err2 == nil {
			return client.Offset{Topic: parts[0], Partition: int(partition), Offset: offset}, nil
		}
	}
	return client.Offset{}, fmt.Errorf("after %q: expected topic:partition:offset", s)
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
	if err := (client.Config{App: q.app}).Validate(); err != nil {
		return err
	}
	if strings.ContainsAny(q.inbox, " \t\r\n*>") || slices.Contains(strings.Split(q.inbox, "."), "") {
		return fmt.Errorf("nats inbox prefix %q: expected tokens of a subject, such as _INBOX.demo", q.inbox)
	}
	if q.timeout != 0 && (q.timeout < time.Millisecond || q.timeout > longestTimeout) {
		return fmt.Errorf("timeout %v: expected 1ms to %v, or 0", q.timeout, longestTimeout)
	}
	for _, s := range given(q.after) {
		p, err := parsePosition(s)
		if err != nil {
			return err
		}
		q.positions = append(q.positions, p)
	}
	return nil
}

func runList(ctx context.Context, c *console, args []string) error {
	q := newQuestion(client.EndpointList)
	f := c.flags("list USER", listHelp)
	q.register(f)
	q.registerFilters(f)
	f.Var(&q.limit, "limit", "number", "The size of a page.")
	f.Var(&q.cursor, "cursor", "cursor", "The nextCursor of the page before.")
	f.Bool(&q.all, "all", "Follow nextCursor to the end.")
	f.Bool(&q.sync, "sync", "Ask for a syncToken.")
	f.Var(&q.since, "since", "token", "Only what has changed since this syncToken.")
	if err := q.parse(f, args, operand{"USER", &q.userID}); err != nil {
		return err
	}
	r := client.ListRequest{
		UserID: q.userID, Filter: q.filter(), Limit: given(q.limit), Cursor: given(q.cursor), Sync: q.sync, Since: given(q.since),
		TimeoutMs: q.timeoutMs(), After: q.positions,
	}
	return q.ask(func(asks *client.Client) error {
		if !q.asItCame() {
			whole, err := q.pages(ctx, asks, r)
			if err != nil {
				return err
			}
			return renderList(c.stdout, whole, q.userID, time.Now(), terminalWidth(c.stdout))
		}
		for {
			reply, err := q.print(ctx, c.stdout, asks, r)
			if err != nil || !q.all || q.verbatim.value != nil {
				return err
			}
			var page struct {
				NextCursor string `json:"nextCursor"`
			}
			if err := json.Unmarshal(reply, &page); err != nil {
				return fmt.Errorf("read %d bytes of reply: %w", len(reply), err)
			}
			if r.Cursor = page.NextCursor; r.Cursor == "" {
				return nil
			}
		}
	})
}

// pages asks for a page, and with --all for all that follow, as one.
func (q *question) pages(ctx context.Context, asks *client.Client, r client.ListRequest) (client.List, error) {
	var whole client.List
	for page, err := range asks.Pages(ctx, r) {
		if err != nil {
			return whole, err
		}
		if page.Reset { // what came before it counts no more
			whole = client.List{}
		}
		whole.ConversationList = append(whole.ConversationList, page.ConversationList...)
		whole.Removed = append(whole.Removed, page.Removed...)
		whole.Reset = whole.Reset || page.Reset && r.Since != ""
		whole.NextCursor = page.NextCursor
		whole.SyncToken += page.SyncToken // of the page where the list begins
		if !q.all {
			break
		}
	}
	return whole, nil
}

func runProfile(ctx context.Context, c *console, args []string) error {
	q := newQuestion(client.EndpointProfile)
	f := c.flags("profile USER CONVERSATION", profileHelp)
	q.register(f)
	if err := q.parse(f, args, operand{"USER", &q.userID}, operand{"CONVERSATION", &q.conversationID}); err != nil {
		return err
	}
	r := client.ProfileRequest{UserID: q.userID, ConversationID: q.conversationID, TimeoutMs: q.timeoutMs(), After: q.positions}
	return q.ask(func(asks *client.Client) error {
		if q.asItCame() {
			_, err := q.print(ctx, c.stdout, asks, r)
			return err
		}
		profile, err := asks.Profile(ctx, r)
		if err != nil {
			return err
		}
		return renderProfile(c.stdout, profile, q.userID, time.Now(), terminalWidth(c.stdout))
	})
}

func runUnread(ctx context.Context, c *console, args []string) error {
	q := newQuestion(client.EndpointUnread)
	f := c.flags("unread USER", unreadHelp)
	q.register(f)
	q.registerFilters(f)
	f.Bool(&q.includeMuted, "include-muted", "Count muted conversations, too.")
	if err := q.parse(f, args, operand{"USER", &q.userID}); err != nil {
		return err
	}
	r := client.UnreadRequest{UserID: q.userID, Filter: q.filter(), IncludeMuted: q.includeMuted, TimeoutMs: q.timeoutMs(), After: q.positions}
	return q.ask(func(asks *client.Client) error {
		if q.asItCame() {
			_, err := q.print(ctx, c.stdout, asks, r)
			return err
		}
		total, err := asks.Unread(ctx, r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(c.stdout, total)
		return err
	})
}

// ask connects and hands do a client. It asks once: what is refused is shown.
func (q *question) ask(do func(*client.Client) error) error {
	if err := q.nats.Validate(); err != nil {
		return err
	}
	conn, err := lifecycle.DialNATS(&q.nats, "chatload", nats.CustomInboxPrefix(q.inbox))
	if err != nil {
		return err
	}
	defer conn.Close()
	asks, err := client.New(conn, client.Config{App: q.app, Attempts: 1})
	if err != nil {
		return err
	}
	return do(asks)
}

// asItCame says that the reply is printed, and not what it says.
func (q *question) asItCame() bool { return q.json || q.verbatim.value != nil }

// print asks once and prints the reply as it came, or that of a refusal.
func (q *question) print(ctx context.Context, w io.Writer, asks *client.Client, request any) (reply []byte, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if q.verbatim.value != nil {
		body = []byte(*q.verbatim.value)
	}
	reply, err = asks.Ask(ctx, q.to, body)
	shown := reply
	if refused := (*client.Error)(nil); errors.As(err, &refused) {
		shown = refused.Body
	}
	if shown != nil {
		_, printed := fmt.Fprintf(w, "%s\n", shown)
		err = errors.Join(err, printed)
	}
	return reply, err
}

// terminalWidth is how many columns a table may take.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok && lifecycle.IsTerminal(f) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			return min(width, math.MaxInt16)
		}
	}
	return defaultWidth
}
