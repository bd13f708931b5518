package lifecycle_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/lifecycle/tlstest"
)

func TestFlags_ExportCertificates(t *testing.T) {
	files, ca := tlstest.NewFiles(t), tlstest.NewCA(t)
	files.Write(t, ca, ca.Issue(t, "ours"))
	f := lifecycle.NewFlags("x", "", func(string) string { return "" }, io.Discard)
	lifecycle.RegisterTLS(f, "kafka", "brokers")
	lifecycle.RegisterTLS(f, "other", "others")
	if err := f.Parse([]string{"--kafka-tls", "--kafka-tls-cert-file", files.Cert, "--kafka-tls-key-file", files.Key}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	f.ExportCertificates(registry, slog.New(slog.DiscardHandler))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("%v, %v, want one certificate", families, err)
	}
	got := families[0].GetMetric()[0]
	if file := got.GetLabel()[0].GetValue(); file != files.Cert {
		t.Errorf("the file is %s, want %s", file, files.Cert)
	}
	if left := time.Until(time.Unix(int64(got.GetGauge().GetValue()), 0)); left <= 0 || left > time.Hour {
		t.Errorf("it expires in %v, want within the hour that tlstest gives", left)
	}

	certificate, err := os.ReadFile(files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	put(t, files.Cert, string(certificate)+strings.Repeat("\n", lifecycle.MaxFileBytes))
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Errorf("of a file that is too large: %v, %v", families, err)
	}
}

// TestFlags_ExportCertificates_Bundle holds that of all certificates in a file the first to
// expire counts, whatever else is in it, and that connections may have a file in common.
func TestFlags_ExportCertificates_Bundle(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte("none")})
	for _, lasts := range []time.Duration{3 * time.Hour, time.Hour, 2 * time.Hour} {
		bundle = append(bundle, expires(t, now.Add(lasts))...)
	}
	cas := put(t, filepath.Join(t.TempDir(), "cas.pem"), string(bundle))
	f := lifecycle.NewFlags("x", "", func(string) string { return "" }, io.Discard)
	lifecycle.RegisterTLS(f, "kafka", "brokers")
	lifecycle.RegisterTLS(f, "clickhouse", "ClickHouse")
	if err := f.Parse([]string{"--kafka-tls", "--kafka-tls-ca-file", cas, "--clickhouse-tls", "--clickhouse-tls-ca-file", cas}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	var log bytes.Buffer
	f.ExportCertificates(registry, slog.New(slog.NewTextHandler(&log, nil)))
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 1 {
		t.Fatalf("%v, %v, want one file: %s", families, err, &log)
	}
	if got := int64(families[0].GetMetric()[0].GetGauge().GetValue()); got != now.Add(time.Hour).Unix() {
		t.Errorf("it expires in %v, want an hour", time.Unix(got, 0).Sub(now))
	}
}

// expires makes a certificate that does, in PEM.
func expires(t *testing.T, at time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: at}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
