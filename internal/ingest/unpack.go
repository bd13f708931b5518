package ingest

import (
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/compress"
)

// maxUnpackedBytes bounds what a record batch unpacks to. Producers keep a batch within
// their max.request.size before they compress it, which is 1 MiB unless they are told
// otherwise; but a broker's max.message.bytes is about what it comes to then, so 1 MiB of
// a batch may hold gigabytes.
const maxUnpackedBytes = 64 << 20

func init() { //nolint:gochecknoinits // kafka-go takes codecs from its table, and in no other way
	for i, codec := range compress.Codecs {
		if codec != nil {
			compress.Codecs[i] = boundedCodec{codec}
		}
	}
}

// boundedCodec is a codec that unpacks up to maxUnpackedBytes.
type boundedCodec struct{ compress.Codec }

func (c boundedCodec) NewReader(r io.Reader) io.ReadCloser {
	return &boundedReader{ReadCloser: c.Codec.NewReader(r), left: maxUnpackedBytes}
}

// boundedReader fails when there is more to read than is left.
type boundedReader struct {
	io.ReadCloser
	left int
}

func (r *boundedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if r.left -= n; r.left < 0 {
		return 0, fmt.Errorf("record batch unpacks to more than %d bytes", maxUnpackedBytes)
	}
	return n, err
}
