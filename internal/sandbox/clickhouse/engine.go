package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// engine is the ClickHouse engine of this process: the library and a bounded
// pool of its connections, each of which runs one query at a time.
type engine struct {
	lib  *library
	free chan *conn // the pool: a connection in it is idle
	all  []*conn

	control sync.Mutex // guards killer, which runs nothing but KILL QUERY
	killer  *conn
}

// conn is one connection to the engine.
type conn struct {
	engine   *engine
	handle   *unsafe.Pointer
	name     string // its log_comment, by which KILL QUERY finds its query
	database string
	changed  map[string]string // settings to put back at release
}

// param is a query parameter, its value as ClickHouse's escaped text.
type param struct{ name, value string }

// baseSettings hold for each query that does not say otherwise.
var baseSettings = map[string]string{
	"max_threads":        "2",
	"max_insert_threads": "1",
	// A block is fetched, converted and sent at once: this bounds the memory
	// of a streaming result.
	"max_block_size": "65409",
}

// engineArgs bound what the engine takes from a small machine.
var engineArgs = []string{
	"--background_pool_size=2",
	"--background_merges_mutations_concurrency_ratio=1",
	"--background_schedule_pool_size=2",
	"--background_common_pool_size=1",
	"--background_move_pool_size=1",
	"--background_fetches_pool_size=1",
	"--max_server_memory_usage_to_ram_ratio=0.5",
	"--mark_cache_size=268435456",
	"--primary_index_cache_size=268435456",
}

// openEngine starts the engine on the directory path with n connections.
func openEngine(library, path string, n int) (*engine, error) {
	lib, err := loadLibrary(library)
	if err != nil {
		return nil, err
	}
	e := &engine{lib: lib, free: make(chan *conn, n)}
	args := append([]string{"clickhouse", "--path=" + path}, engineArgs...)
	for i := range n + 1 {
		c, err := e.connect(fmt.Sprintf("sandbox-%d-%d", os.Getpid(), i), args)
		if err != nil {
			return nil, errors.Join(err, e.close())
		}
		if i == n {
			e.killer = c
			continue
		}
		e.free <- c
	}
	return e, nil
}

func (e *engine) connect(name string, args []string) (*conn, error) {
	argv := make([]*byte, len(args))
	for i, arg := range args {
		argv[i] = cString(arg)
	}
	var handle *unsafe.Pointer
	err := keepSignals(func() { handle = e.lib.connect(int32(len(argv)), &argv[0]) })
	runtime.KeepAlive(argv)
	if err != nil {
		return nil, err
	}
	if handle == nil {
		return nil, fmt.Errorf("start the ClickHouse engine: it refused %s (is another process using the directory?)", strings.Join(args[1:], " "))
	}
	c := &conn{engine: e, handle: handle, name: name, database: "default"}
	e.all = append(e.all, c)
	settings := maps.Clone(baseSettings)
	settings["log_comment"] = name
	if err := c.set(settings); err != nil {
		return nil, fmt.Errorf("configure the ClickHouse engine: %w", err)
	}
	return c, nil
}

// close ends the engine; no query may be running.
func (e *engine) close() error {
	for _, c := range e.all {
		e.lib.closeConn(c.handle)
	}
	e.all = nil
	return keepSignals(func() { e.lib.shutdown() })
}

// acquire takes a connection with the database and the settings that its
// queries shall have.
func (e *engine) acquire(ctx context.Context, database string, settings map[string]string) (*conn, error) {
	var c *conn
	select {
	case c = <-e.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := c.prepare(database, settings); err != nil {
		c.release()
		return nil, err
	}
	return c, nil
}

func (c *conn) prepare(database string, settings map[string]string) error {
	if database != c.database {
		if err := c.exec("USE " + quoteIdentifier(database)); err != nil {
			return err
		}
		c.database = database
	}
	delete(settings, "log_comment") // ours
	if len(settings) == 0 {
		return nil
	}
	// One wrong setting of several leaves those before it set.
	c.changed = settings
	return c.set(settings)
}

// set changes settings of the connection.
func (c *conn) set(settings map[string]string) error {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		list = append(list, quoteIdentifier(name)+" = "+quoteString(settings[name]))
	}
	return c.exec("SET " + strings.Join(list, ", "))
}

// release puts the connection back into the pool as it was.
func (c *conn) release() {
	for name := range c.changed {
		value, ok := baseSettings[name]
		if ok {
			value = quoteString(value)
		} else {
			value = "DEFAULT"
		}
		// An error means that there is no such setting, so that it was not set.
		_ = c.exec("SET " + quoteIdentifier(name) + " = " + value)
	}
	c.changed = nil
	c.engine.free <- c
}

// exec runs a statement that gives no rows and takes no time.
func (c *conn) exec(sql string) error {
	_, err := c.run(sql, "TSV", nil)
	return err
}

// query runs one statement to its end and returns its whole result.
func (c *conn) query(ctx context.Context, sql, format string, params []param) ([]byte, error) {
	defer c.killWhenDone(ctx)()
	return c.run(sql, format, params)
}

func (c *conn) run(sql, format string, params []param) ([]byte, error) {
	result := c.call(c.engine.lib.query, sql, format, params)
	defer c.engine.lib.destroyResult(result)
	data, err := c.result(result)
	return append([]byte(nil), data...), err
}

// stream runs one SELECT and hands each block of its result to yield, as soon
// as it is there. The bytes are valid until yield returns.
func (c *conn) stream(ctx context.Context, sql, format string, params []param, yield func([]byte) error) error {
	defer c.killWhenDone(ctx)()
	lib := c.engine.lib
	stream := c.call(lib.stream, sql, format, params)
	defer lib.destroyResult(stream)
	if text := lib.resultError(stream); text != "" {
		return parseException(text)
	}
	for {
		result := lib.fetch(*c.handle, stream)
		data, err := c.result(result)
		if err == nil && len(data) > 0 {
			err = yield(data)
		}
		done := len(data) == 0
		lib.destroyResult(result)
		if err != nil {
			lib.cancelStream(*c.handle, stream)
			return err
		}
		if done {
			return nil
		}
	}
}

// insert is an INSERT under way, to which data is given in pieces.
type insert struct {
	conn   *conn
	handle unsafe.Pointer
}

// insert begins an INSERT; sql ends before its VALUES or FORMAT.
func (c *conn) insert(sql, format string, params []param) (*insert, error) {
	lib := c.engine.lib
	in := &insert{conn: c, handle: c.call(lib.insert, sql, format, params)}
	if text := lib.insertError(in.handle); text != "" {
		lib.destroyInsert(in.handle)
		return nil, parseException(text)
	}
	return in, nil
}

// append hands on a piece of data. An error here only says that the rest is
// not wanted; finish tells what it was.
func (in *insert) append(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if in.conn.engine.lib.appendInsert(in.handle, &data[0], uintptr(len(data))) != 0 {
		return parseException(in.conn.engine.lib.insertError(in.handle))
	}
	return nil
}

// finish waits until the rows are in the table.
func (in *insert) finish(ctx context.Context) error {
	defer in.conn.killWhenDone(ctx)()
	lib := in.conn.engine.lib
	defer lib.destroyInsert(in.handle)
	result := lib.finishInsert(in.handle)
	defer lib.destroyResult(result)
	_, err := in.conn.result(result)
	return err
}

// cancel gives the insert up.
func (in *insert) cancel() {
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

type queryFunc = func(conn unsafe.Pointer, sql *byte, size uintptr, format *byte, formatSize uintptr, names **byte, nameSizes *uintptr, values **byte, valueSizes *uintptr, count uintptr) unsafe.Pointer

// call calls one of the library's functions that take a statement.
func (c *conn) call(fn queryFunc, sql, format string, params []param) unsafe.Pointer {
	text, form := cString(sql), cString(format)
	n := len(params)
	pointers, sizes := make([]*byte, 2*n+1), make([]uintptr, 2*n+1) // never empty, to have an address
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

// result returns the data of a result, in the library's memory.
func (c *conn) result(result unsafe.Pointer) ([]byte, error) {
	if text := c.engine.lib.resultError(result); text != "" {
		return nil, parseException(text)
	}
	size := c.engine.lib.resultLength(result)
	if size == 0 {
		return nil, nil
	}
	return unsafe.Slice(c.engine.lib.resultBuffer(result), size), nil
}

// killInterval is the pause between attempts to kill a query: one that comes
// before the engine has registered the query finds nothing.
const killInterval = 20 * time.Millisecond

// killWhenDone kills whatever the connection runs once ctx is done. The
// function that it returns ends that, and waits: the next query on this
// connection must not be hit.
func (c *conn) killWhenDone(ctx context.Context) (stop func()) {
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
// an error tells only that the query is gone.
func (e *engine) kill(name string) {
	e.control.Lock()
	defer e.control.Unlock()
	_ = e.killer.exec("KILL QUERY WHERE Settings['log_comment'] = " + quoteString(name) + " ASYNC")
}
