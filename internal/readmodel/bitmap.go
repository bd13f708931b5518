package readmodel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/convoview/convoview/internal/projection"
)

// decodeBitmap reads the state of groupBitmap over UInt64 as ClickHouse
// serializes it: a byte that says how, then either
//
//   - 0: up to 32 elements, a count of one byte and the elements of 8 bytes
//     each, little-endian, in no order; or
//   - 1: a length as a varint and a 64-bit roaring bitmap in the portable
//     format: the number of parts (8 bytes), then for each its high 32 bits
//     and a 32-bit roaring bitmap of the low ones.
func decodeBitmap(state string) (projection.Sequences, error) {
	b := []byte(state)
	if len(b) < 2 {
		return nil, fmt.Errorf("bitmap of %d bytes: %w", len(b), errTruncated)
	}
	switch b[0] {
	case 0:
		n, b := int(b[1]), b[2:]
		if len(b) < 8*n {
			return nil, fmt.Errorf("bitmap of %d elements in %d bytes: %w", n, len(b), errTruncated)
		}
		var s projection.Sequences
		for i := range n {
			s.Add(binary.LittleEndian.Uint64(b[8*i:]))
		}
		return s, nil
	case 1:
		size, n := binary.Uvarint(b[1:])
		b = b[1+max(n, 0):]
		if n <= 0 || uint64(len(b)) < size || size < 8 {
			return nil, fmt.Errorf("bitmap of %d bytes: %w", len(b), errTruncated)
		}
		return decodeRoaring(b[:size])
	default:
		return nil, fmt.Errorf("bitmap of kind %d: only 0 and 1 are known", b[0])
	}
}

var errTruncated = errors.New("truncated")

func decodeRoaring(b []byte) (projection.Sequences, error) {
	parts := binary.LittleEndian.Uint64(b)
	b = b[8:]
	var s projection.Sequences
	for range parts {
		if len(b) < 4 {
			return nil, fmt.Errorf("roaring bitmap: %w", errTruncated)
		}
		high := uint64(binary.LittleEndian.Uint32(b)) << 32
		part := roaring.New()
		n, err := part.FromBuffer(b[4:])
		if err != nil {
			return nil, fmt.Errorf("roaring bitmap: %w", err)
		}
		b = b[4+n:]
		for first, end := range part.Ranges() {
			run := projection.Interval{First: high + uint64(first), Last: high + end - 1}
			switch k := len(s); {
			case run.First > run.Last || k > 0 && run.First <= s[k-1].Last:
				return nil, errors.New("roaring bitmap: its elements do not ascend")
			case k > 0 && run.First == s[k-1].Last+1: // it goes on in the next part
				s[k-1].Last = run.Last
			default:
				s = append(s, run)
			}
		}
	}
	return s, nil
}
