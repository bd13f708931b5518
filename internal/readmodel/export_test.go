package readmodel

import (
	"context"
	"errors"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// Optimize lets the engine merge all partial rows of all tables.
func (s *Store) Optimize(ctx context.Context) error {
	for _, table := range []string{
		"registers", "sequences", "edits", "messages", "activity", "activity_users", "user_profiles", "group_profiles", "plans", "erased_users",
	} {
		if err := s.conn.Exec(ctx, "OPTIMIZE TABLE "+s.db+"."+table+s.form.face(local)+" FINAL"); err != nil {
			return err
		}
	}
	return nil
}

// Messages reads all messages of apps.
func (s *Store) Messages(ctx context.Context, apps []string) (map[projection.MessageKey]*projection.Message, error) {
	m := projection.NewModel()
	err := load(ctx, s, &messagesTable, &appKey, apps, true, func(r *messageRow) error {
		k := projection.MessageKey{
			App: r.App, Conversation: events.Conversation{Type: typeOf(r.Type), A: r.A, B: r.B},
			Day: r.Day, Sequence: r.Sequence, Time: r.Time, ID: r.ID,
		}
		v := r.Message
		m.Merge(&projection.Model{Messages: map[projection.MessageKey]*projection.Message{k: &v}})
		return nil
	})
	return m.Messages, err
}

// Erasures reads which events of apps have erased users.
func (s *Store) Erasures(ctx context.Context, apps []string) (map[projection.Erasure]struct{}, error) {
	m := projection.NewModel()
	err := load(ctx, s, &erasedTable, &appKey, apps, true, func(r *projection.Erasure) error {
		m.Erased[*r] = struct{}{}
		return nil
	})
	return m.Erased, err
}

// Over gives the store over another connection.
func (s *Store) Over(conn driver.Conn) *Store {
	server := *s.Server
	server.conn = conn
	return &Store{Server: &server, number: s.number, db: s.db}
}

// Statements are those by which all is made, swept, caught up with and dropped in a cluster,
// or with "" on one server.
func Statements(cluster string) ([]string, error) {
	f := form{cluster}
	list, err := f.registry(schema.Registry, "convoview")
	if err != nil {
		return nil, err
	}
	generation, err := f.generation(schema.Generation, "convoview_g1")
	if err != nil {
		return nil, err
	}
	list = append(list, generation...)
	list = append(list, f.generationViews("convoview_g1")...)
	list = append(list, f.views("convoview")...)
	list = append(list, Roles("convoview", cluster)...)
	store := (&Server{database: "convoview", form: f}).Generation(1)
	for i := range erasures {
		list = append(list, store.mutation(&erasures[i], modified{listed: []string{"7", "8"}, alone: []string{"7"}}))
	}
	plans := map[string]*projection.Plan{"demo": {}}
	for _, table := range []string{"messages", "sequences"} {
		list = append(list, store.dropDays(table, expiredFor(table, keptExpired, plans, []string{"demo"}, time.Unix(1e9, 0))))
	}
	list = append(list, f.catchUp("convoview", "generations")...)
	return append(list, f.dropDatabase("convoview_g1")), nil
}

// ClusterSettings are those of queries in a cluster.
func ClusterSettings() clickhouse.Settings { return clusterSettings("auto") }

// Settings are those of all queries.
func Settings(c Config) clickhouse.Settings { return c.settings() }

// ItsSettings are the values of all settings as a query finds them.
func (s *Server) ItsSettings(ctx context.Context) (map[string]string, error) {
	values := map[string]string{}
	err := s.each(ctx, "SELECT name, value FROM system.settings", func(scan func(...any) error) error {
		var name, value string
		err := scan(&name, &value)
		values[name] = value
		return err
	})
	return values, err
}

// Placements are the sharding keys of registers: for all rows, for those that have an
// owner, and for the others.
func Placements() (all, byOwner, shared string) { return owned, faces[0].key, faces[1].key }

// Occupy takes all slots, until they are given back.
func (s *Server) Occupy() (giveBack func()) {
	for range cap(s.slots) {
		s.slots <- struct{}{}
	}
	return func() {
		for range cap(s.slots) {
			<-s.slots
		}
	}
}

// DropUnread is what is left of DropGeneration after its wait.
func (s *Server) DropUnread(ctx context.Context, generation int) error {
	return s.dropUnread(ctx, generation)
}

// AddSwitch switches without looking, as somebody does who is killed before looking again.
func (s *Server) AddSwitch(ctx context.Context, number, generation int) error {
	return s.addSwitch(ctx, number, change{Generation: generation})
}

// MakeTables makes those of a generation, whatever the registry says of it.
func (s *Server) MakeTables(ctx context.Context, generation int) error {
	return s.Generation(generation).migrate(ctx)
}

// Registers is the database of the registry.
func (s *Server) Registers() string { return s.database }

// Ranges divides the keys of a table.
func (s *Store) Ranges(ctx context.Context, with *Store, table string, rows uint64) ([]string, error) {
	for _, c := range compareTables {
		if c.table == table {
			return s.ranges(ctx, with, &c, rows)
		}
	}
	return nil, errors.New("no such table")
}

// Ranges are those of a table that is copied.
func (c *Copy) Ranges(ctx context.Context, table string) ([]string, error) {
	tables, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	for i := range tables {
		if tables[i].name == table {
			return c.divide(ctx, &tables[i])
		}
	}
	return nil, errors.New("no such table")
}

// InRangesOf has a copy take ranges of about so many rows.
func (c *Copy) InRangesOf(rows uint64) *Copy {
	c.rows = rows
	return c
}

var CopyBlock = copyBlock
