package query

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfig_Validate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	const want = `version "1.0": expected a semantic version
max running 0: expected at least 1
max queued -1: expected at least 0
max queued bytes -1: expected at least 0
max waiting 0: expected at least 1
max request bytes 0: expected at least 1
load concurrency 0: expected at least 1
batch inboxes 0: expected at least 1
batch keys 0: expected at least 1
warm up users -1: expected at least 0
cache bytes 0: expected at least 1048576
load patience -1ns: expected at least 0
load linger -1ns: expected at least 0
cache max age 0s: expected at least 1s
generation interval 0s: expected at least 1ms
affinity tokens: expected at least one, or * for all
drain timeout 0s: expected more than 0`
	err := Config{Version: "1.0", MaxQueued: -1, MaxQueuedBytes: -1, WarmUpUsers: -1, LoadPatience: -1, LoadLinger: -1}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestConfig_Validate_Greatest(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"max running 1048577: expected at most 1048576": func(c *Config) { c.MaxRunning = maxSetting + 1 },
		"max queued 1048577: expected at most 1048576":  func(c *Config) { c.MaxQueued = maxSetting + 1 },
		"max waiting 1048577: expected at most 1048576": func(c *Config) { c.MaxWaiting = maxSetting + 1 },
		"batch keys 1048577: expected at most 1048576":  func(c *Config) { c.BatchKeys = maxSetting + 1 },
		"1025 affinity tokens: expected at most 1024, or * for all": func(c *Config) {
			c.AffinityTokens = nil
			for i := range maxTokens + 1 {
				c.AffinityTokens = append(c.AffinityTokens, strconv.Itoa(i))
			}
		},
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || err.Error() != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}
