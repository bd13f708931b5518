package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/readmodel"
)

// ingesting measures how fast a projector makes a full topic visible, against
// ClickHouse's own Kafka engine that does the same work.
//
// Each side has empty tables of its own, and nobody merges when it begins. Its rate is all
// events by the time from the start of the process, or from attaching the views, until its
// consumer group has committed all of both topics; both sides commit what is visible. Then
// both must have the same content.
func ingesting(ctx context.Context, b *bench, f *figures) error {
	s, err := b.stream(ctx, inProtobuf.name, inProtobuf, b.config.events)
	if err != nil {
		return err
	}
	return b.alone(ctx, func() error {
		var ours, engine, bounds, settled []float64
		var content contents
		parts, err := newStages(s)
		if err != nil {
			return err
		}
		err = b.turns(ctx, "ingest",
			func(int) (string, error) {
				r, err := b.ingest(ctx, s, &content, b.project)
				ours, settled = append(ours, r.rate), append(settled, r.settled.Seconds())
				return "projector " + r.String(), err
			},
			func(int) (string, error) {
				r, err := b.ingest(ctx, s, &content, b.attach)
				engine = append(engine, r.rate)
				return "Kafka engine " + r.String(), err
			},
			func(int) (string, error) {
				c, err := b.costs(ctx, parts)
				bounds = append(bounds, float64(runtime.NumCPU())/c.sum().Seconds())
				return c.String(), err
			},
		)
		if err != nil {
			return err
		}
		return errors.Join(
			f.compare("rate", middle(ours), middle(engine)),
			f.compare("bound", middle(ours), middle(bounds)),
			f.compare("settled", slices.Max(settled), settleTime.Seconds()),
		)
	})
}

// ingestingJSON measures the same with values in JSON.
func ingestingJSON(ctx context.Context, b *bench, f *figures) error {
	s, err := b.stream(ctx, inJSON.name, inJSON, b.config.events)
	if err != nil {
		return err
	}
	inProtobuf, err := b.stream(ctx, inProtobuf.name, inProtobuf, b.config.events)
	if err != nil {
		return err
	}
	return b.alone(ctx, func() error {
		rates := map[string][]float64{}
		var content contents
		side := func(name string, s *stream, fill filler) func(int) (string, error) {
			return func(int) (string, error) {
				r, err := b.ingest(ctx, s, &content, fill)
				rates[name] = append(rates[name], r.rate)
				return name + " " + r.String(), err
			}
		}
		err := b.turns(ctx, "ingest_json",
			side("projector", s, b.project),
			side("Kafka engine", s, b.attach),
			side("projector of Protobuf", inProtobuf, b.project),
		)
		if err != nil {
			return err
		}
		return errors.Join(
			f.compare("rate", middle(rates["projector"]), middle(rates["Kafka engine"])),
			f.compare("protobuf", middle(rates["projector"]), middle(rates["projector of Protobuf"])),
		)
	})
}

// filler fills an empty generation from a stream.
type filler func(ctx context.Context, s *stream, m *model) (filled, error)

// filled is when that began, when all was visible, and how long all processes have worked
// in between.
type filled struct {
	begun, visible time.Time
	worked         time.Duration
}

// ingested is how a generation was filled.
type ingested struct {
	rate    float64
	worked  time.Duration // for each event
	settled time.Duration // until there was no backlog of merges
}

func (i ingested) String() string {
	return fmt.Sprintf("%.0f/s (%v of CPU for each)", i.rate, i.worked)
}

// ingest has an empty generation filled, and compares what is in it then with what was in
// those before.
func (b *bench) ingest(ctx context.Context, s *stream, content *contents, fill filler) (i ingested, err error) {
	m, err := b.newModel(ctx)
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, m.drop(ctx)) }()
	if err := b.merged(ctx); err != nil {
		return i, err
	}
	did, err := fill(ctx, s, m)
	if err != nil {
		return i, err
	}
	i.rate = float64(s.events) / did.visible.Sub(did.begun).Seconds()
	i.worked = did.worked / time.Duration(s.events)
	if err := b.unmerged(ctx, m); err != nil {
		return i, err
	}
	i.settled = time.Since(did.visible)
	return i, content.compare(ctx, b, m)
}

// project fills a generation with a projector.
func (b *bench) project(ctx context.Context, s *stream, m *model) (f filled, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := b.stack.Command(ctx, filepath.Join(b.config.commands, "projector"), "run", "--admin-addr", "127.0.0.1:0",
		"--kafka-group", m.name, "--kafka-topics", s.messages+","+s.state, "--clickhouse-database", m.name)
	before, err := b.worked()
	if err != nil {
		return f, err
	}
	f.begun = time.Now()
	if err := cmd.Start(); err != nil {
		return f, err
	}
	defer func() {
		cancel()
		_ = cmd.Wait() // it was interrupted
	}()
	if f.visible, err = b.exhausted(ctx, m.name, s.topics()...); err != nil {
		return f, err
	}
	f.worked, err = b.worked(cmd.Process.Pid)
	f.worked -= before
	return f, err
}

// exhausted waits until a group has committed all that is in topics, and gives when that was.
func (b *bench) exhausted(ctx context.Context, group string, topics ...string) (time.Time, error) {
	offsets, err := b.offsets(group, topics...)
	if err != nil {
		return time.Time{}, err
	}
	defer offsets.Close()
	ends, err := offsets.Ends(ctx)
	if err != nil {
		return time.Time{}, err
	}
	c, err := b.consumed(ctx, group, total(ends), topics...)
	return c.at, err
}

// total is how much is before offsets.
func total(offsets map[events.Partition]int64) (n int64) {
	for _, offset := range offsets {
		n += max(0, offset)
	}
	return n
}

// model is a read model of a side's own.
type model struct {
	name, db string // db is its generation's
	server   *readmodel.Server
	store    *readmodel.Store
}

// newModel makes an empty one.
func (b *bench) newModel(ctx context.Context) (*model, error) {
	config := readmodel.DefaultConfig()
	b.models++
	config.Addresses, config.Database = []string{b.stack.Ports.ClickHouseAddr()}, fmt.Sprintf("bench_%d", b.models)
	server, err := readmodel.Open(config)
	if err != nil {
		return nil, err
	}
	m := &model{name: config.Database, server: server, store: server.Generation(1)}
	m.db = m.store.Database()
	if err := server.Migrate(ctx); err != nil {
		return nil, errors.Join(err, m.drop(ctx))
	}
	return m, nil
}

// drop removes it, even when ctx has ended.
func (m *model) drop(ctx context.Context) error {
	return errors.Join(m.server.DropAll(context.WithoutCancel(ctx)), m.server.Close())
}

// What a backlog of merges is: more active parts of a table than that, for so long.
const (
	settledParts = 50
	settleTime   = 30 * time.Second
)

// unmerged waits until a generation has no backlog of merges.
func (b *bench) unmerged(ctx context.Context, m *model) error {
	return b.eventually(ctx, fmt.Sprintf("no table of %s has more than %d parts", m.db, settledParts), seldom, func() (bool, error) {
		n, err := b.parts(ctx, m.db)
		return n <= settledParts, err
	})
}

// parts is the number of active parts of the table of a database that has the most.
func (b *bench) parts(ctx context.Context, db string) (most uint64, err error) {
	row := b.engine.QueryRow(ctx, "SELECT max(n) FROM (SELECT count() AS n FROM system.parts WHERE active AND database = '"+db+"' GROUP BY table)")
	if err := row.Scan(&most); err != nil {
		return 0, fmt.Errorf("ask for the parts of %s: %w", db, err)
	}
	return most, nil
}

// contents are digests of what is in the tables that traffic fills, which is the same for
// whoever fills them.
type contents []string

// digests are queries that give the number of merged rows and a hash of them.
var digests = []string{
	"SELECT count(), sum(cityHash64(*)) FROM %s.registers FINAL",
	"SELECT count(), sum(cityHash64(*)) FROM %s.messages FINAL",
	"SELECT count(), sum(cityHash64(app, owner, conversation_id, day, kind, elements)) FROM (SELECT app, owner, conversation_id, day, kind, arraySort(bitmapToArray(groupBitmapMergeState(sequences))) AS elements FROM %s.sequences GROUP BY ALL)",
	"SELECT count(), sum(cityHash64(app, day, type, slice, finalizeAggregation(messages), finalizeAggregation(senders), finalizeAggregation(conversations))) FROM %s.activity FINAL",
	"SELECT count(), sum(cityHash64(app, user_id, day, finalizeAggregation(messages), finalizeAggregation(conversations))) FROM %s.activity_users FINAL",
}

// compare takes the digests of a read model, and reports a difference from those before.
func (c *contents) compare(ctx context.Context, b *bench, m *model) error {
	var found contents
	for _, query := range digests {
		var rows, hash uint64
		if err := b.engine.QueryRow(ctx, fmt.Sprintf(query, m.db)).Scan(&rows, &hash); err != nil {
			return fmt.Errorf("compare what was written: %w", err)
		}
		found = append(found, fmt.Sprintf("%d rows %x", rows, hash))
	}
	if *c == nil {
		*c = found
	}
	if !slices.Equal(*c, found) {
		return fmt.Errorf("the sides have not written the same: %v, and before %v", found, *c)
	}
	return nil
}
