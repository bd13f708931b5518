package lifecycle_test

import (
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/lifecycle"
)

type settings struct {
	Brokers  []string
	Group    string
	Password string
	Workers  int
	Force    bool
	Wait     time.Duration
	Size     int
}

func parse(t *testing.T, env map[string]string, args ...string) (settings, string, error) {
	t.Helper()
	s := settings{Brokers: []string{"localhost:9092"}, Group: "projector", Password: "hunter2", Workers: 4, Wait: time.Second, Size: 8 << 20}
	var help strings.Builder
	f := lifecycle.NewFlags("projector", "Projects.", func(name string) string { return env[name] }, &help)
	f.Strings(&s.Brokers, "kafka-brokers", "Brokers to ask first.")
	f.String(&s.Group, "kafka-group", "Consumer group.")
	f.Secret(&s.Password, "clickhouse-password", "Password.")
	f.Int(&s.Workers, "workers", "How many.")
	f.Bool(&s.Force, "force", "Ask nobody.")
	f.Duration(&s.Wait, "wait", "How long.")
	f.Bytes(&s.Size, "size", "How much.")
	err := f.Parse(args)
	return s, help.String(), err
}

func TestFlags_Precedence(t *testing.T) {
	env := map[string]string{
		"CONVOVIEW_KAFKA_BROKERS": "a:1, b:2",
		"CONVOVIEW_WORKERS":       "0x7",
		"CONVOVIEW_SIZE":          "64KiB",
		"CONVOVIEW_FORCE":         "true",
		"CONVOVIEW_KAFKA_GROUP":   "",
	}
	got, _, err := parse(t, env, "--workers=9", "-wait", "250ms")
	if err != nil {
		t.Fatal(err)
	}
	want := settings{
		Brokers: []string{"a:1", "b:2"}, Group: "projector", Password: "hunter2",
		Workers: 9, Force: true, Wait: 250 * time.Millisecond, Size: 64 << 10,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestFlags_Errors(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		args []string
		want []string
	}{
		"all variables are named": {
			env:  map[string]string{"CONVOVIEW_WORKERS": "many", "CONVOVIEW_SIZE": "-1"},
			want: []string{"CONVOVIEW_WORKERS", "many", "CONVOVIEW_SIZE", "64KiB"},
		},
		"unknown flag":        {args: []string{"--kafka-broker=x"}, want: []string{"kafka-broker", "--help)"}},
		"wrong duration":      {args: []string{"--wait=5"}, want: []string{"wait", `"5"`, "expected a duration such as 200ms"}},
		"wrong number":        {args: []string{"--workers=1.5"}, want: []string{"workers", `"1.5"`, "expected a whole number"}},
		"wrong switch":        {env: map[string]string{"CONVOVIEW_FORCE": "maybe"}, want: []string{"CONVOVIEW_FORCE", `"maybe"`, "expected true or false"}},
		"unexpected argument": {args: []string{"rebuild"}, want: []string{"rebuild"}},
		"size too great":      {args: []string{"--size=9999999999999GiB"}, want: []string{"size"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parse(t, c.env, c.args...)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not name %q", err, want)
				}
			}
		})
	}
}

func TestFlags_Configure(t *testing.T) {
	wrong := errors.New("too few workers")
	for _, c := range []struct {
		args string
		env  map[string]string
		is   error // nil: the command goes on
		out  string
	}{
		{args: "--workers 1"},
		{args: "--workers 1 --check", is: lifecycle.ErrChecked, out: "the configuration is valid\n"},
		{args: "--workers 1", env: map[string]string{"CONVOVIEW_CHECK": "true"}, is: lifecycle.ErrChecked, out: "the configuration is valid\n"},
		{args: "", is: wrong},
		{args: "--check", is: wrong},
		{args: "--check --help", is: flag.ErrHelp, out: "CONVOVIEW_CHECK, default false"},
	} {
		var out strings.Builder
		f := lifecycle.NewFlags("projector", "Projects.", func(name string) string { return c.env[name] }, &out)
		workers := 0
		f.Int(&workers, "workers", "How many.")
		err := f.Configure(strings.Fields(c.args), func() error {
			if workers < 1 {
				return wrong
			}
			return nil
		})
		if !errors.Is(err, c.is) || !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 {
			t.Errorf("%q: got %v, %q", c.args, err, out.String())
		}
	}
	f := lifecycle.NewFlags("projector", "Projects.", func(string) string { return "" }, io.Discard)
	if err := f.Configure([]string{"--nope"}, func() error { return wrong }); err == nil || errors.Is(err, wrong) {
		t.Errorf("validated what could not be read: %v", err)
	}
}

// TestFlags_Strangers has --check name variables that look like settings and belong to no flag.
func TestFlags_Strangers(t *testing.T) {
	for _, name := range []string{"CONVOVIEW_WORKERS", "CONVOVIEW_WORKER", "CONVOVIEW_CHECKS", "WORKER"} {
		t.Setenv(name, "1")
	}
	var out strings.Builder
	f := lifecycle.NewFlags("projector run", "Projects.", os.Getenv, &out)
	workers := 0
	f.Int(&workers, "workers", "How many.")
	if err := f.Configure([]string{"--check"}, func() error { return nil }); !errors.Is(err, lifecycle.ErrChecked) {
		t.Fatal(err)
	}
	const want = "CONVOVIEW_CHECKS belongs to no flag of projector run\nCONVOVIEW_WORKER belongs to no flag of projector run\nthe configuration is valid\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFlags_Help(t *testing.T) {
	_, help, err := parse(t, nil, "--help")
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v, want flag.ErrHelp", err)
	}
	const want = `Usage: projector [flags]

Projects.

Each flag can be given by its environment variable instead; the flag wins.

  --kafka-brokers <list>
      Brokers to ask first.
      CONVOVIEW_KAFKA_BROKERS, default localhost:9092

  --kafka-group <text>
      Consumer group.
      CONVOVIEW_KAFKA_GROUP, default projector

  --clickhouse-password <secret>
      Password.
      CONVOVIEW_CLICKHOUSE_PASSWORD, default (hidden)

  --workers <number>
      How many.
      CONVOVIEW_WORKERS, default 4

  --force
      Ask nobody.
      CONVOVIEW_FORCE, default false

  --wait <duration>
      How long.
      CONVOVIEW_WAIT, default 1s

  --size <size>
      How much.
      CONVOVIEW_SIZE, default 8MiB
`
	if diff := cmp.Diff(want, help); diff != "" {
		t.Errorf("help (-want +got):\n%s", diff)
	}
}
