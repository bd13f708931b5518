package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// engine is the ClickHouse engine of this process: the library and a bounded
// pool of connections to it.
type engine struct {
	lib  *library
	args []string
	free chan *conn // the pool; a connection in it is idle

	control sync.Mutex // guards killer, which runs nothing but KILL QUERY
	killer  *conn
}

// conn is one connection to the engine, which runs one query at a time.
type conn struct {
	engine   *engine
	handle   *unsafe.Pointer
	name     string // its log_comment, by which KILL QUERY finds its query
	database string
	role     string    // what its queries may do; "": everything
	changed  []setting // to be put back at release
	spoilt   bool      // a statement failed: to be replaced at release
}

// setting is a setting of one query, param a query parameter, whose value is
// in ClickHouse's escaped text.
type (
	setting struct{ name, value string }
	param   struct{ name, value string }
)

// Cluster is the name of a cluster of two shards, each of which is the engine itself. Nobody
// listens on the port of its hosts: the engine knows it for its own. Each shard has a second
// replica, which is never there.
const Cluster = "sandbox"

// The configuration bounds what the engine takes from a small machine, and has
// it look every second, not every few minutes, for parts that can be removed. It
// names no system log, and given as a file it keeps the engine from looking
// for one in the working directory or in /etc.
const (
	serverConfig = `<clickhouse>
  <users_config>%[1]s</users_config>
  <timezone>UTC</timezone>
  <background_pool_size>2</background_pool_size>
  <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
  <os_threads_nice_value_merge_mutate>15</os_threads_nice_value_merge_mutate>
  <background_schedule_pool_size>2</background_schedule_pool_size>
  <background_schedule_pool_initial_size>2</background_schedule_pool_initial_size>
  <background_common_pool_size>1</background_common_pool_size>
  <background_message_broker_schedule_pool_size>16</background_message_broker_schedule_pool_size>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <mark_cache_size>268435456</mark_cache_size>
  <primary_index_cache_size>268435456</primary_index_cache_size>
  <merge_tree>
    <cleanup_delay_period>1</cleanup_delay_period>
    <cleanup_delay_period_random_add>0</cleanup_delay_period_random_add>
    <max_cleanup_delay_period>1</max_cleanup_delay_period>
  </merge_tree>
  <backups><allowed_path>%[2]s</allowed_path></backups>
  <tcp_port>9000</tcp_port>
  <remote_servers><` + Cluster + `>
    <shard><internal_replication>true</internal_replication>
      <replica><host>127.0.0.1</host><port>9000</port></replica><replica><host>127.0.0.1</host><port>1</port></replica></shard>
    <shard><internal_replication>true</internal_replication>
      <replica><host>127.0.0.1</host><port>9000</port></replica><replica><host>127.0.0.1</host><port>1</port></replica></shard>
  </` + Cluster + `></remote_servers>
</clickhouse>
`
	usersConfig = `<clickhouse>
  <profiles><default><max_threads>2</max_threads><max_insert_threads>1</max_insert_threads><implicit_select>0</implicit_select></default></profiles>
  <users><default><password/><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>%s</default></users>
  %s
  <quotas><default/></quotas>
</clickhouse>
`
)

// openEngine starts the engine on the data directory with n connections.
func openEngine(library, path string, access *Access, n int) (*engine, error) {
	lib, err := loadLibrary(library)
	if err != nil {
		return nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	server, users := filepath.Join(path, "config.xml"), filepath.Join(path, "users.xml")
	grants, roles := access.grants()
	if err := errors.Join(os.WriteFile(users, fmt.Appendf(nil, usersConfig, grants, roles), 0o600), os.WriteFile(server, fmt.Appendf(nil, serverConfig, users, filepath.Join(path, "backups")), 0o600)); err != nil {
		return nil, fmt.Errorf("configure the ClickHouse engine: %w", err)
	}
	e := &engine{lib: lib, args: []string{"clickhouse", "--path=" + path, "--config-file=" + server}, free: make(chan *conn, n)}
	if e.killer, err = e.connect("sandbox-control"); err != nil {
		return nil, err
	}
	for i := range n {
		c, err := e.connect(fmt.Sprintf("sandbox-%d", i))
		if err != nil {
			e.close(i)
			return nil, err
		}
		e.free <- c
	}
	return e, nil
}

func (e *engine) connect(name string) (*conn, error) {
	argv := make([]*byte, len(e.args))
	for i, arg := range e.args {
		argv[i] = cString(arg)
	}
	var handle *unsafe.Pointer
	err := keepSignals(func() { handle = e.lib.connect(int32(len(argv)), &argv[0]) })
	runtime.KeepAlive(argv)
	if err != nil {
		return nil, err
	}
	if handle == nil {
		return nil, fmt.Errorf("start the ClickHouse engine: it refuses %s: does another process use the directory, or this one another directory?", strings.Join(e.args[1:], " "))
	}
	c := &conn{engine: e, handle: handle, name: name, database: "default"}
	if err := c.set([]setting{{"log_comment", name}}, false); err != nil {
		e.lib.closeConn(handle)
		return nil, fmt.Errorf("configure the ClickHouse engine: %w", err)
	}
	return c, nil
}

// close waits until n connections, all that there are, are idle and ends the
// engine with the last.
func (e *engine) close(n int) {
	for range n {
		e.lib.closeConn((<-e.free).handle)
	}
	e.lib.closeConn(e.killer.handle)
}

// acquire takes a connection and gives it the database, the role and the settings that
// its query shall have.
func (e *engine) acquire(ctx context.Context, database, role string, settings []setting) (*conn, error) {
	var c *conn
	select {
	case c = <-e.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err := c.enter(database)
	if err == nil {
		err = c.takeOn(role)
	}
	if err != nil {
		c.release()
		return nil, err
	}
	// The cluster's hosts are reached as this one alone.
	c.changed = slices.DeleteFunc(slices.Clone(settings), func(s setting) bool { return s.name == "log_comment" || s.name == "prefer_localhost_replica" })
	if err := c.set(c.changed, false); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

// enter changes the current database, as a server does when a client connects: it asks
// nobody's leave.
func (c *conn) enter(database string) error {
	if database == c.database {
		return nil
	}
	if err := c.takeOn(""); err != nil {
		return err
	}
	if err := c.exec("USE " + quoteIdentifier(database)); err != nil {
		return err
	}
	c.database = database
	return nil
}

// takeOn has the connection do from now on what a role may do; "": everything.
func (c *conn) takeOn(role string) error {
	if role == c.role {
		return nil
	}
	text := "DEFAULT" // all roles
	if role != "" {
		text = quoteIdentifier(role)
	}
	if err := c.exec("SET ROLE " + text); err != nil {
		return err
	}
	c.role = role
	return nil
}

// release puts the connection back into the pool as it was, or a new one in
// its place: where that cannot be (readonly cannot be taken back), and after a
// failed or cancelled statement, whose tables a connection of the engine holds
// until it is closed, so that a DROP … SYNC would wait for ever.
func (c *conn) release() {
	if c.spoilt || c.set(c.changed, true) != nil {
		if fresh, err := c.engine.connect(c.name); err == nil {
			c.engine.lib.closeConn(c.handle)
			c = fresh
		}
	}
	c.changed = nil
	c.engine.free <- c
}

// set gives settings their values, or their defaults again.
func (c *conn) set(settings []setting, defaults bool) error {
	if len(settings) == 0 {
		return nil
	}
	var list []string
	for _, s := range settings {
		value := "DEFAULT"
		if !defaults {
			value = quoteString(s.value)
		}
		list = append(list, quoteIdentifier(s.name)+" = "+value)
	}
	return c.exec("SET " + strings.Join(list, ", "))
}

// exec runs a statement that takes no time and whose rows nobody wants.
func (c *conn) exec(sql string) error {
	_, err := c.take(c.call(c.engine.lib.query, sql, "Null", nil), nil)
	return err
}

// query runs one statement to its end and hands its whole result, if any, to
// yield. Those bytes, here as in stream, are valid until yield returns.
func (c *conn) query(ctx context.Context, sql, format string, params []param, yield func([]byte) error) error {
	defer c.killWhenDone(ctx)()
	_, err := c.take(c.call(c.engine.lib.query, sql, format, params), yield)
	return err
}

// stream runs one SELECT and hands each piece of its result to yield as soon
// as it is there; the engine works no more than some blocks ahead.
func (c *conn) stream(ctx context.Context, sql, format string, params []param, yield func([]byte) error) error {
	defer c.killWhenDone(ctx)()
	lib := c.engine.lib
	stream := c.call(lib.stream, sql, format, params)
	defer lib.destroyResult(stream)
	if text := lib.resultError(stream); text != "" {
		return c.fail(text)
	}
	for {
		n, err := c.take(lib.fetch(*c.handle, stream), yield)
		if err != nil {
			lib.cancelStream(*c.handle, stream)
			c.spoilt = true
			return err
		}
		if n == 0 {
			return nil
		}
	}
}

// fail is how a statement of this connection fails.
func (c *conn) fail(text string) error {
	c.spoilt = true
	return parseException(text)
}

// take hands the data of a result to yield, destroys it and returns its size.
func (c *conn) take(result unsafe.Pointer, yield func([]byte) error) (int, error) {
	lib := c.engine.lib
	defer lib.destroyResult(result)
	if text := lib.resultError(result); text != "" {
		return 0, c.fail(text)
	}
	n := int(lib.resultLength(result))
	if n == 0 || yield == nil {
		return n, nil
	}
	return n, yield(unsafe.Slice(lib.resultBuffer(result), n))
}

// insert is an INSERT under way, to which data is given in pieces.
type insert struct {
	conn   *conn
	handle unsafe.Pointer
}

// insert begins an INSERT; sql is what stands before VALUES or FORMAT.
func (c *conn) insert(sql, format string, params []param) (*insert, error) {
	lib := c.engine.lib
	in := &insert{conn: c, handle: c.call(lib.insert, sql, format, params)}
	if text := lib.insertError(in.handle); text != "" {
		lib.destroyInsert(in.handle)
		return nil, c.fail(text)
	}
	return in, nil
}

// Write hands on a piece of data.
func (in *insert) Write(data []byte) (int, error) {
	lib := in.conn.engine.lib
	if len(data) > 0 && lib.appendInsert(in.handle, &data[0], uintptr(len(data))) != 0 {
		return 0, in.conn.fail(lib.insertError(in.handle))
	}
	return len(data), nil
}

// finish waits until the rows are in the table.
func (in *insert) finish(ctx context.Context) error {
	defer in.conn.killWhenDone(ctx)()
	defer in.conn.engine.lib.destroyInsert(in.handle)
	_, err := in.conn.take(in.conn.engine.lib.finishInsert(in.handle), nil)
	return err
}

// cancel gives the insert up.
func (in *insert) cancel() {
	in.conn.spoilt = true
	in.conn.engine.lib.cancelInsert(in.handle)
	in.conn.engine.lib.destroyInsert(in.handle)
}

// analyse asks the engine's parser what sql is.
func (c *conn) analyse(sql string) analysis {
	out := analysis{size: uint32(unsafe.Sizeof(analysis{}))}
	text := cString(sql)
	c.engine.lib.classify(*c.handle, text, uintptr(len(sql)), nil, 0, &out)
	runtime.KeepAlive(text)
	return out
}

// call calls one of the library's functions that take a statement.
func (c *conn) call(fn queryFunc, sql, format string, params []param) unsafe.Pointer {
	text, form := cString(sql), cString(format)
	n := len(params)
	pointers, sizes := make([]*byte, 2*n+1), make([]uintptr, 2*n+1) // names, then values; never empty, to have an address
	for i, p := range params {
		pointers[i], sizes[i] = cString(p.name), uintptr(len(p.name))
		pointers[n+i], sizes[n+i] = cString(p.value), uintptr(len(p.value))
	}
	result := fn(*c.handle, text, uintptr(len(sql)), form, uintptr(len(format)),
		&pointers[0], &sizes[0], &pointers[n], &sizes[n], uintptr(n))
	runtime.KeepAlive(text)
	runtime.KeepAlive(form)
	runtime.KeepAlive(pointers)
	runtime.KeepAlive(sizes)
	return result
}

// killInterval is the pause between attempts to kill a query: one that comes
// before the engine has registered the query finds nothing.
const killInterval = 20 * time.Millisecond

// killWhenDone kills whatever the connection runs once ctx is done. The
// function that it returns ends that, and waits: the next query on this
// connection must not be hit.
func (c *conn) killWhenDone(ctx context.Context) (stop func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	finished, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-finished:
			return
		}
		for {
			c.engine.kill(c.name)
			select {
			case <-time.After(killInterval):
			case <-finished:
				return
			}
		}
	}()
	return func() {
		close(finished)
		<-stopped
	}
}

// kill stops the query of the connection of that name. It does not wait, and
// finding none is no error.
func (e *engine) kill(name string) {
	e.control.Lock()
	defer e.control.Unlock()
	_ = e.killer.exec("KILL QUERY WHERE Settings['log_comment'] = " + quoteString(name) + " ASYNC")
}
