package ingest

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestUnpack_Bound has every codec of kafka-go unpack so many bytes and no more.
func TestUnpack_Bound(t *testing.T) {
	for code := compress.Gzip; code <= compress.Zstd; code++ {
		t.Run(code.String(), func(t *testing.T) {
			for _, size := range []int{maxUnpackedBytes, maxUnpackedBytes + 1} {
				var packed bytes.Buffer
				w := code.Codec().NewWriter(&packed)
				if _, err := w.Write(make([]byte, size)); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				r := code.Codec().NewReader(&packed)
				n, err := io.Copy(io.Discard, r)
				if whole := size <= maxUnpackedBytes; (err == nil) != whole || whole && n != int64(size) || n > maxUnpackedBytes {
					t.Errorf("%d of %d bytes came: %v", n, size, err)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestUnpack_Batch has a batch that its topic took since it came compressed: what it unpacks
// to is too much, so its partition stands still, says why, and holds up no other.
func TestUnpack_Batch(t *testing.T) {
	h := newEmbedded(t, 2)
	h.produceWith(h.franz(), messagesTopic, h.messages(3)...)
	huge := h.franz(kgo.ProducerBatchMaxBytes(2*maxUnpackedBytes), kgo.BrokerMaxWriteBytes(4*maxUnpackedBytes), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	h.produceWith(huge, messagesTopic, bad("k", strings.Repeat("\x00", maxUnpackedBytes)))
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, againLine, 2); !strings.Contains(line["error"], "from offset 3: record batch unpacks to more than 67108864 bytes") {
		t.Errorf("log line %v", line)
	}
	h.produce(messagesTopic, 1, h.messages(3)...)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3, key(messagesTopic, 1): 3})
	h.checkModel()
	r.mustStop()
}
