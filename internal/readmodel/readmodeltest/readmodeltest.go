// Package readmodeltest gives tests read models of their own, in the sandbox's ClickHouse.
package readmodeltest

import (
	"context"
	"testing"

	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// Config is of a read model in a database that no other test has.
func Config(t testing.TB) readmodel.Config {
	t.Helper()
	config := readmodel.DefaultConfig()
	config.Addresses = []string{sandboxtest.Start(t).ClickHouseAddr()}
	config.Database = sandboxtest.Database(t)
	return config
}

// WithProfile has queries run with settings where they have none themselves, as those of an
// account do that has a settings profile.
func WithProfile(t testing.TB, config readmodel.Config, profile map[string]string) readmodel.Config {
	t.Helper()
	sandboxtest.Start(t).SetClickHouseProfile(config.Database, profile)
	config.Account = account(config.Database)
	return config
}

// account is one by its name.
type account string

// Credentials implements readmodel.Account.
func (a account) Credentials() (username, password string, err error) { return string(a), "", nil }

// Validate implements readmodel.Account.
func (account) Validate() error { return nil }

// InCluster has it in a cluster of the sandbox.
func InCluster(config readmodel.Config, cluster string) readmodel.Config {
	config.Cluster = cluster
	config.Database += "_registry" // one that migrations make
	return config
}

// Open connects to a read model, of which there may be nothing yet. All that is there when
// the test ends is dropped.
func Open(t testing.TB, config readmodel.Config) *readmodel.Server {
	t.Helper()
	server, err := readmodel.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.DropAll(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = server.Close()
	})
	return server
}

// New makes an empty read model.
func New(t testing.TB, config readmodel.Config) *readmodel.Server {
	t.Helper()
	server := Open(t, config)
	if err := server.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return server
}
