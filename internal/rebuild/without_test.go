package rebuild_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/convoview/convoview/internal/rebuild"
)

func TestReadIDs(t *testing.T) {
	long := strings.Repeat("x", 128)
	for text, want := range map[string]string{
		"a\nb\n":                  `["a" "b"]`,
		"a\r\nb\r":                `["a" "b"]`,
		"\n\r\n a \n\n\x00\xff,b": `["\x00\xff,b" " a "]`,
		"a\na\na\nb\nb":           `["a" "b"]`,
		"a\rb\r\r\n":              `["a\rb\r"]`,
		long + "\n":               fmt.Sprintf("[%q]", long),
		"a\n" + long + "x\n":      `line 2: "xxxxxxxxxxxxxxxxxxxx"… is no ID of an event: expected at most 128 bytes`,
		"a\n" + strings.Repeat(long, 100) + "\nb": `line 2: "xxxxxxxxxxxxxxxxxxxx"… is no ID of an event: expected at most 128 bytes`,
		"a\nb\n\nc\nd\n": "line 5: expected at most 3 IDs (--max-without-ids)",
		"":               "expected the IDs of events, one a line",
		"\n\r\n":         "expected the IDs of events, one a line",
	} {
		ids, err := rebuild.ReadIDs(strings.NewReader(text), 3)
		got := fmt.Sprintf("%q", slices.Sorted(maps.Keys(ids)))
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%.150q: got %.150s, want %s", text, got, want)
		}
	}
	if _, err := rebuild.ReadIDs(iotest.ErrReader(fmt.Errorf("no disk")), 3); err == nil || err.Error() != "line 1: no disk" {
		t.Errorf("got %v", err)
	}
}
