package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/convoview/convoview/internal/lifecycle"
)

const importHelp = `
Writes the events of FILE ("-": standard input) to Kafka. FILE has one JSON
object a line, plain or compressed with gzip:

  {"topic":"chat.messages","key":"[\"demo\",\"C2C\",\"ann\",\"bob\"]","event":{"id":…}}

Topic and key are used as they are, and the bytes of the event become the
record's value. An event in Protobuf has "protobuf" instead of "event", and its
bytes in base64. A malformed line stops the import and is named; all before it
has been written. While Kafka is away, the import waits and says so.

Events mean the same in any order and any number of times. Try it:

  chatload import chat.jsonl.gz
  chatload import chat.jsonl.gz --shuffle 7 --duplicate 0.2 --encoding mixed`

// importConfig is what import does.
type importConfig struct {
	file       string
	kafka      kafkaConfig
	shuffle    optional[uint64]
	duplicate  fraction
	rate       fraction
	encoding   choice
	limit      int
	uniqueKeys bool
}

func (c *importConfig) register(f *lifecycle.Flags) {
	c.kafka.register(f)
	f.Var(&c.shuffle, "shuffle", "seed", "Read all of the file into memory and write it in an order drawn from this seed.")
	f.Var(&c.duplicate, "duplicate", "share", "Write this share of the lines (0 to 1) twice: at once, or anywhere with --shuffle.")
	f.Var(&c.rate, "rate", "events/s", "Write so many events per second; 0: as fast as Kafka takes them.")
	f.Var(&c.encoding, "encoding", "encoding", "Encode the events that are in JSON as json (unchanged), protobuf or mixed. Whatever is no valid event stays as it is.")
	f.Int(&c.limit, "limit", "Read only so many lines; 0: all.")
	f.Bool(&c.uniqueKeys, "unique-keys", "Append each event's ID to its key on chat.state. With --shuffle, a compacted topic keeps what was written last, not what happened last, unless keys are unique.")
}

func (c *importConfig) validate() error {
	var errs []error
	if c.duplicate > 1 {
		errs = append(errs, fmt.Errorf("duplicate %v: expected 0 to 1", c.duplicate))
	}
	if c.limit < 0 {
		errs = append(errs, fmt.Errorf("limit %d: expected 0 or more", c.limit))
	}
	return errors.Join(append(errs, c.kafka.validate())...)
}

func runImport(ctx context.Context, c *console, args []string) error {
	config := importConfig{shuffle: optionalNumber(0), encoding: encodingFlag()}
	f := c.flags("import FILE", importHelp)
	config.register(f)
	if err := parse(f, args, operand{"FILE", &config.file}); err != nil {
		return err
	}
	if err := config.validate(); err != nil {
		return err
	}
	return importFile(ctx, c, config)
}

func importFile(ctx context.Context, c *console, config importConfig) (err error) {
	r, closeFile, err := openLines(config.file, c.stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeFile()) }()
	records, total, err := arrange(readLines(r, config.limit), config)
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was written", config.file, err)
	}

	p := c.newProgress("import", total)
	sink := newKafkaSink(ctx, config.kafka, c.notef, p.written)
	encode := newEncoder(config.encoding.value, config.seed())
	pace := pacer{rate: float64(config.rate)}
	copyErr := func() error {
		for r, err := range records {
			if err != nil {
				return fmt.Errorf("%s: %w", config.file, err)
			}
			if config.uniqueKeys && isState(r.topic) {
				r.key = uniqueKey(r)
			}
			r = encode.record(r)
			if err := pace.wait(ctx, sink.flush); err != nil {
				return err
			}
			if err := sink.add(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}()
	err = sink.close(copyErr)
	p.close()
	if _, e := fmt.Fprintf(c.stdout, "imported %s\n", p); e != nil {
		err = errors.Join(err, e)
	}
	if encode.asItIs > 0 {
		c.notef("%s lines are no valid events and were sent as they are", thousands(int64(encode.asItIs)))
	}
	return err
}

// seed is where everything drawn comes from.
func (c *importConfig) seed() uint64 {
	if c.shuffle.value != nil {
		return *c.shuffle.value
	}
	return 1
}

// arrange repeats and shuffles; total is the number of records, 0 when it is
// not known yet.
func arrange(records iter.Seq2[record, error], config importConfig) (iter.Seq2[record, error], int64, error) {
	if config.duplicate > 0 {
		records = repeat(records, float64(config.duplicate), config.seed())
	}
	if config.shuffle.value == nil {
		return records, 0, nil
	}
	list, err := shuffle(records, config.seed())
	return func(yield func(record, error) bool) {
		for _, r := range list {
			if !yield(r, nil) {
				return
			}
		}
	}, int64(len(list)), err
}
