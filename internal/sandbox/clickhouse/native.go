package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	native "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// revision of the native protocol: the newest that clickhouse-go knows.
const revision = native.DBMS_TCP_PROTOCOL_VERSION

// engineRevision is that of the Native format without a client: blocks
// without block information and without a mark for custom serialization.
const engineRevision = 0

// session serves one client of the native protocol.
type session struct {
	server   *Server
	net      net.Conn
	in       *proto.Reader
	out      proto.Buffer
	revision int
	database string

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
		return fmt.Errorf("unexpected packet %d before the hello", code)
	}
	var hello proto.ClientHello
	if err := hello.Decode(s.in); err != nil {
		return err
	}
	s.database = hello.Database
	if s.database == "" {
		s.database = "default"
	}
	s.revision = min(hello.ProtocolVersion, revision)
	answer := s.server.hello
	answer.EncodeAware(&s.out, s.revision)
	if err := s.flush(); err != nil {
		return err
	}
	if proto.FeatureAddendum.In(s.revision) {
		if _, err := s.in.Str(); err != nil { // quota key
			return err
		}
	}
	return nil
}

// query answers one query. The error is of the connection; one of the query
// goes to the client.
func (s *session) query(ctx context.Context) error {
	var q proto.Query
	if err := q.DecodeAware(s.in, s.revision); err != nil {
		return err
	}
	s.compressed = q.Compression == proto.CompressionEnabled
	// An empty block ends the tables that come with the query.
	tables, err := s.discard()
	if err != nil {
		return err
	}
	settings := make(map[string]string, len(q.Settings))
	for _, setting := range q.Settings {
		if setting.Custom {
			setting.Value = unquoteString(setting.Value)
		}
		settings[setting.Key] = setting.Value
	}
	params := make([]param, len(q.Parameters))
	for i, p := range q.Parameters {
		params[i] = param{p.Key, unquoteString(p.Value)}
	}
	insert, inserts := parseInsert(q.Body)
	switch {
	case tables > 0:
		err = &exception{codeNotImplemented, "the sandbox takes no external tables"}
	case inserts:
		err = s.insert(ctx, insert, settings, params)
	default:
		err = s.run(ctx, q.Body, settings, params)
	}
	if e := (*exception)(nil); errors.As(err, &e) {
		s.out.Reset()
		proto.ServerCodeException.Encode(&s.out)
		e.packet().EncodeAware(&s.out, s.revision)
		return s.flush()
	}
	if err != nil {
		return err
	}
	proto.ServerCodeEndOfStream.Encode(&s.out)
	return s.flush()
}

// run answers a statement that brings no data.
func (s *session) run(ctx context.Context, sql string, settings map[string]string, params []param) error {
	ctx, stop := s.watch(ctx)
	defer stop()
	c, err := s.server.engine.acquire(ctx, s.database, settings)
	if err != nil {
		return err
	}
	defer c.release()
	kind := c.analyse(sql)
	if err := refuse(sql, kind); err != nil {
		return err
	}
	sent := false
	send := func(data []byte) error {
		sent = true
		return s.sendBlocks(data)
	}
	if kind.class == classReadOnly && selectText.MatchString(sql) {
		if err := c.stream(ctx, sql, "Native", params, send); err != nil {
			return err
		}
		if !sent {
			return s.sendEmpty(ctx, c, sql, params)
		}
		return nil
	}
	data, err := c.query(ctx, sql, "Native", params)
	if err != nil {
		return err
	}
	if useText.MatchString(sql) {
		// 1 the session's database is now another, 2 the connection's is not
		// what prepare believes: both are asked for.
		name, err := c.run("SELECT currentDatabase()", "TSVRaw", nil)
		if err != nil {
			return err
		}
		s.database = strings.TrimSuffix(string(name), "\n")
		c.database = s.database
	}
	if len(data) > 0 {
		return s.sendBlocks(data)
	}
	return nil
}

// refuse names what a server would refuse and the engine by itself does not,
// and what the front does not do.
func refuse(sql string, kind analysis) error {
	if kind.statements > 1 {
		return &exception{codeSyntaxError, "Syntax error (Multi-statements are not allowed)"}
	}
	if sessionText.MatchString(sql) {
		return &exception{codeNotImplemented, "the sandbox keeps no session: give settings with the query or in the options of the connection, and use ordinary tables"}
	}
	return nil
}

// sendEmpty sends the header of a result without rows, which the engine does
// not give.
func (s *session) sendEmpty(ctx context.Context, c *conn, sql string, params []param) error {
	sql = strings.TrimRight(sql, "; \t\r\n")
	columns, err := c.describe(ctx, "("+sql+"\n)", params)
	if err != nil {
		return err
	}
	return s.sendHeader(columns, nil)
}

// insert reads the client's blocks into a table.
func (s *session) insert(ctx context.Context, stmt insertStatement, settings map[string]string, params []param) error {
	if err := s.insertHeader(ctx, stmt, settings); err != nil {
		return err
	}
	// The connection is taken when the first rows come, not while the client
	// fills its batch. A failed insert reads the client's blocks to the end:
	// only then does it listen.
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
	for {
		block, err := s.readBlock()
		if err != nil {
			return err
		}
		if len(block.Columns) == 0 {
			break
		}
		if failed != nil || block.Rows() == 0 {
			continue
		}
		if c == nil {
			if c, err = s.server.engine.acquire(ctx, s.database, settings); err != nil {
				failed = err
				continue
			}
			if in, err = c.insert(stmt.into, "Native", params); err != nil {
				failed = err
				continue
			}
		}
		var data proto.Buffer
		if err := block.Encode(&data, engineRevision); err != nil {
			return err
		}
		failed = in.append(data.Buf)
	}
	if failed != nil || in == nil {
		return failed
	}
	ctx, stop := s.watch(ctx)
	defer stop()
	finishing := in
	in = nil
	return finishing.finish(ctx)
}

// insertHeader tells the client the columns that an insert takes.
func (s *session) insertHeader(ctx context.Context, stmt insertStatement, settings map[string]string) error {
	c, err := s.server.engine.acquire(ctx, s.database, settings)
	if err != nil {
		return err
	}
	defer c.release()
	columns, err := c.describe(ctx, stmt.target, nil)
	if err != nil {
		return err
	}
	return s.sendHeader(columns, &stmt)
}

// describe returns a block with one row per column of a table or a query:
// name, type and kind of default.
func (c *conn) describe(ctx context.Context, what string, params []param) (*native.Block, error) {
	data, err := c.query(ctx, "DESCRIBE TABLE "+what, "Native", params)
	if err != nil {
		return nil, err
	}
	block := native.NewBlock()
	return block, block.Decode(proto.NewReader(bytes.NewReader(data)), engineRevision)
}

// sendHeader sends a block without rows, with the columns that described
// lists, or those of them that the insert writes.
func (s *session) sendHeader(described *native.Block, stmt *insertStatement) error {
	header := native.NewBlock()
	types := map[string]string{}
	var names []string
	for i := range described.Rows() {
		name, kind := text(described, 0, i), text(described, 2, i)
		types[name] = text(described, 1, i)
		if stmt == nil || kind == "" || kind == "DEFAULT" {
			names = append(names, name)
		}
	}
	if stmt != nil && len(stmt.columns) > 0 {
		names = stmt.columns
	}
	for _, name := range names {
		if types[name] == "" {
			return &exception{codeNoSuchColumn, fmt.Sprintf("No such column %s in table %s", name, stmt.target)}
		}
		if err := header.AddColumn(name, column.Type(types[name])); err != nil {
			return unsupported(err)
		}
	}
	return s.sendBlock(header)
}

func text(block *native.Block, column, row int) string {
	value, _ := block.Columns[column].Row(row, false).(string)
	return value
}

// unsupported is the answer where clickhouse-go's types end, such as
// AggregateFunction: its client could not read them from a server either.
func unsupported(err error) error {
	return &exception{codeNotImplemented, err.Error()}
}

// sendBlocks sends what the engine gave.
func (s *session) sendBlocks(data []byte) error {
	source := bytes.NewReader(data)
	in := proto.NewReader(source)
	for {
		block := native.NewBlock()
		err := block.Decode(in, engineRevision)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unsupported(err)
		}
		if err := s.sendBlock(block); err != nil {
			return err
		}
	}
}

func (s *session) sendBlock(block *native.Block) error {
	proto.ServerCodeData.Encode(&s.out)
	s.out.PutString("") // table
	var data proto.Buffer
	if block.Rows() == 0 {
		encodeHeader(&data, block)
	} else if err := block.Encode(&data, uint64(s.revision)); err != nil {
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

// maxCompressed is the size of what is compressed at once, as in ClickHouse.
const maxCompressed = 1 << 20

// encodeHeader encodes a block without rows: Block.Encode would write the
// prefix of LowCardinality and the like, which no reader expects there.
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

// readBlock reads a Data packet.
func (s *session) readBlock() (*native.Block, error) {
	code, err := s.in.UVarInt()
	if err != nil {
		return nil, err
	}
	if proto.ClientCode(code) != proto.ClientCodeData {
		return nil, fmt.Errorf("packet %d where data was expected", code)
	}
	if _, err := s.in.Str(); err != nil { // table
		return nil, err
	}
	if s.compressed {
		s.in.EnableCompression()
		defer s.in.DisableCompression()
	}
	block := native.NewBlock()
	return block, block.Decode(s.in, uint64(s.revision))
}

// discard reads blocks up to the empty one and counts them.
func (s *session) discard() (n int, err error) {
	for {
		block, err := s.readBlock()
		if err != nil || len(block.Columns) == 0 {
			return n, err
		}
		n++
	}
}

// watch listens to a client that waits for an answer: whatever it says then,
// or its going away, ends the context. stop gives the connection back to
// whoever reads it next.
func (s *session) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, err := s.in.ReadByte()
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return // stopped
		}
		cancel()
	}()
	return watched, func() {
		_ = s.net.SetReadDeadline(time.Unix(1, 0))
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

// helloOf makes the server's part of the handshake from the engine's version.
func helloOf(version, timezone string) proto.ServerHello {
	hello := proto.ServerHello{Name: "ClickHouse", DisplayName: "sandbox", Revision: revision, Timezone: timezone}
	parts := strings.Split(version, ".")
	for i, into := range []*int{&hello.Major, &hello.Minor, &hello.Patch} {
		if i < len(parts) {
			*into, _ = strconv.Atoi(parts[i])
		}
	}
	return hello
}
