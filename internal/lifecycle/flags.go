package lifecycle

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EnvPrefix begins the name of every environment variable.
const EnvPrefix = "CONVOVIEW_"

// Flags are the settings of a command. Bind each to a variable that holds its
// default, then Configure, or Parse where nothing is to be validated.
type Flags struct {
	set     *flag.FlagSet
	getenv  func(string) string
	output  io.Writer
	summary string
	entries []entry
	secured []*TLS         // those that were registered
	files   []func() error // see Stale
}

type entry struct {
	name, env, kind, usage, fallback string
}

// NewFlags makes the settings of a command. The summary is one line for
// --help, which goes to output.
func NewFlags(command, summary string, getenv func(string) string, output io.Writer) *Flags {
	set := flag.NewFlagSet(command, flag.ContinueOnError)
	// Errors are returned, and handled once.
	set.SetOutput(io.Discard)
	return &Flags{set: set, getenv: getenv, output: output, summary: summary}
}

// Env is the name of the environment variable that belongs to a flag.
func Env(name string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

func (f *Flags) add(name, kind, fallback, usage string) {
	f.entries = append(f.entries, entry{name: name, env: Env(name), kind: kind, usage: usage, fallback: fallback})
}

// String binds a text; the default is the variable's value.
func (f *Flags) String(p *string, name, usage string) {
	f.set.StringVar(p, name, *p, usage)
	f.add(name, "text", *p, usage)
}

// Secret binds a text whose value is never shown. It is best given by its
// environment variable: the arguments of a process can be seen by others.
func (f *Flags) Secret(p *string, name, usage string) {
	f.set.StringVar(p, name, *p, usage)
	fallback := ""
	if *p != "" {
		fallback = "(hidden)"
	}
	f.add(name, "secret", fallback, usage)
}

// Strings binds a list, whose parts are separated by commas.
func (f *Flags) Strings(p *[]string, name, usage string) { f.Var((*list)(p), name, "list", usage) }

// Int binds a whole number.
func (f *Flags) Int(p *int, name, usage string) { f.Var((*whole)(p), name, "number", usage) }

// Bool binds a switch.
func (f *Flags) Bool(p *bool, name, usage string) { f.Var((*truth)(p), name, "", usage) }

// Duration binds a duration such as 200ms or 1m30s.
func (f *Flags) Duration(p *time.Duration, name, usage string) {
	f.Var((*duration)(p), name, "duration", usage)
}

// Bytes binds a size such as 1048576, 64KiB or 8MiB.
func (f *Flags) Bytes(p *int, name, usage string) { f.Var((*size)(p), name, "size", usage) }

// Var binds any other value; kind is the word that --help shows for it.
func (f *Flags) Var(v flag.Value, name, kind, usage string) {
	f.add(name, kind, v.String(), usage)
	f.set.Var(v, name, usage)
}

// Parse sets the variables from the arguments (without the command's name) and
// the environment, and reports everything that is wrong. After --help it
// returns flag.ErrHelp, with the help written.
func (f *Flags) Parse(args []string) error {
	err := f.set.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return errors.Join(f.help(), err)
	}
	if err == nil && f.set.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.set.Arg(0))
		if operand, ok := strings.CutPrefix(f.set.Name(), f.Command()+" "); ok {
			err = fmt.Errorf("%w: expected one %s, before the flags", err, operand)
		}
	}
	if err != nil {
		err = fmt.Errorf("%w (%s --help)", err, f.Command())
	}
	errs := []error{err}
	given := map[string]bool{}
	f.set.Visit(func(fl *flag.Flag) { given[fl.Name] = true })
	for _, e := range f.entries {
		value := f.getenv(e.env)
		if given[e.name] || value == "" {
			continue
		}
		if err := f.set.Set(e.name, value); err != nil {
			errs = append(errs, fmt.Errorf("invalid value %q for %s: %w", value, e.env, err))
		}
	}
	return errors.Join(errs...)
}

// Stale reports files that settings name and that cannot be read now: what was read of them
// before is used. It is a readiness check.
func (f *Flags) Stale(context.Context) error {
	var errs []error
	for _, stale := range f.files {
		errs = append(errs, stale())
	}
	return errors.Join(errs...)
}

// ErrChecked says that --check was given and that the configuration is valid. It has
// been told; Main takes it for success.
var ErrChecked = errors.New("the configuration is valid")

// Configure adds --check, sets the variables as Parse does, and validates them. It
// returns nil when the command is to go on. Beware: config.Validate of a method that is
// not a pointer's validates what config was before.
func (f *Flags) Configure(args []string, validate func() error) error {
	check := false
	f.Bool(&check, "check", "Check the whole configuration, connect to nothing, and exit.")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := validate(); err != nil {
		return err
	}
	if !check {
		return nil
	}
	var b strings.Builder
	for _, name := range f.strangers() {
		fmt.Fprintf(&b, "%s belongs to no flag of %s\n", name, f.Command())
	}
	fmt.Fprintln(&b, ErrChecked)
	if _, err := io.WriteString(f.output, b.String()); err != nil {
		return err
	}
	return ErrChecked
}

// strangers are the variables that begin as ours do, and are of no flag: misspelt, or another
// command's, which has the environment in common with this one.
func (f *Flags) strangers() (names []string) {
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, EnvPrefix) && !slices.ContainsFunc(f.entries, func(e entry) bool { return e.env == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Command is the command's name without its arguments, which are in capitals.
func (f *Flags) Command() string {
	words := strings.Fields(f.set.Name())
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == strings.ToUpper(w) }), " ")
}

func (f *Flags) help() error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n%s\n\nEach flag can be given by its environment variable instead; the flag wins.\n", f.set.Name(), f.summary)
	for _, e := range f.entries {
		fmt.Fprintf(&b, "\n  --%s", e.name)
		if e.kind != "" {
			fmt.Fprintf(&b, " <%s>", e.kind)
		}
		fmt.Fprintf(&b, "\n      %s\n      %s", e.usage, e.env)
		if e.fallback != "" {
			fmt.Fprintf(&b, ", default %s", e.fallback)
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(f.output, b.String())
	return err
}

// whole is a flag of a whole number.
type whole int

func (n *whole) String() string { return strconv.Itoa(int(*n)) }

func (n *whole) Set(value string) error {
	number, err := strconv.ParseInt(value, 0, strconv.IntSize) // 10_000, too
	if err != nil {
		return errors.New("expected a whole number")
	}
	*n = whole(number)
	return nil
}

// truth is a flag that needs no value.
type truth bool

func (b *truth) String() string { return strconv.FormatBool(bool(*b)) }

// IsBoolFlag tells package flag so.
func (b *truth) IsBoolFlag() bool { return true }

func (b *truth) Set(value string) error {
	is, err := strconv.ParseBool(value)
	if err != nil {
		return errors.New("expected true or false")
	}
	*b = truth(is)
	return nil
}

// duration is a flag of a time.
type duration time.Duration

func (d *duration) String() string { return time.Duration(*d).String() }

func (d *duration) Set(value string) error {
	took, err := time.ParseDuration(value)
	if err != nil {
		return errors.New("expected a duration such as 200ms, 5s or 1m30s")
	}
	*d = duration(took)
	return nil
}

// list is a flag of comma-separated parts.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = nil
	for part := range strings.SplitSeq(value, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*l = append(*l, part)
		}
	}
	return nil
}

// size is a flag of a number of bytes.
type size int

var units = []struct {
	name  string
	bytes int
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s *size) String() string {
	for _, u := range units {
		if *s != 0 && int(*s)%u.bytes == 0 {
			return strconv.Itoa(int(*s)/u.bytes) + u.name
		}
	}
	return "0B"
}

func (s *size) Set(value string) error {
	number, factor := value, 1
	for _, u := range units {
		if rest, ok := strings.CutSuffix(value, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return errors.New("expected a size such as 1048576, 64KiB or 8MiB")
	}
	*s = size(n * factor)
	return nil
}
