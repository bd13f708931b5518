package events

import "testing"

func TestKeyWithID(t *testing.T) {
	for _, c := range []struct{ key, id, want string }{
		{`["demo","conversationPinned","ann","GROUPhike"]`, "e-8", `["demo","conversationPinned","ann","GROUPhike","e-8"]`},
		{`["demo","userErased","ann"]`, "ann", `["demo","userErased","ann","ann"]`},
		{` ["demo", "appPlanChanged" ] `, `a"b`, `["demo", "appPlanChanged","a\"b"]`},
		{`[]`, "e-8", `["e-8"]`},
		{``, "e-8", `["e-8"]`},
		{`ann`, "e-8", "ann\x00e-8"},
		{`ann-e-8`, "e-8", "ann-e-8\x00e-8"},
		{`"ann"`, "e-8", "\"ann\"\x00e-8"},
		{`{"user":"ann"}`, "e-8", "{\"user\":\"ann\"}\x00e-8"},
		{`1400000000`, "e-8", "1400000000\x00e-8"},
		{`["ann"`, "e-8", "[\"ann\"\x00e-8"},
		{"\x00\x00\x00\x00\x07\xff", "e-8", "\x00\x00\x00\x00\x07\xff\x00e-8"},
	} {
		key := []byte(c.key)
		if got := string(KeyWithID(key, c.id)); got != c.want {
			t.Errorf("%q with %q: got %q, want %q", c.key, c.id, got, c.want)
		}
		if string(key) != c.key {
			t.Errorf("%q was written to: %q", c.key, key)
		}
	}
}
