package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// packed makes a batch hold these records, of a compression and of other attributes.
func packed(t testing.TB, c compress.Compression, attributes int16, records ...[]byte) func(*kmsg.RecordBatch) {
	return func(b *kmsg.RecordBatch) {
		b.Attributes = attributes | int16(c)
		var all []byte
		for _, r := range records {
			all = append(binary.AppendVarint(all, int64(len(r))), r...)
		}
		b.Records = pack(t, c, all)
	}
}

func pack(t testing.TB, c compress.Compression, b []byte) []byte {
	t.Helper()
	if c == compress.None {
		return b
	}
	var buffer bytes.Buffer
	w := c.Codec().NewWriter(&buffer)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// varints are numbers as records have them, and texts as they are.
func varints(parts ...any) (b []byte) {
	for _, part := range parts {
		switch part := part.(type) {
		case int:
			b = binary.AppendVarint(b, int64(part))
		case string:
			b = append(b, part...)
		}
	}
	return b
}

// read gives the records of a batch, up to an error.
func read(t testing.TB, encoded []byte) (records []kafka.Message, err error) {
	t.Helper()
	header, size, err := parseBatch(encoded)
	if err != nil || size != len(encoded) {
		t.Fatalf("%d of %d bytes: %v", size, len(encoded), err)
	}
	err = recordBatch{header, encoded}.each(func(m kafka.Message) error {
		records = append(records, m)
		return nil
	})
	return records, err
}

func TestRecords(t *testing.T) {
	records := [][]byte{
		varints(0, 5, 0, 1, "k", 1, "v", 0),                                     // attributes, timestamp, offset, key, value, headers
		varints(0, -1, 3, -1, -1, 0),                                            // neither key nor value
		varints(0, -1000, 4, 0, 0, 3, 1, "a", 1, "b", 0, "", -1, 1, "a", 0, ""), // both empty
		varints(0, 1<<40, 9, 2, "kk", 3, "vvv", 0),
	}
	want := []kafka.Message{
		{Offset: 10, Key: []byte("k"), Value: []byte("v"), Time: time.UnixMilli(1005).UTC()},
		{Offset: 13, Time: time.UnixMilli(999).UTC()},
		{Offset: 14, Key: []byte{}, Value: []byte{}, Headers: []kafka.Header{{Key: "a", Value: []byte("b")}, {}, {Key: "a", Value: []byte{}}}},
		{Offset: 19, Key: []byte("kk"), Value: []byte("vvv"), Time: time.UnixMilli(1000 + 1<<40).UTC()},
	}
	for c := compress.None; c <= compress.Zstd; c++ {
		encoded := batchOf(10, 20, len(records), packed(t, c, 0, records...))
		got, err := read(t, encoded)
		clear(encoded) // the next response is read into it
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v: %v (-want +got):\n%s", c, err, diff)
		}
	}
	got, err := read(t, batchOf(10, 20, len(records), packed(t, compress.None, attributeLogAppendTime, records...)))
	for i, m := range got {
		if !m.Time.Equal(time.UnixMilli(2000)) {
			t.Errorf("record %d is of %v, want the broker's time", i, m.Time)
		}
	}
	if err != nil || len(got) != len(records) {
		t.Errorf("%d records, %v", len(got), err)
	}
	// What is handled first is nobody else's.
	copy(got[0].Key[:cap(got[0].Key)], "another key")
	if string(got[0].Value) != "v" {
		t.Errorf("the value is %q", got[0].Value)
	}
}

// TestRecords_Malformed has batches that are sound, and what is in them is not.
func TestRecords_Malformed(t *testing.T) {
	good := varints(0, 0, 0, 1, "k", 1, "v", 0)
	for _, c := range []struct {
		name    string
		records []byte
		n       int
		want    string
	}{
		{"too few", append(varints(len(good)), good...), 2, "record 2 of 2 is malformed: unexpected EOF"},
		{"too many", slices.Repeat(append(varints(len(good)), good...), 2), 1, "9 bytes are left after its 1 records"},
		{"length", append(varints(1<<40), good...), 1, "record 1 of 1 is malformed: unexpected EOF"},
		{"negative length", append(varints(-5), good...), 1, "record 1 of 1 is malformed: unexpected EOF"},
		{"length beyond its headers", append(varints(len(good)+1), append(good, 0)...), 1, "1 bytes are left after its headers"},
		{"offset before", varints(8, 0, 0, -1, 1, "k", 1, "v", 0), 1, "its offset is 9"},
		{"offset behind", varints(8, 0, 0, 3, 1, "k", 1, "v", 0), 1, "its offset is 13"},
		{"key", varints(8, 0, 0, 0, 100, "k", 1, "v", 0), 1, "unexpected EOF"},
		{"value", varints(8, 0, 0, 0, 1, "k", -2, "v", 0), 1, "unexpected EOF"},
		{"headers", varints(9, 0, 0, 0, 1, "k", 1, "v", 100), 1, "unexpected EOF"},
		{"more headers than may be", varints(12, 0, 0, 0, 1, "k", 1, "v", 1<<33), 1, "it has 8589934592 headers, expected at most 65536"},
		{"number", append(varints(18), bytes.Repeat([]byte{0xff}, 18)...), 1, "unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := read(t, batchOf(10, 12, c.n, func(b *kmsg.RecordBatch) { b.Records = c.records }))
			if err == nil || !strings.HasPrefix(err.Error(), "record batch of offsets 10 to 12: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	for name, change := range map[string]func(*kmsg.RecordBatch){
		"its compression is 5, expected at most 4": func(b *kmsg.RecordBatch) { b.Attributes = 5 },
		"unpack it by gzip":                        func(b *kmsg.RecordBatch) { b.Attributes = int16(compress.Gzip) },
		"unpack it by zstd":                        func(b *kmsg.RecordBatch) { b.Attributes = int16(compress.Zstd) },
	} {
		if got, err := read(t, batchOf(10, 12, 3, change)); err == nil || !strings.Contains(err.Error(), name) || len(got) > 0 {
			t.Errorf("%d records, error %v, want %q", len(got), err, name)
		}
	}
	boom := errors.New("boom")
	b := batchOf(10, 12, 3, nil)
	header, _, _ := parseBatch(b)
	if err := (recordBatch{header, b}).each(func(kafka.Message) error { return boom }); err != boom { //nolint:errorlint // as it is
		t.Errorf("error %v, want that of who handles records", err)
	}
}

// TestRecords_UnpackedBytes has batches unpack to so many bytes and no more.
func TestRecords_UnpackedBytes(t *testing.T) {
	whole := make([]byte, maxUnpackedBytes+1)
	for c := compress.Gzip; c <= compress.Zstd; c++ {
		var buffer bytes.Buffer
		if err := unpack(&buffer, c, pack(t, c, whole[1:])); err != nil || buffer.Len() != maxUnpackedBytes {
			t.Errorf("%v: %d bytes of %d: %v", c, buffer.Len(), maxUnpackedBytes, err)
		}
		buffer.Reset()
		if err := unpack(&buffer, c, pack(t, c, whole)); err == nil || err.Error() != "it unpacks to more than 67108864 bytes" {
			t.Errorf("%v: error %v", c, err)
		}
	}
}

// TestRecords_Window has a batch of a few bytes say that whoever reads it piece by piece needs
// half a gigabyte.
func TestRecords_Window(t *testing.T) {
	packed := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (29 - 10) << 3, 5<<3 | 1, 0, 0, 'h', 'e', 'l', 'l', 'o'}
	var buffer bytes.Buffer
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := unpack(&buffer, compress.Zstd, packed)
	runtime.ReadMemStats(&after)
	if taken := after.TotalAlloc - before.TotalAlloc; err != nil || buffer.String() != "hello" || taken > 2*maxUnpackedBytes {
		t.Errorf("%q took %d bytes: %v", buffer.String(), taken, err)
	}
}

// TestRecords_UnpacksZstd has batches of any window that unpack to many times what they are,
// and one after the other in the same buffer.
func TestRecords_UnpacksZstd(t *testing.T) {
	want := bytes.Repeat([]byte("it all happened before, and it will happen again. "), 50_000)
	var buffer bytes.Buffer
	for _, window := range []int{maxWindow / 2, maxWindow, 2 * maxWindow, 128 << 20, maxWindow} {
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(window))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(want); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var frame zstd.Header
		if err := frame.Decode(packed.Bytes()); err != nil || frame.WindowSize != uint64(window) {
			t.Fatalf("a window of %d, expected %d: %v", frame.WindowSize, window, err)
		}
		buffer.Reset()
		if err := unpack(&buffer, compress.Zstd, packed.Bytes()); err != nil || !bytes.Equal(buffer.Bytes(), want) {
			t.Errorf("window %d: %d bytes, expected %d: %v", window, buffer.Len(), len(want), err)
		}
	}
}

// TestRecords_HeldUp has a batch that its topic took since it came compressed: what it unpacks
// to is too much, so its partition stands still, says why, and holds up no other.
func TestRecords_HeldUp(t *testing.T) {
	h := newEmbedded(t, 2)
	h.produceWith(h.franz(), messagesTopic, h.messages(3)...)
	huge := h.franz(kgo.ProducerBatchMaxBytes(2*maxUnpackedBytes), kgo.BrokerMaxWriteBytes(4*maxUnpackedBytes), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	h.produceWith(huge, messagesTopic, bad("k", strings.Repeat("\x00", maxUnpackedBytes)))
	r := h.run(h.config(), h.sink)
	if line := h.logs.await(h, againLine, 2); !strings.Contains(line["error"], "from offset 3: record batch of offsets 3 to 3: it unpacks to more than 67108864 bytes") {
		t.Errorf("log line %v", line)
	}
	h.produce(messagesTopic, 1, h.messages(3)...)
	h.awaitCommits(map[string]int64{key(messagesTopic, 0): 3, key(messagesTopic, 1): 3})
	h.checkModel()
	r.mustStop()
}
