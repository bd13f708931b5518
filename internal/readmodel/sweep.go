package readmodel

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/convoview/convoview/internal/pause"
)

// erasure says what of a table is an erased user's. Its conditions and expressions are of
// ClickHouse, in which {erased} is the set of all erased users and {db} the generation's
// database. No statement names a user: the engine keeps those that change tables.
type erasure struct {
	table string
	// gone is the condition of the rows that are deleted; "": none are.
	gone string
	// blanks are what stays without what was the user's.
	blanks []blank
}

// blank is a column that is changed in some rows.
type blank struct {
	column, to string
	// where is the condition of the rows in which it is not changed yet.
	where string
}

// The columns that have a register as (…, time, id, value).
const (
	blankedRegister = "(greatest.sequence, greatest.time, greatest.id, %s)"
	blankedEdit     = "(greatest.version, greatest.time, greatest.id, %s)"
	blankedProfile  = "(profile.time, profile.id, %s)"
)

// Conditions of rows that have the user's side of a conversation, or a C2C conversation
// with the user.
const (
	ownedByErased = `((app, owner) IN {erased} OR startsWith(conversation_id, 'C2C') AND (app, substring(conversation_id, 4)) IN {erased})`
	amongErased   = `(type IN ('C2C', 'SYSTEM') AND (app, a) IN {erased} OR type = 'C2C' AND (app, b) IN {erased})`
)

// erasures are those of all tables of a generation but plans, in which nobody is named,
// and activity, which has hashes alone (see docs/adr/0014). erased_users stays: it says
// whose late arrivals count for nothing.
var erasures = []erasure{
	{
		table: "registers", gone: ownedByErased,
		blanks: []blank{
			{
				"greatest", fmt.Sprintf(blankedRegister, "multiIf("+
					"register = 'head', concat("+fieldOf("greatest", 1)+", '\\0\\xFF\\0', "+fieldOf("greatest", 3)+", '\\0\\0\\0\\0\\0\\0', '0000000000', '\\0\\0'), "+
					"concat("+fieldsOf("greatest", 1, 5)+", '\\0\\xFF'))"),
				"(register = 'head' AND (app, " + fieldOf("greatest", 2) + ") IN {erased} OR register = 'member' AND (app, " + fieldOf("greatest", 6) + ") IN {erased})",
			},
		},
	},
	{table: "sequences", gone: ownedByErased},
	{
		table: "edits", gone: amongErased,
		blanks: []blank{{
			"greatest", fmt.Sprintf(blankedEdit, "multiIf("+
				"edit = 'modification' AND ("+ofErasedMessage+" OR {orphaned}), "+blankModification+", "+
				"edit = 'modification', concat("+fieldsOf("greatest", 1, 6)+", '\\0\\xFF'), "+
				ofErasedMessage+", "+blankRecall+", "+
				"concat('\\xFF\\0', "+fieldOf("greatest", 2)+"))"),
			"(edit = 'recall' AND (app, " + fieldOf("greatest", 1) + ") IN {erased} OR " +
				fromErased + " AND {listed} OR " +
				"greatest.value != if(edit = 'recall', " + blankRecall + ", " + blankModification + ") AND " + ofErasedMessage + ")",
		}},
	},
	{
		table: "messages", gone: amongErased,
		blanks: []blank{
			{"text", "''", "(text != '' AND " + sentByErased + ")"},
			{"mentions", "arrayFilter(u -> (app, u) NOT IN {erased}, mentions)", "arrayExists(u -> (app, u) IN {erased}, mentions)"},
			{"sender", "'\\xFF'", "(app, sender) IN {erased}"},
		},
	},
	{table: "activity_users", gone: "(app, user_id) IN {erased}"},
	{table: "user_profiles", gone: "(app, user_id) IN {erased}"},
	{
		table: "group_profiles",
		blanks: []blank{{
			"profile", fmt.Sprintf(blankedProfile, "concat("+fieldsOf("profile", 1, 6)+", '\\0\\xFF\\0', arrayStringConcat(arraySlice(splitByChar('\\0', profile.value), 8), '\\0'))"),
			"(app, " + fieldOf("profile", 7) + ") IN {erased}",
		}},
	},
}

const (
	sentByErased      = `(sender = '\xFF' OR (app, sender) IN {erased})`
	blankRecall       = `'\xFF\0'`
	blankModification = `'\xFF\0' || '0\0\0\0' || '0\0\0'`
	// ofErasedMessage is the condition that all messages of the edit's sequence, of which
	// there is one but for a producer's fault, were sent by erased users.
	ofErasedMessage = `(app, type, a, b, sequence) IN (
		SELECT app, type, a, b, sequence FROM {db}.messages WHERE type != 'C2C' AND (app, type, a, b, sequence) IN (
			SELECT app, type, a, b, sequence FROM {db}.messages WHERE type != 'C2C' AND ` + sentByErased + `)
		GROUP BY app, type, a, b, sequence HAVING min(` + sentByErased + `))`
)

// fromErased is the condition of modifications that say of themselves that an erased user
// had sent the message. Of those that are listed, what is modified stays only if there is
// such a message, by somebody else: then the event was at fault; see modifiedByErased.
var fromErased = "edit = 'modification' AND (app, " + fieldOf("greatest", 7) + ") IN {erased}"

// orphaned is the condition of those of them whose messages nobody has.
var orphaned = "(" + editedMessage + ") GLOBAL NOT IN (SELECT " + editedMessage + " FROM {db}.messages WHERE type != 'C2C' AND (" +
	editedMessage + ") GLOBAL IN (SELECT " + editedMessage + " FROM {db}.edits WHERE " + fromErased + "))"

// editedMessage is the key of the message of an edit.
const editedMessage = "app, type, a, b, sequence"

// fieldOf is the n-th field of a column's value, and fieldsOf those from one to another.
func fieldOf(column string, n int) string {
	return fmt.Sprintf("splitByChar('\\0', %s.value)[%d]", column, n)
}

func fieldsOf(column string, from, to int) string {
	return fmt.Sprintf("arrayStringConcat(arraySlice(splitByChar('\\0', %s.value), %d, %d), '\\0')", column, from, to-from+1)
}

// statement puts the generation's names into a condition or an expression.
func (s *Store) statement(text string) string {
	return s.statementOf(text, s.erased())
}

// erased is the set of users whom the generation knows to be erased.
func (s *Store) erased() string { return "(SELECT app, user_id FROM " + s.db + ".erased_users)" }

// statementOf does so for another set of erased users.
func (s *Store) statementOf(text, erased string) string {
	return strings.NewReplacer("{erased}", erased, "{db}", s.db).Replace(text)
}

// conditions are those of rows that are deleted, and of those that stay with less in them.
func (e *erasure) conditions() (gone, blanked string) {
	gone, blanked = "0", "0"
	if e.gone != "" {
		gone = e.gone
	}
	for _, b := range e.blanks {
		blanked += " OR " + b.where
	}
	return gone, blanked
}

// names reports whether its statement names the messages that it changes; see modifiedByErased.
func (e *erasure) names() bool {
	_, blanked := e.conditions()
	return strings.Contains(blanked, "{listed}")
}

// Unswept is what is left of erased users in a table.
type Unswept struct {
	Table string `json:"table"`
	// Deleted are the rows that a sweep deletes, Blanked those that it keeps without what is theirs.
	// Rows that are not merged yet count each.
	Deleted uint64 `json:"deleted"`
	Blanked uint64 `json:"blanked"`
}

// Unswept gives what is left of those whom a generation, this one or another, knows to be
// erased, table by table.
func (s *Store) Unswept(ctx context.Context, known *Store) ([]Unswept, error) {
	list := make([]Unswept, len(erasures))
	for i := range erasures {
		var err error
		if list[i], err = s.unswept(ctx, &erasures[i], known); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (s *Store) unswept(ctx context.Context, e *erasure, known *Store) (Unswept, error) {
	release, err := s.slot(ctx)
	if err != nil {
		return Unswept{}, err
	}
	defer release()
	u := Unswept{Table: e.table}
	gone, blanked := e.conditions()
	blanked = strings.ReplaceAll(blanked, "{listed}", "1")
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"max_threads": 1})) // nobody waits for it
	query := fmt.Sprintf("SELECT countIf(gone), countIf(NOT gone AND blanked) FROM (SELECT %s AS gone, %s AS blanked FROM %s.%s WHERE gone OR blanked)", gone, blanked, s.db, e.table)
	if err := s.conn.QueryRow(ctx, s.statementOf(query, known.erased())).Scan(&u.Deleted, &u.Blanked); err != nil {
		return Unswept{}, fmt.Errorf("look for erased users in %s.%s: %w", s.db, e.table, classify(ctx, err))
	}
	return u, nil
}

// Sweeping is how far a sweep is.
type Sweeping struct {
	Table      string
	TablesLeft int
	// PartsToDo are the table's parts that are still to be written anew.
	PartsToDo int64
}

// Sweep takes what is left of erased users out of all tables, and gives what that was. It
// returns when no part that queries read has it; see OldParts. It goes on with what
// another one, or one that was broken off, has begun. Rows that are written meanwhile are
// left to the next one.
func (s *Store) Sweep(ctx context.Context, progress func(Sweeping)) ([]Unswept, error) {
	list := make([]Unswept, len(erasures))
	for i := range erasures {
		so := Sweeping{Table: erasures[i].table, TablesLeft: len(erasures) - i - 1}
		var err error
		list[i], err = s.sweep(ctx, &erasures[i], func(parts int64) {
			so.PartsToDo = parts
			progress(so)
		})
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// sweep does so in one table.
func (s *Store) sweep(ctx context.Context, e *erasure, tell func(parts int64)) (found Unswept, err error) {
	for n := 0; ; n++ {
		// One after the other: each rewrites the parts that it finds.
		if err := s.awaitMutations(ctx, e.table, tell); err != nil {
			return Unswept{}, err
		}
		if n > 0 && s.form.changes() == 1 {
			return found, nil
		}
		left, err := s.unswept(ctx, e, s)
		if err != nil {
			return Unswept{}, err
		}
		if n == 0 {
			found = left
		}
		switch {
		case left.Deleted+left.Blanked == 0:
			return found, nil
		case n == s.form.changes():
			return Unswept{}, fmt.Errorf("sweep %s.%s: a shard has not done it: %d rows to delete and %d to blank are left", s.db, e.table, left.Deleted, left.Blanked)
		}
		if err := s.mutate(ctx, e, tell); err != nil {
			return Unswept{}, err
		}
	}
}

// mutate has the engine write the parts of a table anew that have something of an erased
// user, without it.
func (s *Store) mutate(ctx context.Context, e *erasure, tell func(parts int64)) error {
	settings := clickhouse.Settings{
		"mutations_sync": 0, // it may take longer than a connection waits
		"mutations_execute_subqueries_on_initiator":       0,
		"mutations_execute_nondeterministic_on_initiator": 0,
		"allow_nondeterministic_mutations":                1, // a set of users may be one of two; what it lacks is swept later
	}
	maps.Copy(settings, s.form.changing())
	var of modified
	for {
		if e.names() {
			var err error
			if of, err = s.modifiedByErased(ctx, of.last); err != nil {
				return err
			}
		}
		if err := s.conn.Exec(clickhouse.Context(ctx, clickhouse.WithSettings(settings)), s.mutation(e, of)); err != nil {
			return fmt.Errorf("sweep %s.%s: %w", s.db, e.table, classify(ctx, err))
		}
		if len(of.listed) < mostModified {
			return nil
		}
		if err := s.awaitMutations(ctx, e.table, tell); err != nil {
			return err
		}
	}
}

// mostModified is how many modifications one mutation of edits names, twice: as many as fit
// into a statement (256 KiB).
const mostModified = 5_000

// modified is messages of edits that fromErased has, those of them that nobody has any
// more, and the last of the former.
type modified struct {
	listed, alone []string
	last          uint64
}

// modifiedByErased gives the first of those messages behind one, as they are now. A
// mutation could not ask for them: one whose condition reads its own table may not end.
// They are hashes, since the engine keeps the text of mutations.
func (s *Store) modifiedByErased(ctx context.Context, behind uint64) (of modified, err error) {
	query := "SELECT cityHash64(" + editedMessage + ") AS hash, max(" + orphaned + ") FROM {db}.edits WHERE " + fromErased +
		" AND hash > " + strconv.FormatUint(behind, 10) + " GROUP BY hash ORDER BY hash LIMIT " + strconv.Itoa(mostModified)
	err = s.each(ctx, s.statement(query), func(scan func(...any) error) error {
		var orphan uint8
		if err := scan(&of.last, &orphan); err != nil {
			return err
		}
		of.listed = append(of.listed, strconv.FormatUint(of.last, 10))
		if orphan == 1 {
			of.alone = append(of.alone, strconv.FormatUint(of.last, 10))
		}
		return nil
	})
	if err != nil {
		return modified{}, fmt.Errorf("look what erased users have modified in %s.edits: %w", s.db, classify(ctx, err))
	}
	return of, nil
}

// editsOf is the condition of edits of messages with these hashes.
func editsOf(hashes []string) string {
	if len(hashes) == 0 {
		return "0"
	}
	return "cityHash64(" + editedMessage + ") IN (" + strings.Join(hashes, ", ") + ")"
}

// mutation is the statement of that. The set of users is read when the engine works it off:
// it keeps the text of mutations, and none of them names a user.
func (s *Store) mutation(e *erasure, of modified) string {
	var commands []string
	if e.gone != "" {
		commands = append(commands, "DELETE WHERE "+e.gone)
	}
	for _, b := range e.blanks {
		commands = append(commands, fmt.Sprintf("UPDATE %s = %s WHERE %s", b.column, b.to, b.where))
	}
	// In a cluster a message is on the shard of its edits.
	changes := strings.NewReplacer("{db}.messages", "{db}.messages"+s.form.face(local), "{listed}", editsOf(of.listed), "{orphaned}", editsOf(of.alone)).
		Replace(strings.Join(commands, ", "))
	return s.statement("ALTER TABLE {db}." + e.table + s.form.face(local) + s.form.onCluster() + " " + changes)
}

// sweepInterval is how often is looked how far the engine is.
const sweepInterval = 100 * time.Millisecond

// awaitMutations waits until all parts of a table are as all mutations have them.
func (s *Store) awaitMutations(ctx context.Context, table string, tell func(parts int64)) error {
	for {
		var running uint64
		var parts int64
		var fault string
		err := s.conn.QueryRow(ctx, "SELECT count(), sum(parts_to_do), anyIf(latest_fail_reason, latest_fail_reason != '') FROM "+s.form.system("mutations")+" WHERE database = '"+s.db+"' AND table = '"+table+s.form.face(local)+"' AND NOT is_done AND NOT is_killed"+s.form.onlyThere()).
			Scan(&running, &parts, &fault)
		if err != nil {
			return fmt.Errorf("look how far the sweep of %s.%s is: %w", s.db, table, classify(ctx, err))
		}
		if fault != "" {
			return fmt.Errorf("sweep %s.%s: ClickHouse tries again by itself after: %s", s.db, table, fault)
		}
		if running == 0 {
			return nil
		}
		tell(parts)
		if err := pause.For(ctx, sweepInterval); err != nil {
			return fmt.Errorf("sweep %s.%s: %w", s.db, table, err)
		}
	}
}

// OldParts gives the names of parts that queries do not read any more and that are still
// on the disk, by table. ClickHouse removes them after its old_parts_lifetime.
func (s *Store) OldParts(ctx context.Context) (map[OldPart]struct{}, error) {
	parts := map[OldPart]struct{}{}
	// Those whose files are being removed are shown only to who asks for states, which only
	// the host's own table has.
	old := "view(SELECT table, name FROM system.parts WHERE _state NOT IN ('PreActive', 'Active') AND database = '" + s.db + "')"
	err := s.each(ctx, "SELECT table, name FROM "+s.form.ofAllHosts(old)+s.form.onlyThere(), func(scan func(...any) error) error {
		var p OldPart
		err := scan(&p.Table, &p.Name)
		parts[p] = struct{}{}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for the old parts of %s: %w", s.db, classify(ctx, err))
	}
	return parts, nil
}

// OldPart names a part that queries do not read any more.
type OldPart struct{ Table, Name string }

// LastSweeps gives when the last finished sweep of each generation began; those that were
// never swept are absent.
func (s *Server) LastSweeps(ctx context.Context) (map[int]time.Time, error) {
	last := map[int]time.Time{}
	err := s.each(ctx, "SELECT generation, max(begun) FROM "+s.database+".sweeps GROUP BY generation", func(scan func(...any) error) error {
		var number uint32
		var begun time.Time
		err := scan(&number, &begun)
		last[int(number)] = begun
		return err
	})
	if err != nil {
		return nil, s.notMigrated(ctx, err)
	}
	return last, nil
}

// Swept says that a sweep of a generation that began then is finished.
func (s *Server) Swept(ctx context.Context, generation int, begun time.Time) error {
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.sweeps SELECT %d, fromUnixTimestamp64Micro(%d, 'UTC')", s.database, generation, begun.UnixMicro()))
	if err != nil {
		return fmt.Errorf("say that generation %d is swept: %w", generation, s.notMigrated(ctx, err))
	}
	return nil
}

// ErasedUsers is how many users were erased, by the generation that is read.
func (s *Server) ErasedUsers(ctx context.Context) (n uint64, err error) {
	current, err := s.Current(ctx)
	if err != nil {
		return 0, err
	}
	store := s.Generation(current)
	if err := s.conn.QueryRow(ctx, "SELECT uniqExact(app, user_id) FROM "+store.db+".erased_users").Scan(&n); err != nil {
		return 0, fmt.Errorf("count erased users: %w", classify(ctx, err))
	}
	return n, nil
}

// swept is a table as a sweep of a set of users would leave it. So generations are compared,
// of which one was swept and the other one not yet.
func (s *Store) swept(table, erased string) string {
	i := slices.IndexFunc(erasures, func(e erasure) bool { return e.table == table })
	if i < 0 {
		return s.db + "." + table
	}
	what := "*"
	for i, b := range erasures[i].blanks {
		if i == 0 {
			what += " REPLACE ("
		} else {
			what += ", "
		}
		what += fmt.Sprintf("CAST(if(%s, %s, %s), toTypeName(%[3]s)) AS %[3]s", b.where, b.to, b.column)
	}
	if what != "*" {
		what += ")"
	}
	gone, _ := erasures[i].conditions()
	what = strings.NewReplacer("{listed}", "1", "{orphaned}", orphaned).Replace(what)
	return s.statementOf(fmt.Sprintf("(SELECT %s FROM {db}.%s WHERE NOT (%s))", what, table, gone), erased)
}

// erasedByEither is the set of users whom either of two generations knows to be erased; ""
// when there are none.
func (s *Store) erasedByEither(ctx context.Context, with *Store) (string, error) {
	set := fmt.Sprintf("(SELECT app, user_id FROM %s.erased_users UNION ALL SELECT app, user_id FROM %s.erased_users)", s.db, with.db)
	var n uint64
	if err := s.conn.QueryRow(ctx, "SELECT count() FROM "+set).Scan(&n); err != nil {
		return "", fmt.Errorf("count erased users: %w", classify(ctx, err))
	}
	if n == 0 {
		return "", nil
	}
	return set, nil
}
