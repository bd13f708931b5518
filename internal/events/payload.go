package events

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxPayloadDepth bounds the nesting of a payload: every reply that carries it
// nests it deeper, and readers bound depth, too.
const maxPayloadDepth = 1000

// validPayload reports whether p is one JSON object in valid UTF-8. Duplicate
// names within it are the client's business.
func validPayload(p []byte) bool {
	v := jsontext.Value(p)
	return v.Kind() == '{' && v.IsValid(jsontext.AllowDuplicateNames(true))
}

// setBadPayload keeps a payload that is not valid, and where, for the error: what is shown
// of it may well be fine.
func (r *rawEvent) setBadPayload(key fieldKey, p []byte) {
	text := shown(p)
	var syntax *jsontext.SyntacticError
	if err := json.Unmarshal(p, new(jsontext.Value), jsontext.AllowDuplicateNames(true)); errors.As(err, &syntax) {
		text += fmt.Sprintf(" (no valid JSON at byte %d: %v)", syntax.ByteOffset, syntax.Err)
	}
	r.setWrong(key, -1, shortened(text, maxReasonBytes))
}

// compact is valid JSON of a record's value without its whitespace.
func (r *rawEvent) compact(src []byte) []byte {
	if r.shares && isCompact(src) {
		return slices.Clip(src)
	}
	return compact(src)
}

// isCompact reports whether valid JSON has no whitespace.
func isCompact(src []byte) bool {
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case ' ', '\t', '\r', '\n':
			return false
		case '"':
			i = stringEnd(src, i) - 1
		}
	}
	return true
}

// compact is a copy of valid JSON without its whitespace. It keeps no memory for
// whitespace that an event would hold on to.
func compact(src []byte) []byte {
	dst := appendCompact(make([]byte, 0, len(src)), src)
	if cap(dst) > 2*len(dst) {
		return bytes.Clone(dst)
	}
	return dst
}

// appendCompact appends valid JSON without its whitespace and otherwise
// unchanged, so that both encodings carry the same bytes.
func appendCompact(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		switch src[i] {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end := stringEnd(src, i)
			dst = append(dst, src[i:end]...)
			i = end
		default:
			dst = append(dst, src[i])
			i++
		}
	}
	return dst
}

// stringEnd is the index after the JSON string that begins at i.
func stringEnd(p []byte, i int) int {
	for i++; p[i] != '"'; i++ {
		if p[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// valueEnd is the index after the value that begins at i, of compact JSON.
func valueEnd(p []byte, i int) int {
	for depth := 0; ; {
		switch p[i] {
		case '"':
			i = stringEnd(p, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of the object around a number or literal
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
}

// depth is how deep compact JSON nests.
func depthOf(p []byte) int {
	depth, deepest := 0, 0
	for i := 0; i < len(p); {
		switch p[i] {
		case '"':
			i = stringEnd(p, i)
			continue
		case '{', '[':
			depth++
			deepest = max(deepest, depth)
		case '}', ']':
			depth--
		}
		i++
	}
	return deepest
}

// payloadText is the string member "text" of a payload (the last, as readers
// of JSON have it), or "".
func payloadText(payload []byte) string {
	var text string
	for i := 1; i < len(payload) && payload[i] != '}'; {
		name := payload[i:stringEnd(payload, i)]
		i += len(name) + 1
		value := payload[i:valueEnd(payload, i)]
		if i += len(value); payload[i] == ',' {
			i++
		}
		if s, err := unquoted(name); err != nil || string(s) != "text" {
			continue
		}
		text = ""
		if value[0] == '"' {
			if s, err := unquoted(value); err == nil {
				text = string(s)
			}
		}
	}
	return text
}

// preview cuts s at MaxPreviewRunes.
func preview(s string) string {
	if len(s) <= MaxPreviewRunes {
		return s
	}
	end := 0
	for range MaxPreviewRunes {
		if end == len(s) {
			return s
		}
		_, n := utf8.DecodeRuneInString(s[end:])
		end += n
	}
	if end == len(s) {
		return s
	}
	return strings.Clone(s[:end]) // do not keep the rest alive
}
