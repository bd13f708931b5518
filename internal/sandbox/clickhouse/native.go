package clickhouse

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	native "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

const (
	// revision of the native protocol: the newest that clickhouse-go knows.
	// The first with parameters is 54459; those have marks in their blocks
	// that the engine's do not, so that no block can be handed on as it is.
	revision = native.DBMS_TCP_PROTOCOL_VERSION
	// engineRevision is that of the Native format: blocks without block
	// information and without marks of custom serialization.
	engineRevision = 0
	// maxCompressed is how much is compressed at once, as in ClickHouse.
	maxCompressed = 1 << 20
)

// session serves one client of the native protocol.
type session struct {
	server     *Server
	net        net.Conn
	in         *proto.Reader
	out        proto.Buffer
	revision   int
	database   string
	account    string
	role       string // "": everything is allowed
	compressed bool
	compressor *compress.Writer
}

// serve answers the client until it goes away.
func (s *session) serve(ctx context.Context) error {
	if err := s.hello(); err != nil {
		return err
	}
	for {
		code, err := s.in.UVarInt()
		if err != nil {
			return err
		}
		switch proto.ClientCode(code) {
		case proto.ClientCodePing:
			proto.ServerCodePong.Encode(&s.out)
			err = s.flush()
		case proto.ClientCodeQuery:
			err = s.query(ctx)
		case proto.ClientCodeCancel: // of a query that has just ended
		default:
			err = fmt.Errorf("unexpected packet %d", code)
		}
		if err != nil {
			return err
		}
	}
}

func (s *session) hello() error {
	code, err := s.in.UVarInt()
	if err != nil {
		return err
	}
	if proto.ClientCode(code) != proto.ClientCodeHello {
		return fmt.Errorf("packet %d where a hello was expected", code)
	}
	var hello proto.ClientHello
	if err := hello.Decode(s.in); err != nil {
		return err
	}
	if s.database = hello.Database; s.database == "" {
		s.database = "default"
	}
	s.revision = min(hello.ProtocolVersion, revision)
	if !proto.FeatureParameters.In(s.revision) {
		return fmt.Errorf("the client's protocol %d is too old", hello.ProtocolVersion)
	}
	role, err := s.server.authenticate(hello)
	if e := (*exception)(nil); errors.As(err, &e) {
		s.sendException(e)
		return errors.Join(s.flush(), err)
	}
	s.account, s.role = hello.User, role
	s.server.hello.EncodeAware(&s.out, s.revision)
	if err := s.flush(); err != nil {
		return err
	}
	_, err = s.in.Str() // addendum: quota key
	return err
}

// query answers one query. The error that it returns is one of the
// connection; one of the query goes to the client.
func (s *session) query(ctx context.Context) error {
	var q proto.Query
	if err := q.DecodeAware(s.in, s.revision); err != nil {
		return err
	}
	s.compressed = q.Compression == proto.CompressionEnabled
	// An empty block ends the tables that come with a query.
	tables := 0
	if err := s.readBlocks(func([]byte) { tables++ }); err != nil {
		return err
	}
	var settings []setting
	for _, p := range q.Settings {
		if p.Custom {
			p.Value = unquote(p.Value, "'")
		}
		settings = append(settings, setting{p.Key, p.Value})
	}
	for _, p := range s.server.profile(s.account) {
		if !slices.ContainsFunc(settings, func(own setting) bool { return own.name == p.name }) {
			settings = append(settings, p)
		}
	}
	var params []param
	for _, p := range q.Parameters {
		params = append(params, param{p.Key, unquote(p.Value, "'")})
	}
	var err error
	if stmt, ok := parseInsert(q.Body); tables > 0 {
		err = raise(codeNotImplemented, "The sandbox takes no external tables")
	} else if ok && stmt.data == "" {
		err = s.insert(ctx, stmt, settings, params)
	} else {
		err = s.run(ctx, q.Body, settings, params)
	}
	if e := (*exception)(nil); errors.As(err, &e) {
		s.sendException(e)
		return s.flush()
	}
	if err != nil {
		return err
	}
	proto.ServerCodeEndOfStream.Encode(&s.out)
	return s.flush()
}

func (s *session) sendException(e *exception) {
	proto.ServerCodeException.Encode(&s.out)
	packet := proto.Exception{Code: proto.Error(e.code), Name: "DB::Exception", Message: "DB::Exception: " + e.text}
	packet.EncodeAware(&s.out, s.revision)
}

// acquire takes a connection of the engine for a query of this client.
func (s *session) acquire(ctx context.Context, settings []setting) (*conn, error) {
	return s.server.engine.acquire(ctx, s.database, s.role, settings)
}

// run answers a statement that comes without data.
func (s *session) run(ctx context.Context, sql string, settings []setting, params []param) error {
	ctx, stop := s.watch(ctx)
	defer stop()
	c, err := s.acquire(ctx, settings)
	if err != nil {
		return err
	}
	defer c.release()
	if stmt, ok := parseInsert(sql); ok {
		return c.insertData(ctx, stmt, params, strings.NewReader(stmt.data))
	}
	sql = alone(sql)
	kind := c.analyse(sql)
	if err := refuse(sql, kind); err != nil {
		return err
	}
	run, selects := c.query, kind.class == classReadOnly && selectText.MatchString(sql)
	if selects {
		run = c.stream
	}
	sent := false
	if err := run(ctx, sql, "Native", params, func(data []byte) error {
		sent = true
		return s.sendBlocks(data)
	}); err != nil {
		return err
	}
	switch {
	case useText.MatchString(sql):
		return c.query(ctx, "SELECT currentDatabase()", "TSVRaw", nil, func(data []byte) error {
			c.database = strings.TrimSuffix(string(data), "\n")
			s.database = c.database
			return nil
		})
	case sent || kind.class != classReadOnly:
		return nil
	}
	// The engine gives nothing at all for a result without rows, but
	// clickhouse-go takes an answer without a header for a broken one.
	header, err := c.header(ctx, sql, selects, params)
	if err != nil {
		return err
	}
	return s.sendBlock(header)
}

// insert reads the client's blocks into a table. It takes a connection when
// the first rows come, not while the client fills its batch. After an error
// it reads on to the last block: only then does the client listen.
func (s *session) insert(ctx context.Context, stmt insertStatement, settings []setting, params []param) error {
	header, err := s.insertHeader(ctx, stmt, settings)
	if err != nil {
		return err
	}
	if err := s.sendBlock(header); err != nil {
		return err
	}
	var (
		c      *conn
		in     *insert
		failed error
	)
	defer func() {
		if in != nil {
			in.cancel()
		}
		if c != nil {
			c.release()
		}
	}()
	if err := s.readBlocks(func(block []byte) {
		if failed == nil && c == nil {
			c, failed = s.acquire(ctx, settings)
		}
		if failed == nil && in == nil {
			in, failed = c.insert(stmt.into, "Native", params)
		}
		if failed == nil {
			_, failed = in.Write(block)
		}
	}); err != nil || failed != nil || in == nil {
		return cmp.Or(err, failed)
	}
	ctx, stop := s.watch(ctx)
	defer stop()
	last := in
	in = nil
	return last.finish(ctx)
}

// insertHeader returns the columns that the statement writes, in a block
// without rows.
func (s *session) insertHeader(ctx context.Context, stmt insertStatement, settings []setting) (*native.Block, error) {
	c, err := s.acquire(ctx, settings)
	if err != nil {
		return nil, err
	}
	defer c.release()
	columns, err := c.describe(ctx, stmt.target, nil)
	if err != nil {
		return nil, err
	}
	if len(stmt.columns) == 0 {
		columns = slices.DeleteFunc(columns, func(d description) bool { return d.kind != "" && d.kind != "DEFAULT" })
		return headerOf(columns)
	}
	named := make([]description, len(stmt.columns))
	for i, name := range stmt.columns {
		at := slices.IndexFunc(columns, func(d description) bool { return d.name == name })
		if at < 0 {
			return nil, raise(codeNoSuchColumn, fmt.Sprintf("No such column %s in table %s", name, stmt.target))
		}
		named[i] = columns[at]
	}
	return headerOf(named)
}

// header returns the columns of a result without rows.
func (c *conn) header(ctx context.Context, sql string, selects bool, params []param) (*native.Block, error) {
	sql = strings.TrimRight(sql, "; \t\r\n")
	if selects {
		columns, err := c.describe(ctx, "("+sql+"\n)", params)
		if err != nil {
			return nil, err
		}
		return headerOf(columns)
	}
	var columns []description
	err := c.query(ctx, sql, "TSVRawWithNamesAndTypes", params, func(data []byte) error {
		lines := strings.SplitN(string(data), "\n", 3)
		types := strings.Split(lines[1], "\t")
		for i, name := range strings.Split(lines[0], "\t") {
			columns = append(columns, description{name: name, columnType: types[i]})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return headerOf(columns)
}

// description is what DESCRIBE TABLE says of a column: its kind is that of its
// default, such as MATERIALIZED.
type description struct{ name, columnType, kind string }

// describe describes a table, a table function or a query.
func (c *conn) describe(ctx context.Context, what string, params []param) (columns []description, err error) {
	err = c.query(ctx, "DESCRIBE TABLE "+what+" SETTINGS print_pretty_type_names = 0", "Native", params, func(data []byte) error {
		return eachBlock(data, func(block *native.Block) error {
			text := func(column, row int) string {
				value, _ := block.Columns[column].Row(row, false).(string) // all are strings
				return value
			}
			for row := range block.Rows() {
				columns = append(columns, description{text(0, row), text(1, row), text(2, row)})
			}
			return nil
		})
	})
	return columns, err
}

func headerOf(columns []description) (*native.Block, error) {
	header := native.NewBlock()
	for _, d := range columns {
		if err := header.AddColumn(d.name, column.Type(d.columnType)); err != nil {
			return nil, unsupported(err)
		}
	}
	return header, nil
}

// unsupported is the answer where the types of clickhouse-go end, such as
// AggregateFunction: it could not read them from a server either.
func unsupported(err error) error { return raise(codeNotImplemented, err.Error()) }

// eachBlock decodes what the engine gave.
func eachBlock(data []byte, yield func(*native.Block) error) error {
	in := proto.NewReader(bytes.NewReader(data))
	for {
		block := native.NewBlock()
		err := block.Decode(in, engineRevision)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return unsupported(err)
		}
		if err := yield(block); err != nil {
			return err
		}
	}
}

func (s *session) sendBlocks(data []byte) error { return eachBlock(data, s.sendBlock) }

func (s *session) sendBlock(block *native.Block) error {
	proto.ServerCodeData.Encode(&s.out)
	s.out.PutString("") // table
	var data proto.Buffer
	if block.Rows() == 0 {
		encodeHeader(&data, block)
	} else if err := block.Encode(&data, uint64(s.revision)); err != nil {
		s.out.Reset()
		return unsupported(err)
	}
	if !s.compressed {
		s.out.PutRaw(data.Buf)
		return s.flush()
	}
	for piece := range slices.Chunk(data.Buf, maxCompressed) {
		if err := s.compressor.Compress(piece); err != nil {
			return err
		}
		s.out.PutRaw(s.compressor.Data)
	}
	return s.flush()
}

// encodeHeader encodes a block without rows. Block.Encode would write the
// prefixes of LowCardinality and the like, which no reader expects there.
func encodeHeader(out *proto.Buffer, block *native.Block) {
	proto.BlockInfo{BucketNum: -1}.Encode(out)
	out.PutUVarInt(uint64(len(block.Columns)))
	out.PutUVarInt(0)
	for _, c := range block.Columns {
		out.PutString(c.Name())
		out.PutString(string(c.Type()))
		out.PutBool(false) // custom serialization
	}
}

// readBlocks reads the client's blocks up to the one without columns that
// ends them, and yields those with rows as the engine reads them.
func (s *session) readBlocks(yield func([]byte)) error {
	var block proto.Buffer // reused
	for {
		code, err := s.in.UVarInt()
		if err != nil {
			return err
		}
		if proto.ClientCode(code) != proto.ClientCodeData {
			return fmt.Errorf("packet %d where data was expected", code)
		}
		if _, err := s.in.Str(); err != nil { // table
			return err
		}
		if s.compressed {
			s.in.EnableCompression()
		}
		block.Reset()
		columns, rows, err := copyBlock(&block, s.in, uint64(s.revision))
		s.in.DisableCompression()
		if err != nil || columns == 0 {
			return err
		}
		if rows > 0 {
			yield(block.Buf)
		}
	}
}

// watch listens to a client that waits for an answer: whatever it says then
// (Cancel), or its going away, ends the context. stop gives the input back to
// whoever reads next.
func (s *session) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, err := s.in.ReadByte()
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return // stop
		}
		cancel()
	}()
	return watched, func() {
		_ = s.net.SetReadDeadline(time.Unix(1, 0)) // fails on a closed connection, which needs none
		<-stopped
		_ = s.net.SetReadDeadline(time.Time{})
		cancel()
	}
}

func (s *session) flush() error {
	_, err := s.net.Write(s.out.Buf)
	s.out.Reset()
	return err
}
