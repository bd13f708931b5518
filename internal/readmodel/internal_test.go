package readmodel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

func TestClassify(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx   context.Context
		err   error
		away  bool
		asIs  bool // the caller's own cancellation
		fails bool
	}{
		"nothing":            {ctx: t.Context()},
		"refused":            {t.Context(), &net.OpError{Op: "dial", Err: errors.New("connection refused")}, true, false, true},
		"broken off":         {t.Context(), fmt.Errorf("read: %w", io.EOF), true, false, true},
		"no free connection": {t.Context(), clickhouse.ErrAcquireConnTimeout, true, false, true},
		"too many parts":     {t.Context(), &clickhouse.Exception{Code: 252}, true, false, true},
		"no room":            {t.Context(), &clickhouse.Exception{Code: 243}, true, false, true},
		"a quota is used up": {t.Context(), &clickhouse.Exception{Code: 201}, true, false, true},
		"overloaded":         {t.Context(), &clickhouse.Exception{Code: 745}, true, false, true},
		"not migrated":       {t.Context(), fmt.Errorf("insert: %w", &clickhouse.Exception{Code: 60}), true, false, true},
		"a type mismatch":    {t.Context(), &clickhouse.Exception{Code: 53}, false, false, true},
		"something else":     {t.Context(), errors.New("odd"), false, false, true},
		"the caller gave up": {ended, io.EOF, false, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := classify(c.ctx, c.err)
			if (err != nil) != c.fails {
				t.Fatalf("got %v", err)
			}
			var e *Error
			if errors.As(err, &e) && e.Away != c.away {
				t.Errorf("away %v, want %v", e.Away, c.away)
			}
			if c.asIs && !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
			if c.fails && !errors.Is(err, c.err) {
				t.Errorf("got %v, which does not wrap %v", err, c.err)
			}
		})
	}
}

// large is a state as ClickHouse writes it for more than 32 elements.
func large(t testing.TB, runs ...projection.Interval) string {
	t.Helper()
	set := roaring64.New()
	for _, r := range runs {
		set.AddRange(r.First, r.Last+1)
	}
	set.RunOptimize()
	b, err := set.ToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return string(append(binary.AppendUvarint([]byte{1}, uint64(len(b))), b...))
}

func TestDecodeBitmap(t *testing.T) {
	small := "\x00\x02\x05\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00"
	runs := projection.Sequences{{First: 1, Last: 70_000}, {First: 70_002, Last: 70_002}, {First: 1<<32 - 5, Last: 1<<32 + 5}, {First: 1<<53 - 1, Last: 1<<53 - 1}}
	for name, c := range map[string]struct {
		state string
		want  projection.Sequences
	}{
		"empty":              {"\x00\x00", nil},
		"small":              {small, projection.Sequences{{First: 4, Last: 5}}},
		"large":              {large(t, runs...), runs},
		"over a part's edge": {large(t, projection.Interval{First: 1<<32 - 1, Last: 1 << 32}), projection.Sequences{{First: 1<<32 - 1, Last: 1 << 32}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decodeBitmap(c.state)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for n := range len(c.state) {
				if got, err := decodeBitmap(c.state[:n]); err == nil {
					t.Fatalf("cut to %d of %d bytes: no error but %v", n, len(c.state), got)
				}
			}
		})
	}
	if _, err := decodeBitmap("\x07\x00"); err == nil {
		t.Error("an unknown kind: no error")
	}
}

// TestStore_QueriesBeyondTheConnectionsWait says that a burst waits for its turn as long as its context lets it.
func TestStore_QueriesBeyondTheConnectionsWait(t *testing.T) {
	config := DefaultConfig()
	config.MaxConnections = 1
	s, err := Open(config)
	if err != nil {
		t.Fatal(err)
	}
	release, err := s.slot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.slot(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("beyond the connections: got %v, want %v", err, context.Canceled)
	}
	release()
	if _, err := s.slot(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKey_Where(t *testing.T) {
	odd := projection.Key{App: "a", Owner: `O'Brien\`, ConversationID: "C2C\t😀"}
	none := projection.Key{App: "a"}
	other := projection.Key{App: "b"}
	for name, c := range map[string]struct {
		condition  string
		parameters clickhouse.Parameters
		of         func() (string, clickhouse.Parameters)
	}{
		"one app": {
			"app = {app:String} AND (owner, conversation_id) IN {keys:Array(Tuple(String, String))}",
			clickhouse.Parameters{"app": "a", "keys": `[('O\'Brien\\','C2C` + "\t" + `😀'),('','')]`},
			func() (string, clickhouse.Parameters) {
				return conversationKey.where([]projection.Key{odd, none}, false)
			},
		},
		"two apps": {
			"(app, owner, conversation_id) IN {keys:Array(Tuple(String, String, String))}",
			clickhouse.Parameters{"keys": "[('a','',''),('b','','')]"},
			func() (string, clickhouse.Parameters) {
				return conversationKey.where([]projection.Key{none, other}, false)
			},
		},
		"one column": {
			"app = {app:String} AND (user_id) IN {keys:Array(String)}",
			clickhouse.Parameters{"app": "a", "keys": "['u','v']"},
			func() (string, clickhouse.Parameters) {
				return userKey.where([]projection.UserKey{{App: "a", UserID: "u"}, {App: "a", UserID: "v"}}, false)
			},
		},
		"one column of two apps": {
			"(app, user_id) IN {keys:Array(Tuple(String, String))}",
			clickhouse.Parameters{"keys": "[('a','u'),('b','u')]"},
			func() (string, clickhouse.Parameters) {
				return userKey.where([]projection.UserKey{{App: "a", UserID: "u"}, {App: "b", UserID: "u"}}, false)
			},
		},
		"apps": {
			"(app) IN {keys:Array(String)}",
			clickhouse.Parameters{"keys": "['a','b']"},
			func() (string, clickhouse.Parameters) { return appKey.where([]string{"a", "b"}, false) },
		},
		"one app alone": {
			"(app) IN {keys:Array(String)}",
			clickhouse.Parameters{"keys": "['a']"},
			func() (string, clickhouse.Parameters) { return appKey.where([]string{"a"}, false) },
		},
		"numbers": {
			"app = {app:String} AND (type, a, b, sequence) IN {keys:Array(Tuple(String, String, String, UInt64))}",
			clickhouse.Parameters{"app": "a", "keys": "[('GROUP','g','',7)]"},
			func() (string, clickhouse.Parameters) {
				return editKey.where([]projection.EditKey{{App: "a", Conversation: events.Group("g"), Sequence: 7}}, false)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			condition, parameters := c.of()
			if condition != c.condition {
				t.Errorf("got  %s\nwant %s", condition, c.condition)
			}
			if diff := cmp.Diff(c.parameters, parameters); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestKey_Known holds that only what all rows have is not read with each.
func TestKey_Known(t *testing.T) {
	one, other := projection.UserKey{App: "a", UserID: "u"}, projection.UserKey{App: "b", UserID: "u"}
	for name, c := range map[string]struct{ want, got known }{
		"one user":      {known{"app": "a", "owner": "u"}, ownerKey.known([]projection.UserKey{one})},
		"two of an app": {known{"app": "a"}, ownerKey.known([]projection.UserKey{one, {App: "a", UserID: "v"}})},
		"two apps":      {nil, ownerKey.known([]projection.UserKey{one, other})},
		"conversation":  {known{"app": "a"}, conversationKey.known([]projection.Key{{App: "a", Owner: "u"}})},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
