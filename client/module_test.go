package client_test

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

// TestModule_BringsNATSAlone holds that whoever imports this module gets nats.go,
// what that needs, and nothing else.
func TestModule_BringsNATSAlone(t *testing.T) {
	mod := struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace, Exclude []any
	}{}
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	if !slices.Equal(direct, []string{"github.com/nats-io/nats.go"}) || mod.Replace != nil || mod.Exclude != nil {
		t.Errorf("the module requires %q, replaces %v and excludes %v", direct, mod.Replace, mod.Exclude)
	}
}
