package readmodel

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// TestConfig_AServerThatTakesNothing holds that nothing is sent for ever to a server
// that has stopped reading.
func TestConfig_AServerThatTakesNothing(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	conn, err := Config{DialTimeout: time.Minute, WriteTimeout: 50 * time.Millisecond}.dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for part := make([]byte, 1<<20); err == nil; { // until the buffers between are full
		_, err = conn.Write(part)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

func TestCompression(t *testing.T) {
	for address, want := range map[string]clickhouse.CompressionMethod{
		"127.0.0.1:9000": clickhouse.CompressionNone, "localhost:9000": clickhouse.CompressionNone, "[::1]:9000": clickhouse.CompressionNone,
		"10.0.0.1:9000": clickhouse.CompressionLZ4, "clickhouse:9000": clickhouse.CompressionLZ4, "[2001:db8::1]:9000": clickhouse.CompressionLZ4,
	} {
		if got := compression([]string{address}); got != want {
			t.Errorf("%s: got %v, want %v", address, got, want)
		}
	}
}
