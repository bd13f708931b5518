package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/lifecycle"
)

// operand is an argument that is no flag.
type operand struct {
	name  string
	value *string
}

// flags makes the flags of a command. The usage is its name and operands, the
// text what --help says of it, with an example.
func (c *console) flags(usage, text string) *lifecycle.Flags {
	return lifecycle.NewFlags("chatload "+usage, strings.TrimSpace(text), c.getenv, c.stdout)
}

// kafkaConfig is what writing to Kafka needs to know.
type kafkaConfig struct {
	brokers []string
	// topicWait is how long a topic that does not exist is waited for.
	topicWait time.Duration
	tls       *lifecycle.TLS // nil: none
	sasl      ingest.SASL
}

// kafkaAt is Kafka at these brokers, the rest by default.
func kafkaAt(brokers ...string) kafkaConfig {
	return kafkaConfig{brokers: brokers, topicWait: 30 * time.Second}
}

// register sets defaults and binds flags; --kafka-brokers is --brokers for short.
func (c *kafkaConfig) register(f *lifecycle.Flags) {
	*c = kafkaAt("127.0.0.1:9092")
	f.Strings(&c.brokers, "kafka-brokers", "Kafka's bootstrap brokers (--brokers for short).")
	f.Duration(&c.topicWait, "topic-wait", "How long to wait for a topic that does not exist, before giving up.")
	c.tls = lifecycle.RegisterTLS(f, "kafka", "brokers")
	f.String(&c.sasl.Mechanism, "kafka-sasl-mechanism", "How we tell brokers who we are: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.")
	c.sasl.Account = lifecycle.RegisterAccount(f, "kafka-sasl", "brokers", "")
}

func (c *kafkaConfig) validate() error {
	errs := ingest.ValidateBrokers(c.brokers)
	if c.topicWait < 0 {
		errs = append(errs, fmt.Errorf("topic wait %v: expected 0 or more", c.topicWait))
	}
	if c.tls != nil {
		errs = append(errs, c.tls.Validate())
	}
	return errors.Join(append(errs, c.sasl.Validate())...)
}

// transport is how connections to brokers are made.
func (c *kafkaConfig) transport() *kafka.Transport {
	t := &kafka.Transport{ClientID: "chatload", DialTimeout: 3 * time.Second, SASL: c.sasl.Client()}
	if c.tls != nil {
		t.Dial = c.tls.Dial
	}
	return t
}

// errOperand is that of an operand that is not there.
var errOperand = errors.New("expected")

// switches are the flags that take no value: they tell operands from values.
var switches = []string{"nats-tls", "kafka-tls", "json", "all", "sync", "has-unread", "has-at", "include-muted", "unique-keys"}

// parse sets flags and operands, in any order. What follows "--" is operands.
func parse(f *lifecycle.Flags, args []string, operands ...operand) error {
	if slices.ContainsFunc(args, isHelp) {
		return f.Parse([]string{"--help"})
	}
	given, rest := splitOperands(args)
	if err := f.Parse(rest); err != nil {
		return err
	}
	for i, o := range operands {
		if i >= len(given) || given[i] == "" {
			return fmt.Errorf("%w %s (%s --help)", errOperand, o.name, f.Command())
		}
		*o.value = given[i]
	}
	if len(given) > len(operands) {
		return fmt.Errorf("unexpected argument %q (%s --help)", given[len(operands)], f.Command())
	}
	return nil
}

func isHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// splitOperands parts operands from flags and their values.
func splitOperands(args []string) (given, rest []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			return append(given, args[i+1:]...), rest
		}
		if arg == "-" || !strings.HasPrefix(arg, "-") {
			given = append(given, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !hasValue && !slices.Contains(switches, name) && i+1 < len(args) {
			i++
			value, hasValue = args[i], true
		}
		if name == "brokers" {
			name = "kafka-brokers"
		}
		if hasValue {
			name += "=" + value
		}
		rest = append(rest, "--"+name)
	}
	return given, rest
}

// optional is a flag that may be absent, which differs from every value.
type optional[T any] struct {
	value *T
	parse func(string) (T, error)
	bool  bool
}

// String is empty: an absent flag has no default.
func (o *optional[T]) String() string { return "" }

func (o *optional[T]) IsBoolFlag() bool { return o.bool }

func (o *optional[T]) Set(s string) error {
	v, err := o.parse(s)
	if err == nil {
		o.value = &v
	}
	return err
}

var _ flag.Value = (*optional[int])(nil)

// given is the flag's value, or nothing.
func given[T any](o optional[T]) (value T) {
	if o.value != nil {
		value = *o.value
	}
	return value
}

func optionalText() optional[string] {
	return optional[string]{parse: func(s string) (string, error) { return s, nil }}
}

// optionalWord is a text that is not empty.
func optionalWord() optional[string] {
	return optional[string]{parse: func(s string) (string, error) {
		if s == "" {
			return "", errors.New("expected a text that is not empty")
		}
		return s, nil
	}}
}

// optionalNumber is a whole number from least on.
func optionalNumber(least uint64) optional[uint64] {
	return optional[uint64]{parse: func(s string) (uint64, error) {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil || v < least {
			return 0, fmt.Errorf("expected a whole number from %d on", least)
		}
		return v, nil
	}}
}

func optionalBool() optional[bool] {
	return optional[bool]{bool: true, parse: func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("expected true or false")
		}
		return v, nil
	}}
}

// optionalList reads a,b or, where a part has a comma, a JSON array.
func optionalList() optional[[]string] {
	return optional[[]string]{parse: func(s string) ([]string, error) {
		list := []string{}
		if strings.HasPrefix(s, "[") {
			if json.Unmarshal([]byte(s), &list) != nil {
				return nil, errors.New("expected a,b or a JSON array of texts")
			}
			return list, nil
		}
		for part := range strings.SplitSeq(s, ",") {
			if part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	}}
}

func optionalTime() optional[time.Time] {
	return optional[time.Time]{parse: func(s string) (time.Time, error) {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, s); err == nil {
				return t, nil
			}
		}
		return time.Time{}, errors.New("expected a time such as 2026-11-23T09:00:00Z, or a date")
	}}
}

// fraction is a flag of a number that is not negative.
type fraction float64

func (f *fraction) String() string { return strconv.FormatFloat(float64(*f), 'g', -1, 64) }

func (f *fraction) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0) || v > 1e9 {
		return errors.New("expected a number from 0 to 1e9")
	}
	*f = fraction(v)
	return nil
}

// whole is a flag of a number that is not negative and not a fraction.
type whole uint64

func (n *whole) String() string { return strconv.FormatUint(uint64(*n), 10) }

func (n *whole) Set(s string) error {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return errors.New("expected a whole number")
	}
	*n = whole(v)
	return nil
}

// choice is a flag of one of some words.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return fmt.Errorf("expected %s", strings.Join(c.of, ", "))
	}
	c.value = s
	return nil
}
