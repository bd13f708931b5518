package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/rebuild"
)

type verifyConfig struct {
	against int
	strict  bool
	sample  int
	seed    int
	most    int
	json    bool
	ingest  ingest.Config
	limits  events.Limits
	store   readmodel.Config
	log     lifecycle.LogConfig
}

func (c *verifyConfig) validate() error {
	var errs []error
	if c.against < 0 {
		errs = append(errs, fmt.Errorf("against %d: expected the number of a generation, or 0", c.against))
	}
	if c.most < 1 {
		errs = append(errs, fmt.Errorf("max differences %d: expected at least 1", c.most))
	}
	if c.sample < 0 {
		errs = append(errs, fmt.Errorf("sample %d: expected a number of conversations, or 0", c.sample))
	}
	if c.seed != 0 && c.sample == 0 {
		errs = append(errs, fmt.Errorf("seed %d: it draws a sample, expected --sample, too", c.seed))
	}
	if c.seed < 0 {
		errs = append(errs, fmt.Errorf("seed %d: expected at least 0", c.seed))
	}
	if c.sample > 0 && (c.against != 0 || c.strict) {
		errs = append(errs, fmt.Errorf("sample %d: it is compared with the topics, expected neither --against nor --strict", c.sample))
	}
	return errors.Join(append(errs, c.ingest.Validate(), c.limits.Validate(), c.store.Validate(), c.log.Validate())...)
}

// verified is the last line of the JSON.
type verified struct {
	Generation  int  `json:"generation"`
	Against     int  `json:"against"`
	Differences int  `json:"differences"`
	Unshown     int  `json:"unshown"` // rows that differ, too, but no reply does
	Whole       bool `json:"whole"`   // there are no more
}

// errDiffer says that generations differ, which was told.
var errDiffer = errors.New("the generations differ")

// registerComparing binds what a comparison needs.
func (c *verifyConfig) registerComparing(f *lifecycle.Flags) {
	f.Int(&c.against, "against", "The generation to compare with; 0: the one that is read.")
	f.Bool(&c.strict, "strict", "Compare all registers. Else only what replies show counts: not what is left of expired messages.")
	registerStore(f, &c.store)
	c.log.Register(f)
}

func defaultVerifyConfig() verifyConfig {
	return verifyConfig{most: 1000, ingest: ingest.DefaultConfig(), limits: events.DefaultLimits(), store: readmodel.DefaultConfig(), log: lifecycle.DefaultLogConfig()}
}

// cannotTell is the status of a comparison that has come to no end.
const cannotTell = 2

func verify(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (err error) {
	defer func() {
		if !errors.Is(err, errDiffer) && !errors.Is(err, errDiffersFromTopics) {
			err = lifecycle.WithStatus(err, cannotTell)
		}
	}()
	config := defaultVerifyConfig()
	flags := lifecycle.NewFlags("projector verify GENERATION", "Compares a generation of the read model with another one, or with the topics, and names what differs. It ends with status 1 when anything does, and with 2 when it cannot tell.", getenv, stdout)
	flags.Int(&config.sample, "sample", "Compare about so many conversations with what the topics say of them, read from their beginning, instead of with another generation.")
	flags.Int(&config.seed, "seed", "Which conversations are drawn; 0: others each time.")
	flags.Int(&config.most, "max-differences", "Most differences that are named.")
	flags.Bool(&config.json, "json", "Write the result as JSON: a line for each differing row, and one in the end.")
	config.registerComparing(flags)
	registerReading(flags, &config.ingest, &config.limits)
	number, err := configureGeneration(flags, args, config.validate)
	if err != nil {
		return err
	}
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if config.sample > 0 {
		limitMemory(config.ingest, getenv)
		return sample(ctx, config, server, number, stdout)
	}
	found, err := compare(ctx, config, server, number)
	if err != nil {
		return err
	}
	if config.json {
		err = found.tellJSON(stdout)
	} else {
		err = found.tell(stdout)
	}
	if err == nil && !found.equal() {
		return errDiffer
	}
	return err
}

// comparison is what a comparison has found.
type comparison struct {
	ours, theirs int
	rows         uint64
	rebuild.Verified
}

func (c *comparison) equal() bool { return c.Whole && len(c.Differences) == 0 }

// compare compares a generation with another one, and logs how far it is.
func compare(ctx context.Context, config verifyConfig, server *readmodel.Server, number int) (*comparison, error) {
	screen := lifecycle.NewScreen(os.Stderr)
	defer screen.Clear()
	log := lifecycle.NewLogger(config.log, screen)
	offsets, err := ingest.NewOffsets(config.ingest)
	if err != nil {
		return nil, err
	}
	defer offsets.Close()
	r, err := server.Registry(ctx)
	if err != nil {
		return nil, err
	}
	c := &comparison{ours: number, theirs: config.against}
	if c.theirs == 0 {
		c.theirs = r.Current
	}
	for _, n := range []int{c.ours, c.theirs} {
		g, ok := r.Find(n)
		if !ok {
			return nil, fmt.Errorf("generation %d: there is none of that number (projector generations list)", n)
		}
		if g.State != readmodel.Filled {
			return nil, fmt.Errorf("generation %d: it is %v, expected filled (projector generations list)", n, g.State)
		}
	}
	if c.theirs == number && config.against == 0 {
		return nil, fmt.Errorf("generation %d: it is the one that is read, and nothing was said of which other one to compare it with (--against)", number)
	}
	if c.theirs == number {
		return nil, fmt.Errorf("generation %d: expected another one than it is compared with (--against %d)", number, config.against)
	}
	tell := tellComparison(screen, log)
	v := &rebuild.Verify{
		Ours: server.Generation(c.ours), Theirs: server.Generation(c.theirs), Offsets: offsets,
		Strict: config.strict, Now: time.Now(), MaxDifferences: config.most, Interval: time.Second, Log: log,
		Progress: func(at readmodel.Compared) {
			if at.Ranges == at.Of {
				c.rows += at.Rows
			}
			tell(at)
		},
	}
	found, err := v.Run(ctx)
	if err != nil {
		return nil, fmt.Errorf("compare generation %d with %d: %w", c.ours, c.theirs, err)
	}
	c.Verified = *found
	return c, nil
}

// tellJSON writes a line for each difference, and one in the end.
func (c *comparison) tellJSON(stdout io.Writer) error {
	lines := json.NewEncoder(stdout)
	lines.SetEscapeHTML(false)
	for _, d := range c.Differences {
		if err := lines.Encode(d); err != nil {
			return err
		}
	}
	return lines.Encode(verified{c.ours, c.theirs, len(c.Differences), c.Unshown, c.Whole})
}

// tell writes the same for people.
func (c *comparison) tell(stdout io.Writer) error {
	var b strings.Builder
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "%s %s\n  generation %d: %s\n  generation %d: %s\n", d.Table, d.Key, c.ours, cmp.Or(d.Ours, "no row"), c.theirs, cmp.Or(d.Theirs, "no row"))
		if d.Shown != nil {
			tellShown(&b, "  ", d.Shown)
		}
	}
	switch n := len(c.Differences); {
	case !c.Whole:
		fmt.Fprintf(&b, "generations %d and %d differ in %d rows, and in more (--max-differences)", c.ours, c.theirs, n)
	case n > 0:
		fmt.Fprintf(&b, "generations %d and %d differ in %d rows of %d", c.ours, c.theirs, n, c.rows)
	default:
		fmt.Fprintf(&b, "generations %d and %d are equal: %d rows", c.ours, c.theirs, c.rows)
	}
	if c.Unshown > 0 {
		fmt.Fprintf(&b, "; %d that no reply shows differ (--strict)", c.Unshown)
	}
	b.WriteString("\n")
	_, err := io.WriteString(stdout, b.String())
	return err
}

// tellShown tells what a user is shown.
func tellShown(b *strings.Builder, indent string, s *rebuild.Shown) {
	fmt.Fprintf(b, "%suser %q of app %s is shown of %q\n", indent, s.UserID, s.App, s.ConversationID)
	for _, f := range s.Fields {
		fmt.Fprintf(b, "%s  %s: %s, and not %s\n", indent, f.Field, cmp.Or(f.Ours, "nothing"), cmp.Or(f.Theirs, "nothing"))
	}
}

func switchTo(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := defaultVerifyConfig()
	config.most = 1
	nats, force := lifecycle.DefaultNATSConfig(), false
	flags := lifecycle.NewFlags("projector switch GENERATION", "Has another generation read, by all query workers. It is compared with the one that is read first, and refused if they differ.", getenv, stdout)
	flags.Bool(&force, "force", "Switch without comparing.")
	config.registerComparing(flags)
	registerBrokers(flags, &config.ingest)
	flags.String(&config.ingest.GroupID, "kafka-group", "Consumer group of the projectors.")
	flags.Strings(&config.ingest.Topics, "kafka-topics", "Topics that are projected, separated by commas.")
	nats.Register(flags)
	number, err := configureGeneration(flags, args, func() error { return errors.Join(config.validate(), nats.Validate()) })
	if err != nil {
		return err
	}
	server, err := readmodel.Open(config.store)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	r, err := server.Registry(ctx)
	if err != nil {
		return err
	}
	if r.Current == number { // whoever was killed runs it again
		_, err = fmt.Fprintf(stdout, "generation %d is read already\n", number)
		return err
	}
	if !force {
		found, err := compare(ctx, config, server, number)
		if err != nil {
			return err
		}
		if !found.equal() {
			return fmt.Errorf("generation %d differs from %d, first in %s %s (projector verify %d names all; --force switches to it as it is)",
				number, found.theirs, found.Differences[0].Table, found.Differences[0].Key, number)
		}
	}
	if err := server.SwitchAfter(ctx, r, number, operator()); err != nil {
		return err
	}
	tellSwitch(&nats, lifecycle.NewLogger(config.log, os.Stderr))
	_, err = fmt.Fprintf(stdout, "generation %d is read\n", number)
	return err
}
