package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// word is a value in a line, with or without a name: name=value.
type word struct {
	name  string
	value json.RawMessage
}

var named = regexp.MustCompile(`^[A-Za-z]+=`)

// split splits a line into at least one word.
func split(line string) ([]word, error) {
	var words []word
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		var w word
		if name := named.FindString(rest); name != "" {
			w.name, rest = strings.TrimSuffix(name, "="), rest[len(name):]
		}
		if rest != "" && strings.ContainsRune(`"[{`, rune(rest[0])) {
			d := json.NewDecoder(strings.NewReader(rest))
			if err := d.Decode(&w.value); err != nil {
				return nil, fmt.Errorf("%s: %w", rest, err)
			}
			rest = rest[d.InputOffset():]
		} else {
			var bare string
			bare, rest, _ = strings.Cut(rest, " ")
			w.value = json.RawMessage(bare)
			if !json.Valid(w.value) {
				w.value = quote(bare)
			}
		}
		words = append(words, w)
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%q: expected words", line)
	}
	return words, nil
}

// text is the value as a text: a quoted one without its quotes.
func (w word) text() string {
	var s string
	if json.Unmarshal(w.value, &s) != nil {
		return string(w.value)
	}
	return s
}

// quoted is the value as a JSON string, even if it looks like a number.
func (w word) quoted() json.RawMessage { return quote(w.text()) }

func (w word) String() string {
	if w.name == "" {
		return string(w.value)
	}
	return w.name + "=" + string(w.value)
}

// show writes a text as a word.
func show(text string) string {
	odd := func(r rune) bool { return strings.ContainsRune(` "[{=`, r) || !unicode.IsPrint(r) }
	if text == "" || json.Valid([]byte(text)) || strings.ContainsFunc(text, odd) {
		return string(quote(text))
	}
	return text
}

func quote(text string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string can always be encoded
	return bytes.TrimSpace(b.Bytes())
}
