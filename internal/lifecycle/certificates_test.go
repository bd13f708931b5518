package lifecycle_test

import (
	"io"
	"log/slog"
	"os"
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
