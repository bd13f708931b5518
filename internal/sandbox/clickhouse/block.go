package clickhouse

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	native "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// maxBlockRows bounds the rows of a block, as clickhouse-go does.
const maxBlockRows = 1_000_000_000

// copyBlock appends a client's block to out as the engine reads it, which is the same
// but for block information and marks of custom serialization. So values of simple types,
// which are most of what is inserted, are not decoded.
func copyBlock(out *proto.Buffer, in *proto.Reader, revision uint64) (columns, rows int, err error) {
	if err := new(proto.BlockInfo).Decode(in); err != nil {
		return 0, 0, err
	}
	if columns, err = in.Int(); err != nil {
		return 0, 0, err
	}
	if rows, err = in.Int(); err != nil {
		return 0, 0, err
	}
	if rows < 0 || rows > maxBlockRows {
		return 0, 0, fmt.Errorf("a block of %d rows, expected at most %d", rows, maxBlockRows)
	}
	out.PutUVarInt(uint64(columns)) // it was read as that
	out.PutUVarInt(uint64(rows))    // not negative
	for range columns {
		if err := copyColumn(out, in, rows, revision); err != nil {
			return 0, 0, err
		}
	}
	return columns, rows, nil
}

func copyColumn(out *proto.Buffer, in *proto.Reader, rows int, revision uint64) error {
	name, err := in.Str()
	if err != nil {
		return err
	}
	columnType, err := in.Str()
	if err != nil {
		return err
	}
	out.PutString(name)
	out.PutString(columnType)
	if revision >= native.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
		if custom, err := in.Bool(); err != nil {
			return err
		} else if custom {
			return fmt.Errorf("column %s has a custom serialization, which clickhouse-go does not write", name)
		}
	}
	if rows == 0 {
		return nil
	}
	if copied, err := copyValues(out, in, columnType, rows); copied || err != nil {
		return err
	}
	c, err := column.Type(columnType).Column(name, native.NewBlock().ServerContext)
	if err != nil {
		return err
	}
	prefixed, hasPrefix := c.(column.CustomSerialization)
	if hasPrefix {
		if err := prefixed.ReadStatePrefix(in); err != nil {
			return err
		}
	}
	if err := c.Decode(in, rows); err != nil {
		return err
	}
	if hasPrefix {
		if err := prefixed.WriteStatePrefix(out); err != nil {
			return err
		}
	}
	c.Encode(out)
	return nil
}

// widths are the bytes of values of simple types that have always as many.
var widths = map[string]int{
	"Bool": 1, "UInt8": 1, "Int8": 1, "UInt16": 2, "Int16": 2, "UInt32": 4, "Int32": 4, "UInt64": 8, "Int64": 8,
	"Float32": 4, "Float64": 8, "Date": 2, "Date32": 4, "UUID": 16,
}

// copyValues copies n values of a type, if it is a simple one, or an array of such.
func copyValues(out *proto.Buffer, in *proto.Reader, of string, n int) (copied bool, err error) {
	if n < 0 || n > math.MaxInt32 {
		return false, fmt.Errorf("%d values of %s in a block, expected at most %d", n, of, math.MaxInt32)
	}
	if inner, ok := strings.CutPrefix(of, "SimpleAggregateFunction("); ok {
		_, of, _ = strings.Cut(strings.TrimSuffix(inner, ")"), ", ")
	}
	switch width := widths[of]; {
	case width > 0:
		_, err = copyBytes(out, in, n*width)
	case strings.HasPrefix(of, "Enum8("):
		_, err = copyBytes(out, in, n)
	case of == "String":
		err = copyStrings(out, in, n)
	case strings.HasPrefix(of, "Array("):
		element := strings.TrimSuffix(strings.TrimPrefix(of, "Array("), ")")
		if widths[element] == 0 && element != "String" {
			return false, nil
		}
		var ends []byte
		if ends, err = copyBytes(out, in, 8*n); err == nil {
			_, err = copyValues(out, in, element, int(binary.LittleEndian.Uint64(ends[len(ends)-8:]))) // it is looked at there
		}
	default:
		return false, nil
	}
	return true, err
}

// copyStep is how far a buffer grows on the word of a size alone.
const copyStep = 1 << 20

// copyBytes copies n bytes, and gives them.
func copyBytes(out *proto.Buffer, in *proto.Reader, n int) ([]byte, error) {
	begin := len(out.Buf)
	for n > 0 {
		have, step := len(out.Buf), min(n, copyStep)
		out.Buf = slices.Grow(out.Buf, step)[:have+step]
		if err := in.ReadFull(out.Buf[have:]); err != nil {
			return nil, err
		}
		n -= step
	}
	return out.Buf[begin:], nil
}

func copyStrings(out *proto.Buffer, in *proto.Reader, n int) error {
	for range n {
		size, err := in.StrLen()
		if err != nil {
			return err
		}
		out.PutUVarInt(uint64(size)) // not negative
		if _, err := copyBytes(out, in, size); err != nil {
			return err
		}
	}
	return nil
}
