package client

import (
	"fmt"
	"strings"
)

// SubjectToken is an ID as a token of a subject: every byte outside [A-Za-z0-9_-]
// is written as %XX.
func SubjectToken(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
