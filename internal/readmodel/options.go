package readmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// Options are how a generation is made, where it is not made of all that is in the topics.
type Options struct {
	// From is where the topics are read from, as --from has it; "": from their beginning.
	From string `json:"from,omitempty"`
	// Starts are the offsets that this came to. Partitions that are not in it are read
	// from their beginning.
	Starts map[events.Partition]int64 `json:"starts,omitempty"`
	// Base is the generation whose rows it begins with; 0: with none.
	Base int `json:"base,omitempty"`
	// Without names the list of the events that are left out, and WithoutIDs how many are on it.
	Without    string `json:"without,omitempty"`
	WithoutIDs int    `json:"without_ids,omitempty"`
}

// text is how the registry keeps options; "" when there are none.
func (o Options) text() (string, error) {
	if reflect.ValueOf(o).IsZero() {
		return "", nil
	}
	b, err := json.Marshal(o)
	return string(b), err
}

// readOptions reads what text has written. What it does not know was written by a newer
// version, and must not be passed over.
func readOptions(text string) (o Options, err error) {
	if text == "" {
		return o, nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err = d.Decode(&o); err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows them")
		}
	}
	return o, err
}

// String is one readable line; "" when there are none.
func (o Options) String() string {
	var parts []string
	if o.From != "" {
		parts = append(parts, "from "+o.From)
	}
	if o.Base != 0 {
		parts = append(parts, fmt.Sprintf("based on generation %d", o.Base))
	}
	if o.Without != "" {
		parts = append(parts, fmt.Sprintf("without %d events (list %.12s)", o.WithoutIDs, o.Without))
	}
	return strings.Join(parts, ", ")
}

// Options are how the generation is made.
func (g Generation) Options() (Options, error) {
	o, err := readOptions(g.options)
	if err != nil {
		return Options{}, fmt.Errorf("generation %d: its options %s are not of this version: %w", g.Number, g.options, err)
	}
	return o, nil
}
