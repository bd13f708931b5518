package readmodel

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// The cluster form of the schema is made from the single form, statement by statement:
// each table NAME that has rows becomes NAME_local, replicated, on every host, and NAME
// is the Distributed table over it; so queries name the same tables in both forms.
// Writers fill the Distributed NAME_in, which hands rows on to the Null tables NAME_in_local,
// and views build rows where those are. docs/adr/0017 has the reasons.

// owned is by what registers are spread: those of one user, or else of one conversation,
// are together.
const owned = "cityHash64(app, if(owner = '', conversation_id, owner))"

// shardingKeys say by what the rows of each table are spread over the shards.
var shardingKeys = map[string]string{
	"registers":      owned,
	"sequences":      owned,
	"edits":          "cityHash64(app, a)",
	"messages":       "cityHash64(app, a)",
	"user_profiles":  "cityHash64(app, user_id)",
	"group_profiles": "cityHash64(app, group_id)",
	"plans":          "cityHash64(app)",
	"erased_users":   "cityHash64(app)",
	// Made where their messages are, so rows of one key are on several shards, and meet
	// when they are read. Not deterministic, so that no shard is ever passed over.
	"activity":       "rand()",
	"activity_users": "rand()",
}

// The engine passes over shards only where a condition has every column of the sharding
// key, as a column. So registers are read through tables that are spread by one column
// alone: those of users by the owner, the others, whose owner is empty, by the conversation.
// For the rows that are looked for there it comes to the same.
const (
	byOwner = "_by_owner"
	shared  = "_shared"
)

// faces are these tables, by the ends of their names, with their sharding keys.
var faces = []struct{ name, key string }{
	{byOwner, "cityHash64(app, owner)"},
	{shared, "cityHash64(app, conversation_id)"},
}

// local is the end of the name of what a host has itself.
const local = "_local"

var (
	createTable = regexp.MustCompile(`(?s)^CREATE TABLE IF NOT EXISTS \{db\}\.(\w+)\n(\(.*\n\))\nENGINE = (\w+)(.*)$`)
	createView  = regexp.MustCompile(`(?s)^(CREATE MATERIALIZED VIEW IF NOT EXISTS \{db\}\.\w+) (TO .*)$`)
	replaceView = regexp.MustCompile(`^CREATE OR REPLACE VIEW \S+`)
	tableName   = regexp.MustCompile(`\{db\}\.\w+`)
	tableNote   = regexp.MustCompile(`(?m)^COMMENT '.*'$`)
)

// clustered is the cluster form of a statement of a generation's schema.
func clustered(statement string) ([]string, error) {
	if m := createView.FindStringSubmatch(statement); m != nil {
		return []string{m[1] + " ON CLUSTER {cluster} " + tableName.ReplaceAllString(m[2], "${0}"+local)}, nil
	}
	m := createTable.FindStringSubmatch(statement)
	if m == nil {
		return nil, fmt.Errorf("no cluster form of the statement: %s", statement)
	}
	name, columns, engine, rest := m[1], m[2], m[3], m[4]
	key, ok := shardingKeys[strings.TrimSuffix(name, "_in")]
	if !ok {
		return nil, fmt.Errorf("table %s: nothing says by what its rows are spread over the shards", name)
	}
	if strings.HasSuffix(engine, "MergeTree") {
		engine = replicated(engine) + fmt.Sprintf("('/clickhouse/tables/{shard}/{db}/%s', '{replica}')", name)
	}
	out := []string{
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS {db}.%s%s ON CLUSTER {cluster}\n%s\nENGINE = %s%s", name, local, columns, engine, rest),
		distributed(name, name, key, rest),
	}
	if key == owned && engine != "Null" {
		for _, f := range faces {
			out = append(out, distributed(name+f.name, name, f.key, rest))
		}
	}
	return out, nil
}

// distributed is the table through which that of a name is read and written on all shards.
// It has the comment that is in the rest of the table's statement.
func distributed(name, of, key, rest string) string {
	s := fmt.Sprintf("CREATE TABLE IF NOT EXISTS {db}.%s ON CLUSTER {cluster} AS {db}.%s%s\nENGINE = Distributed({cluster}, '{db}', '%[2]s%[3]s', %s)", name, of, local, key)
	if note := tableNote.FindString(rest); note != "" {
		s += "\n" + note
	}
	return s
}

// replicated is the engine that replicates the rows of another one.
func replicated(engine string) string { return "Replicated" + engine }

// everyHost names the replicas of what all hosts have alike, whichever their shard.
const everyHost = "'{shard}-{replica}'"

// clusteredRegistry is the cluster form of a statement of the registry's schema. Its path
// names no shard: each host has all rows.
func clusteredRegistry(statement string) ([]string, error) {
	m := createTable.FindStringSubmatch(statement)
	if m == nil {
		return nil, fmt.Errorf("no cluster form of the statement: %s", statement)
	}
	name, columns, engine, rest := m[1], m[2], m[3], m[4]
	engine = fmt.Sprintf("%s('/clickhouse/tables/{db}/%s', %s)", replicated(engine), name, everyHost)
	return []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS {db}.%s ON CLUSTER {cluster}\n%s\nENGINE = %s%s", name, columns, engine, rest)}, nil
}

// clusterSettings are those of queries in a cluster.
func clusterSettings(insertQuorum string) clickhouse.Settings {
	return clickhouse.Settings{
		// Acknowledged must mean visible to whoever asks another host: whoever reads and
		// whoever writes takes the same replica of a shard, the first one that is there.
		// Nor is another one asked because the first is slow (hedged requests), or beside it.
		"load_balancing": "in_order", "prefer_localhost_replica": 0, "use_hedged_requests": 0, "enable_parallel_replicas": 0,
		"insert_quorum": insertQuorum, "insert_quorum_parallel": 1,
		// Since 26.2 this decides whether equal blocks are written, whatever insert_deduplicate says.
		"deduplicate_insert": "disable",
		// Who asks for keys, however many, asks the shards that have them, and nobody else.
		"optimize_skip_unused_shards": 1, "optimize_skip_unused_shards_limit": 1_000_000,
		// A set in a condition is of all shards. Each of them asks for it: made once and
		// sent to them (global), the engine refuses some of ours.
		"distributed_product_mode": "allow",
		// A shard that is away is an error and not a shard without rows, and what shards have
		// counted is counted together.
		"skip_unavailable_shards": 0, "distributed_group_by_no_merge": 0,
	}
}

// form is how the schema is made: in a cluster, or on one server where its name is "".
type form struct{ cluster string }

// claims is the database of the tables that only one can make: the registry's own or, in a
// cluster, one whose engine has every host apply what is done in it in one order, so that of
// two who make one table one fails.
func (f form) claims(registry string) string {
	if f.cluster == "" {
		return registry
	}
	return registry + "_claims"
}

// createDatabase makes a database.
func (f form) createDatabase(db string) string {
	return "CREATE DATABASE IF NOT EXISTS " + db + f.onCluster()
}

// dropDatabase removes a database and all that is in it.
func (f form) dropDatabase(db string) string {
	return "DROP DATABASE IF EXISTS " + db + f.onCluster() + " SYNC"
}

// system is a system table, with the rows of all hosts.
func (f form) system(table string) string { return f.ofAllHosts("system." + table) }

// ofAllHosts is a source of rows that each host has of its own, with the rows of all.
func (f form) ofAllHosts(source string) string {
	if f.cluster == "" {
		return source
	}
	return "clusterAllReplicas(" + quoted(f.cluster) + ", " + source + ")"
}

// onlyThere has a query of system tables leave out hosts that are away.
func (f form) onlyThere() string {
	if f.cluster == "" {
		return ""
	}
	return " SETTINGS skip_unavailable_shards = 1"
}

// face is the end of a table's name for who reads it in a cluster.
func (f form) face(name string) string {
	if f.cluster == "" {
		return ""
	}
	return name
}

// catchUp has the host that is asked wait until it has all that is known of a table.
func (f form) catchUp(db, table string) []string {
	if f.cluster == "" {
		return nil
	}
	return []string{"SYSTEM SYNC DATABASE REPLICA " + f.claims(db), "SYSTEM SYNC REPLICA " + db + "." + table}
}

// claiming is for making a table that only one can make. A host that is away makes it
// when it is back, and is not waited for.
func (f form) claiming(ctx context.Context) context.Context {
	if f.cluster == "" {
		return ctx
	}
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"distributed_ddl_output_mode": "throw_only_active"}))
}

// changing is the settings of a statement that changes rows. One replica of each shard does it
// for the others: those that are away are waited for in vain, and not for long.
func (f form) changing() clickhouse.Settings {
	if f.cluster == "" {
		return nil
	}
	return clickhouse.Settings{"distributed_ddl_output_mode": "null_status_on_timeout", "distributed_ddl_task_timeout": 10}
}

// changes is how often a statement that changes rows is given. On one server, once: what is
// left was written meanwhile. In a cluster it may also be left because a shard is slow to
// begin, so it is looked at.
func (f form) changes() int {
	if f.cluster == "" {
		return 1
	}
	return 3
}

func (f form) onCluster() string {
	if f.cluster == "" {
		return ""
	}
	return " ON CLUSTER " + quoted(f.cluster)
}

// view is how a view of a generation is made.
func (f form) view(statement string) string {
	return replaceView.ReplaceAllString(statement, "${0}"+strings.ReplaceAll(f.onCluster(), "$", "$$"))
}

// generation gives the statements that make a generation's database and tables.
func (f form) generation(script, db string) ([]string, error) {
	return f.script(f.createDatabase(db), clustered, script, db)
}

// registry gives those that make the registry's.
func (f form) registry(script, db string) ([]string, error) {
	list, err := f.script(f.createDatabase(db), clusteredRegistry, script, db)
	if claims := f.claims(db); err == nil && claims != db {
		list = append(list, fmt.Sprintf("%s ENGINE = Replicated('/clickhouse/databases/%s', 'all', %s)", f.createDatabase(claims), claims, everyHost))
	}
	return list, err
}

func (f form) script(createDatabase string, inCluster func(string) ([]string, error), script, db string) ([]string, error) {
	list := statements(script, "{db}")
	if f.cluster != "" {
		var all []string
		for _, statement := range list {
			some, err := inCluster(statement)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
		list = all
	}
	list = slices.Insert(list, 0, createDatabase)
	for i := range list {
		list[i] = strings.NewReplacer("{db}", db, "{cluster}", quoted(f.cluster)).Replace(list[i])
	}
	return list, nil
}
