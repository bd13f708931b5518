package lifecycle_test

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/lifecycle"
)

func TestCommands(t *testing.T) {
	var ran []string
	does := func(name string) lifecycle.RunFunc {
		return func(_ context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
			ran = append(ran, name, getenv("A"))
			_, err := io.WriteString(stdout, strings.Join(args, "+"))
			return err
		}
	}
	inner := lifecycle.Commands{Name: "do that", Summary: "That.", All: []lifecycle.Command{{Name: "once", Summary: "a single time", Run: does("once")}}}
	outer := lifecycle.Commands{Name: "do", Summary: "Does.", All: []lifecycle.Command{{Name: "it", Summary: "this", Run: does("it")}, {Name: "that", Summary: "the other", Run: inner.Run}}}
	for args, want := range map[string]struct{ out, err string }{
		"it":             {"", ""},
		"it a --help":    {"a+--help", ""},
		"that once a":    {"a", ""},
		"":               {"", `command "": expected one of it, that (do --help)`},
		"once":           {"", `command "once": expected one of it, that (do --help)`},
		"that twice":     {"", `command "twice": expected one of once (do that --help)`},
		"--help":         {"Usage: do <command> [flags]\n\nDoes.\n\nCommands:\n  it    this\n  that  the other\n\ndo <command> --help lists the command's flags.\n", flag.ErrHelp.Error()},
		"that help once": {"Usage: do that <command> [flags]\n\nThat.\n\nCommands:\n  once  a single time\n\ndo that <command> --help lists the command's flags.\n", flag.ErrHelp.Error()},
	} {
		var out strings.Builder
		err := outer.Run(t.Context(), strings.Fields(args), func(name string) string { return name + "!" }, &out)
		if got := ""; err != nil || want.err != "" {
			if err != nil {
				got = err.Error()
			}
			if got != want.err || (want.err == flag.ErrHelp.Error()) != errors.Is(err, flag.ErrHelp) {
				t.Errorf("%q: %s, want %s", args, got, want.err)
			}
		}
		if diff := cmp.Diff(want.out, out.String()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
	if len(ran) != 6 || ran[1] != "A!" {
		t.Errorf("ran %q", ran)
	}
}
