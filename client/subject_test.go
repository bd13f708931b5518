package client_test

import (
	"strings"
	"testing"

	"github.com/convoview/convoview/client"
)

func TestSubjectToken(t *testing.T) {
	for id, want := range map[string]string{
		"ann": "ann", "A-z_09": "A-z_09", "hi ke": "hi%20ke", "a.*>": "a%2E%2A%3E", "%": "%25", "é": "%C3%A9", "": "",
		strings.Repeat("x", 128): strings.Repeat("x", 128),
	} {
		if got := client.SubjectToken(id); got != want {
			t.Errorf("SubjectToken(%q) = %q, want %q", id, got, want)
		}
	}
}
