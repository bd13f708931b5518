package docs_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// helpOf gives the flags of a command and their defaults, as its --help prints them.
func helpOf(t *testing.T, command string) (flags map[string]string, help string) {
	t.Helper()
	args := append(append([]string{"run"}, strings.Fields("../cmd/"+command)...), "--help")
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return flagsIn(string(out)), string(out)
}

var (
	flagMark    = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)
	flagHelp    = regexp.MustCompile(`(?m)^ +--([a-z0-9-]+).*\n(?: {6}.*\n)* {6}CONVOVIEW_\w+(?:, default (.+))?$`)
	commandHelp = regexp.MustCompile(`(?m)^  ([a-z]+) `)
)

func flagsIn(help string) map[string]string {
	flags := map[string]string{"help": ""}
	for _, m := range flagHelp.FindAllStringSubmatch(help, -1) {
		flags[m[1]] = m[2]
	}
	return flags
}

// TestFlags_AreThoseOfTheCommands holds that our pages name only flags that
// there are, with their defaults, and that each limit that can be set has its
// row in the contract.
func TestFlags_AreThoseOfTheCommands(t *testing.T) {
	projector, _ := helpOf(t, "projector run")
	query, _ := helpOf(t, "query")
	all := map[string]string{"version": ""} // which every command has, and lists nowhere
	merge := func(flags map[string]string) {
		for name, value := range flags {
			if before, ok := all[name]; ok && before != value {
				value = "" // the commands differ
			}
			all[name] = value
		}
	}
	merge(projector)
	merge(query)
	_, chatload := helpOf(t, "chatload")
	commands := []string{
		"projector migrate", "projector rebuild", "projector verify", "projector switch", "projector rollback", "projector generations list", "projector generations drop", "projector sweep",
		"projector dead list", "projector dead show", "projector dead redrive", "sandbox",
	}
	for _, m := range commandHelp.FindAllStringSubmatch(chatload, -1) {
		commands = append(commands, "chatload "+m[1])
	}
	for _, command := range commands {
		flags, _ := helpOf(t, command)
		merge(flags)
	}
	for _, p := range pages(t) {
		for _, fault := range wrongFlags(p, all) {
			t.Error(fault)
		}
	}

	limits := map[string]string{}
	for name, value := range projector {
		if strings.HasPrefix(name, "limit-") || name == "max-dead-letter-bytes" {
			limits[name] = value
		}
	}
	for _, name := range []string{"max-request-bytes", "max-running", "max-queued", "max-queued-bytes", "max-waiting"} {
		limits[name] = query[name]
	}
	contract := readPage(t, "CONTRACT.md")
	for _, fault := range wrongLimits(contract.section("5. Limits", "6. Analytics"), projector, query, limits) {
		t.Error(fault)
	}
}

// ourCommand begins the lines and codes that are commands of ours.
var ourCommand = regexp.MustCompile(`^(\$ )?(bin/)?(--|COMMAND |projector |query |sandbox |chatload )`)

// defaultOf matches a flag whose default stands behind it.
var defaultOf = regexp.MustCompile("`--([a-z][a-z0-9-]*)` \\((\\d[^)]*)\\)")

// wrongFlags are what a page says of flags that is not so.
func wrongFlags(p page, flags map[string]string) []string {
	var faults []string
	for _, b := range p.blocks {
		texts := spans(b.text)
		if b.kind == code {
			texts = strings.Split(b.text, "\n")
		}
		for _, text := range texts {
			if !ourCommand.MatchString(text) {
				continue
			}
			for _, m := range flagMark.FindAllStringSubmatch(text, -1) {
				if _, ok := flags[m[1]]; !ok {
					faults = append(faults, fmt.Sprintf("%s:%d: no command has the flag --%s: mend its name", p.name, b.line, m[1]))
				}
			}
		}
		for _, m := range defaultOf.FindAllStringSubmatch(b.text, -1) {
			if value := flags[m[1]]; value != asFlag(m[2]) {
				faults = append(faults, fmt.Sprintf("%s:%d: the default of --%s is %s, not %s: mend it", p.name, b.line, m[1], value, m[2]))
			}
		}
	}
	return faults
}

// asFlag is a value of a page as --help writes it.
func asFlag(value string) string {
	return strings.NewReplacer(" KB", "KiB", " MB", "MiB", " ", "", ",", "").Replace(value)
}

// wrongLimits compares the contract's table of limits with the flags of the
// commands. Those in needed must have a row.
func wrongLimits(blocks []block, projector, query, needed map[string]string) []string {
	var faults []string
	seen := map[string]bool{}
	for _, b := range blocks {
		if b.kind != row {
			continue
		}
		values := strings.Split(b.cell("default"), ", ")
		for i, flag := range spans(b.cell("flag")) {
			name := strings.TrimPrefix(flag, "--")
			seen[name] = true
			value, ok := projector[name]
			if !ok {
				value, ok = query[name]
			}
			switch {
			case !ok:
				faults = append(faults, fmt.Sprintf("CONTRACT.md:%d: neither projector run nor query has %s: mend its name", b.line, flag))
			case i >= len(values) || asFlag(values[i]) != value:
				faults = append(faults, fmt.Sprintf("CONTRACT.md:%d: the default of %s is %s: write it so", b.line, flag, value))
			}
		}
	}
	for name := range needed {
		if !seen[name] {
			faults = append(faults, fmt.Sprintf("CONTRACT.md: no limit with the flag --%s: add a row", name))
		}
	}
	slices.Sort(faults)
	return faults
}

func TestWrongFlags(t *testing.T) {
	flags := flagsIn("Usage: x [flags]\n\n  --a-b <size>\n      What it is.\n      CONVOVIEW_A_B, default 4MiB\n\n  --c\n      A --d of\n      two lines.\n      CONVOVIEW_C\n")
	if diff := cmp.Diff(map[string]string{"help": "", "a-b": "4MiB", "c": ""}, flags); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	p := parsePage("p.md", "`--a-b` (4 MB), `--d`, `query --e`, `wc --f`, `--a-b` (5 MB) `--a-b` (so)\n\n```sh\nquery --c --g 1\nkafka --h\n$ bin/chatload --i\n```\n")
	want := []string{
		"p.md:1: no command has the flag --d: mend its name",
		"p.md:1: no command has the flag --e: mend its name",
		"p.md:1: the default of --a-b is 4MiB, not 5 MB: mend it",
		"p.md:3: no command has the flag --g: mend its name",
		"p.md:3: no command has the flag --i: mend its name",
	}
	if diff := cmp.Diff(want, wrongFlags(p, flags)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWrongLimits(t *testing.T) {
	blocks := parsePage("CONTRACT.md", "| limit | default | flag |\n|---|---|---|\n| a | 4 KB | `--a` |\n| b, c | 256, 1,024 | `--b`, `--c` |\n"+
		"| d | 1 KB | `--d` |\n| e | 5 | `--e` |\n| f | 6 | |\n| g | 7 | `--b`, `--g` |\n").blocks
	got := wrongLimits(blocks, map[string]string{"a": "4KiB", "d": "2KiB"}, map[string]string{"b": "256", "c": "1024", "g": "7"},
		map[string]string{"a": "", "h": ""})
	want := []string{
		"CONTRACT.md: no limit with the flag --h: add a row",
		"CONTRACT.md:5: the default of --d is 2KiB: write it so",
		"CONTRACT.md:6: neither projector run nor query has --e: mend its name",
		"CONTRACT.md:8: the default of --b is 256: write it so",
		"CONTRACT.md:8: the default of --g is 7: write it so",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
