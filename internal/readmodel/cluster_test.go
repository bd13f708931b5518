package readmodel_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// forms are the clusters of both forms, by the names of their golden files.
var forms = map[string]string{"single": "", "cluster": "convoview"}

// TestForms_AreAsWritten holds what migrations and sweeps run against testdata/*.sql.
func TestForms_AreAsWritten(t *testing.T) {
	for name, cluster := range forms {
		list, err := readmodel.Statements(cluster)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(list, ";\n\n") + ";\n"
		path := filepath.Join("testdata", name+".sql")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
		}
	}
}

// TestForms_AreParsed has the engine parse every statement of both forms. What it parsed
// has the parts that make a cluster of it.
func TestForms_AreParsed(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	for name, cluster := range forms {
		list, err := readmodel.Statements(cluster)
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range list {
			var parsed string
			text := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(statement)
			if err := conn.QueryRow(t.Context(), "SELECT formatQuery('"+text+"')").Scan(&parsed); err != nil {
				t.Errorf("%s: %v\n%s", name, err, statement)
			}
			ofOneHost := strings.HasPrefix(parsed, "SYSTEM")
			if has := strings.Contains(parsed, "ON CLUSTER convoview"); has != (cluster != "" && !ofOneHost) {
				t.Errorf("%s: ON CLUSTER is there: %t\n%s", name, has, parsed)
			}
			for _, engine := range []string{"AggregatingMergeTree", "ReplacingMergeTree"} {
				if strings.Contains(parsed, "ENGINE = "+engine) && cluster != "" {
					t.Errorf("%s: not replicated\n%s", name, parsed)
				}
			}
			// Where each host has all rows, all replicate one thing, whichever their shard.
			if path := replicaPath.FindStringSubmatch(parsed); path != nil {
				ofRegistry := !strings.Contains(parsed, "convoview_g1")
				if ofRegistry == strings.Contains(path[1], "{shard}") || ofRegistry != strings.Contains(path[2], "{shard}") {
					t.Errorf("%s: replicated under %s by %s\n%s", name, path[1], path[2], parsed)
				}
			}
		}
	}
}

// replicaPath is what of a table is replicated, and the name of the replica.
var replicaPath = regexp.MustCompile(`Replicated\w+MergeTree\('([^']*)', '([^']*)'\)`)

// TestCluster_AsksTheFirstThatIsThere has hosts before the one that is there: one where
// nobody listens, and one that takes connections and says nothing.
func TestCluster_AsksTheFirstThatIsThere(t *testing.T) {
	store := openIn(t, sandbox.Cluster)
	listen := func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		return listener
	}
	dead, silent := listen(), listen()
	_ = dead.Close()
	for name, first := range map[string][]net.Listener{"dead": {dead}, "silent": {silent}, "both": {silent, dead}} {
		config := readmodel.DefaultConfig()
		config.Database, config.Cluster, config.Addresses = store.Registers(), sandbox.Cluster, nil
		for _, listener := range first {
			config.Addresses = append(config.Addresses, listener.Addr().String())
		}
		config.Addresses = append(config.Addresses, sandboxtest.Start(t).ClickHouseAddr())
		server, err := readmodel.Open(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = server.Close()
	}
}

// TestCluster_ReadsWhatWasFolded does what the test of that name does on one server.
func TestCluster_ReadsWhatWasFolded(t *testing.T) { readsWhatWasFolded(t, openIn(t, sandbox.Cluster)) }

// TestCluster_AsksOneShard has the engine refuse every query for which it would ask shards
// that cannot have what is asked for, and reads by each key.
func TestCluster_AsksOneShard(t *testing.T) {
	store := openIn(t, sandbox.Cluster)
	m := fold([]events.Event{sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 7, "e1")})
	if err := store.Write(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	options := sandboxtest.Options(t, "default")
	options.Settings = readmodel.ClusterSettings()
	options.Settings["force_optimize_skip_unused_shards"] = 2
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	strict := store.Over(conn)
	ctx := t.Context()
	found := func(n int, err error) error {
		if err == nil && n == 0 {
			return errors.New("nothing was found")
		}
		return err
	}
	user, group := projection.UserKey{App: "demo", UserID: "ann"}, projection.GroupKey{App: "demo", GroupID: "g"}
	shared := projection.Key{App: "demo", ConversationID: "GROUPg"}
	own := projection.Key{App: "demo", Owner: "ann", ConversationID: "GROUPg"}
	users := []projection.UserKey{user}
	for i := range 5000 { // by itself the engine looks at 1000
		users = append(users, projection.UserKey{App: "demo", UserID: fmt.Sprint("u", i)})
	}
	for name, read := range map[string]func() error{
		"many inboxes": func() error { got, err := strict.Inboxes(ctx, users, math.MaxInt); return found(len(got), err) },
		"inboxes": func() error {
			got, err := strict.Inboxes(ctx, []projection.UserKey{user}, 1)
			return found(len(got), err)
		},
		"states": func() error {
			got, err := strict.States(ctx, []projection.Key{shared, own})
			return found(len(got), err)
		},
		"groups": func() error { _, err := strict.FullGroups(ctx, []projection.GroupKey{group}); return err },
		"users":  func() error { _, err := strict.Users(ctx, []projection.UserKey{user}); return err },
		"plans":  func() error { _, err := strict.Apps(ctx, []string{"demo"}); return err },
		"edits": func() error {
			_, err := strict.Edits(ctx, []projection.EditKey{{App: "demo", Conversation: events.Group("g"), Sequence: 7}})
			return err
		},
		"mentions": func() error {
			day := events.MicrosOf(time.Unix(1e9, 0)).Day()
			got, err := strict.Senders(ctx, []projection.MentionKey{{App: "demo", GroupID: "g", Mention: projection.Mention{Day: day, Sequence: 7}}})
			return found(len(got), err)
		},
	} {
		if err := read(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The check can fail.
	const unableToSkip = 507
	err = conn.Exec(ctx, "SELECT count() FROM "+store.Database()+".registers WHERE app = 'demo' AND owner = 'ann'")
	if refused := (*clickhouse.Exception)(nil); !errors.As(err, &refused) || refused.Code != unableToSkip {
		t.Errorf("a user without their conversations, in the table that is spread by both: %v, want code %d", err, unableToSkip)
	}
}

// TestCluster_RowsAreWhereTheyAreLookedFor holds the ways to the shard of a register
// against each other.
func TestCluster_RowsAreWhereTheyAreLookedFor(t *testing.T) {
	conn := sandboxtest.ClickHouse(t)
	all, byOwner, shared := readmodel.Placements()
	for owners, key := range map[string]string{"['ann', 'bob', ' ', 'é']": byOwner, "['']": shared} {
		var same, rows uint64
		err := conn.QueryRow(t.Context(), fmt.Sprintf(`SELECT countIf((%s) = (%s)), count() FROM (
			SELECT arrayJoin(['demo', 'second']) AS app, arrayJoin(%s) AS owner, arrayJoin(['GROUPg', 'C2Cann', '@TIM#SYSTEM', '']) AS conversation_id)`,
			key, all, owners)).Scan(&same, &rows)
		if err != nil {
			t.Fatal(err)
		}
		if rows == 0 || same != rows {
			t.Errorf("owners %s: %d of %d rows are on the shard that is asked", owners, same, rows)
		}
	}
}

// TestCluster_CopiesAndCompares begins a generation with the rows of another one, carries
// activity over, and compares the two. A row that is added is named.
func TestCluster_CopiesAndCompares(t *testing.T) {
	store := openIn(t, sandbox.Cluster)
	ctx := t.Context()
	var list []events.Event
	for i := range uint64(50) {
		list = append(list, sent("demo", time.Now(), events.Group(fmt.Sprint("g", i%7)), fmt.Sprint("u", i%5), i+1, fmt.Sprint("e", i)))
	}
	if err := store.Write(ctx, fold(list)); err != nil {
		t.Fatal(err)
	}
	other, err := store.Add(ctx, readmodel.Options{Base: 1})
	if err != nil {
		t.Fatal(err)
	}
	for more, c := true, other.CopyOf(store); more; {
		if _, more, err = c.Step(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.CarryActivity(ctx, store, events.MicrosOf(time.Now()).Day()); err != nil {
		t.Fatal(err)
	}
	compare := func() (found []readmodel.Difference) {
		t.Helper()
		tell := func(d readmodel.Difference) error { found = append(found, d); return nil }
		if err := other.Compare(ctx, store, time.Time{}, tell, func(readmodel.Compared) {}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := compare(); len(found) > 0 {
		t.Errorf("a copy differs: %v", found)
	}
	if diff := cmp.Diff(countActivity(list), readActivity(t, t, other, "")); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
	m := projection.NewModel()
	m.Erased[projection.Erasure{UserKey: projection.UserKey{App: "demo", UserID: "u1"}}] = struct{}{}
	if err := other.Write(ctx, m); err != nil {
		t.Fatal(err)
	}
	if found := compare(); len(found) != 1 || found[0].Table != "erased_users" {
		t.Errorf("a row was added; found %v", found)
	}
}

// TestCluster_WritesEqualBlocks has tables remember which blocks they have had, as replicated
// ones do, lose what was in them, and get the same once more.
func TestCluster_WritesEqualBlocks(t *testing.T) {
	store := openIn(t, sandbox.Cluster)
	conn := sandboxtest.ClickHouse(t)
	each := func(statement string) {
		t.Helper()
		rows, err := conn.Query(t.Context(), "SELECT name FROM system.tables WHERE database = '"+store.Database()+"' AND endsWith(engine, 'MergeTree')")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			if err := conn.Exec(t.Context(), fmt.Sprintf(statement, store.Database()+"."+name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	each("ALTER TABLE %s MODIFY SETTING non_replicated_deduplication_window = 100")
	list := []events.Event{
		sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 1, "e1"),
		{ID: "e2", App: "demo", Time: 1e15, Body: &events.MessageRecalled{Conversation: events.Group("g"), Sequence: 1}},
		{ID: "e3", App: "demo", Time: 1e15, Body: &events.AppPlanChanged{MaxConversations: 7}},
		{ID: "e4", App: "demo", Time: 1e15, Body: &events.UserErased{UserID: "bob"}},
	}
	for range 2 {
		if err := store.Write(t.Context(), fold(list)); err != nil {
			t.Fatal(err)
		}
		compare(t, t, store, fold(list))
		if diff := cmp.Diff(countActivity(list), readActivity(t, t, store, "")); diff != "" {
			t.Errorf("activity (-want +got):\n%s", diff)
		}
		each("ALTER TABLE %s DELETE WHERE 1 SETTINGS mutations_sync = 2")
	}
}

// TestCluster_TellsWhichHostLacksTables is what is shown when a host was added.
func TestCluster_TellsWhichHostLacksTables(t *testing.T) {
	store := openIn(t, sandbox.Cluster)
	if err := sandboxtest.ClickHouse(t).Exec(t.Context(), "DROP VIEW "+store.Database()+".registers_mv"); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Check(t.Context()); !errors.Is(err, readmodel.ErrNotMigrated) || !strings.Contains(err.Error(), " are on "+host+",") {
		t.Errorf("it says %v, want the host %s", err, host)
	}
}

// TestCluster_ViewsSayTheSame asks analysts' questions in a cluster of a whole chat. Both
// shards being one, each message is there twice; all else meets.
func TestCluster_ViewsSayTheSame(t *testing.T) {
	config := recentChat()
	config.Retention = 0
	var list []events.Event
	for g := generate.New(config); len(list) < 1500; {
		list = append(list, g.Next())
	}
	one, clustered := open(t), openIn(t, sandbox.Cluster)
	for batch := range slices.Chunk(list, 500) {
		for _, store := range []*readmodel.Store{one, clustered} {
			if err := store.Write(t.Context(), fold(batch)); err != nil {
				t.Fatal(err)
			}
		}
	}
	options := sandboxtest.Options(t, "default")
	options.Settings = clickhouse.Settings{"distributed_product_mode": "allow"} // as analysts have it
	conn, err := clickhouse.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	want := analyze(t, t, sandboxtest.ClickHouse(t), one.Registers(), "app = 'demo'")
	if len(want.Messages) == 0 || len(want.Conversations) == 0 {
		t.Fatal("nobody said anything")
	}
	want.Messages = append(want.Messages, want.Messages...)
	if diff := cmp.Diff(want, analyze(t, t, conn, clustered.Registers(), "app = 'demo'"), inAnyOrder); diff != "" {
		t.Errorf("views (-on one server +in a cluster):\n%s", diff)
	}
}
