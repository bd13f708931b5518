package lifecycle

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates exports when the certificates expire that settings name.
type certificates struct {
	secured []*TLS
	log     *slog.Logger
}

var expiryDesc = prometheus.NewDesc("convoview_tls_certificate_expiry_timestamp_seconds",
	"When the first certificate in a file expires that settings name, in seconds since 1970. Without such settings there is none.", []string{"file"}, nil)

// ExportCertificates exports when the certificates expire that the settings name. It is
// called once they are parsed.
func (f *Flags) ExportCertificates(r prometheus.Registerer, log *slog.Logger) {
	r.MustRegister(&certificates{f.secured, log})
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(to chan<- *prometheus.Desc) { to <- expiryDesc }

// Collect implements prometheus.Collector: the files may have been replaced.
func (c *certificates) Collect(to chan<- prometheus.Metric) {
	seen := map[string]bool{"": true}
	for _, t := range c.secured {
		for _, file := range []string{t.CAFile, t.CertFile} {
			if !t.Enabled || seen[file] {
				continue
			}
			seen[file] = true
			expiry, err := firstExpiry(file)
			if err != nil {
				c.log.Warn("cannot see when certificates expire", "error", err)
				continue
			}
			to <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(expiry.Unix()), file)
		}
	}
}

// firstExpiry is when the first of the certificates in a file expires.
func firstExpiry(file string) (first time.Time, err error) {
	rest, err := readFile(file)
	if err != nil {
		return first, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return first, fmt.Errorf("%s: %w", file, err)
		}
		if first.IsZero() || certificate.NotAfter.Before(first) {
			first = certificate.NotAfter
		}
	}
	if first.IsZero() {
		return first, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return first, nil
}
