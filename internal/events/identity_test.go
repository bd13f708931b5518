package events

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestMicros holds that times round toward the past, before 1970 too.
func TestMicros(t *testing.T) {
	for _, test := range []struct {
		time    string
		micros  Micros
		seconds int64
		day     Day
	}{
		{"1970-01-01T00:00:00Z", 0, 0, 0},
		{"1970-01-01T23:59:59.9999999Z", 86_399_999_999, 86_399, 0},
		{"1970-01-02T00:00:00Z", 86_400_000_000, 86_400, 1},
		{"1969-12-31T23:59:59.9999999Z", -1, -1, -1},
		{"1969-12-31T23:59:59Z", -1_000_000, -1, -1},
		{"1969-12-31T00:00:00Z", -86_400_000_000, -86_400, -1},
		{"1969-12-30T23:59:59.999999Z", -86_400_000_001, -86_401, -2},
		{"2026-11-23T03:00:00.123Z", 1_795_402_800_123_000, 1_795_402_800, 20_780},
	} {
		at, err := time.Parse(time.RFC3339Nano, test.time)
		if err != nil {
			t.Fatal(err)
		}
		m := MicrosOf(at)
		if m != test.micros || m.Seconds() != test.seconds || m.Day() != test.day {
			t.Errorf("%s is %d µs, %d s, day %d, want %d, %d, %d",
				test.time, m, m.Seconds(), m.Day(), test.micros, test.seconds, test.day)
		}
		if got, want := m.Day().Time(), at.UTC().Truncate(24*time.Hour); at.Year() >= 1970 && !got.Equal(want) {
			t.Errorf("day %d begins %v, want %v", m.Day(), got, want)
		}
		if got := m.Time(); !got.Equal(at.Truncate(time.Microsecond)) && at.Year() >= 1970 {
			t.Errorf("%d is %v, want %s", m, got, test.time)
		}
	}
}

// TestValidID holds which IDs there are.
func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, ".": true, "*": true, ">": true, " ": true, "/%": true, "🎌": true, "é": true, "e\u0301": true, "\u200b": true,
		"\u00a0": true, "\u2028": true, "\ufffd": true, strings.Repeat("x", 128): true, strings.Repeat("é", 64): true,
		"": false, strings.Repeat("x", 129): false, strings.Repeat("é", 65): false, "\x00": false, "a\x1f": false, "\x7f": false,
		"\u0080": false, "a\u009fb": false, "\xff": false, "\xed\xa0\x80": false, "a\xc3": false, "\t": false, "\n": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %t, want %t", id, got, want)
		}
	}
}

// TestValidApp holds which apps there are.
func TestValidApp(t *testing.T) {
	for app, want := range map[string]bool{
		"a": true, "Z_-9": true, "az-AZ_09": true, "1400000000": true, strings.Repeat("a", 64): true,
		"": false, strings.Repeat("a", 65): false, "a.b": false, "a b": false, "é": false, "a*": false, ">": false, "a\n": false,
		"`": false, "{": false, "@": false, "[": false, "/": false, ":": false, // beside letters and digits
	} {
		if got := ValidApp(app); got != want {
			t.Errorf("ValidApp(%q) = %t, want %t", app, got, want)
		}
	}
}

// TestSplitConversationID holds the three forms of a conversation's ID.
func TestSplitConversationID(t *testing.T) {
	for _, test := range []struct {
		id   string
		typ  ConversationType
		name string
	}{
		{"C2Cbob", TypeC2C, "bob"},
		{"C2CGROUP", TypeC2C, "GROUP"},
		{"C2CC2C", TypeC2C, "C2C"},
		{"GROUP@TIM#SYSTEM", TypeGroup, "@TIM#SYSTEM"},
		{"GROUP ", TypeGroup, " "},
		{"@TIM#SYSTEM", TypeSystem, ""},
		{"", 0, ""},
		{"C2C", 0, ""},
		{"GROUP", 0, ""},
		{"c2cbob", 0, ""},
		{"Groupg", 0, ""},
		{"bob", 0, ""},
		{"@TIM#SYSTEM ", 0, ""},
		{"@tim#system", 0, ""},
		{"C2C\n", 0, ""},
		{"C2C" + strings.Repeat("x", 129), 0, ""},
	} {
		typ, name, ok := SplitConversationID(test.id)
		if typ != test.typ || name != test.name || ok != (test.typ != 0) {
			t.Errorf("SplitConversationID(%q) = %v, %q, %t, want %v, %q", test.id, typ, name, ok, test.typ, test.name)
		}
	}
}

// TestConversation_PointsOfView holds that each end names the conversation its
// own way, and means the same one.
func TestConversation_PointsOfView(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyID().Draw(t, "a"), anyID().Draw(t, "b")
		for _, test := range []struct {
			owner string
			id    string
			want  Conversation
		}{
			{a, "C2C" + b, C2C(a, b)},
			{b, "C2C" + a, C2C(a, b)},
			{a, "GROUP" + b, Group(b)},
			{a, SystemConversationID, System(a)},
		} {
			if got := (ConversationOf{test.owner, test.id}).Conversation(); got != test.want {
				t.Errorf("%q's %q is %+v, want %+v", test.owner, test.id, got, test.want)
			}
			if got := test.want.IDFor(test.owner); got != test.id {
				t.Errorf("%+v is %q to %q, want %q", test.want, got, test.owner, test.id)
			}
		}
		if C2C(a, b).A > C2C(a, b).B {
			t.Errorf("C2C(%q, %q) is not in order", a, b)
		}
		if C2C(a, b).Peer(a) != b || C2C(a, a).Peer(a) != a {
			t.Errorf("peers of %q and %q", a, b)
		}
	})
}
