package deploy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// secretsDir is where secrets are mounted.
const secretsDir = "/etc/convoview/secrets"

// files are those that are mounted in a container, each with the secret that it has.
type files map[string]string

// put makes the files that the command's settings name, and has the settings name these. A
// file that is not mounted is a fault.
func (m files) put(c command) (command, faults) {
	var f faults
	c.env = maps.Clone(c.env)
	for _, name := range slices.Sorted(maps.Keys(c.env)) {
		path := c.env[name]
		if !strings.HasPrefix(path, secretsDir) {
			continue
		}
		if m[path] == "" {
			f.add("%s of %s is %s, which is not mounted", name, c, path)
			continue
		}
		made := filepath.Join(binaries, path)
		if err := os.MkdirAll(filepath.Dir(made), 0o700); err != nil {
			f.add("%s", err)
		}
		if err := os.WriteFile(made, contentOf(path), 0o600); err != nil {
			f.add("%s", err)
		}
		c.env[name] = made
	}
	return c, f
}

// contentOf is what a file of such a name has.
func contentOf(path string) []byte {
	certificate, key := certify()
	switch filepath.Ext(path) {
	case ".crt":
		return certificate
	case ".key":
		return key
	default:
		return []byte("a-secret\n")
	}
}

// certify makes a certificate that certifies itself, and its key.
var certify = sync.OnceValues(func() (certificate, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
})
