package scenario_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/bruteforce"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/scenario"
)

var update = flag.Bool("update", false, "write the answers of the brute-force reading into the scenarios")

// orders is in how many orders the events of a scenario are folded.
const orders = 20

// TestScenarios plays every scenario: what it says must be what the literal
// reading of the contract gives, and what the projection gives, with the events
// in whatever order, repeated, and in batches that are merged.
func TestScenarios(t *testing.T) {
	for name, path := range files(t) {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			script, err := scenario.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			play(t, script)
			if *update && !t.Failed() {
				if err := os.WriteFile(path, script.Format(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// files are all scenarios by their names: their paths without directory and extension.
func files(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir("testdata", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := strings.CutPrefix(filepath.ToSlash(path), "testdata/")
			found[strings.TrimSuffix(name, ".txt")] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no scenarios")
	}
	return found
}

func play(t *testing.T, script *scenario.Script) {
	now := scenario.Noon
	var chat []events.Event
	rng := rand.New(rand.NewPCG(1, 2)) // the orders are the same in every run
	for _, step := range script.Steps {
		switch {
		case !step.Now.IsZero():
			now = step.Now
		case step.Question == nil:
			chat = append(chat, step.Events...)
		default:
			q := step.Question
			want := literal(t, chat, now, q)
			answer, err := scenario.Render(q.Endpoint, want)
			if err != nil {
				t.Fatalf("%s: %v", step.Section, err)
			}
			if *update {
				script.Answer(q, answer)
			}
			if diff := cmp.Diff(q.Want, answer); diff != "" {
				t.Errorf("%s: the literal reading (-want +got):\n%s", step.Section, diff)
			}
			for range orders {
				sent := disordered(rng, chat)
				if got := projected(t, sent, now, q); !bytes.Equal(want, got) {
					t.Fatalf("%s: the projection of %v (-want +got):\n%s", step.Section, ids(sent), cmp.Diff(string(want), string(got)))
				}
			}
		}
	}
}

// disordered is the chat in an order that is drawn, with some of it twice.
func disordered(rng *rand.Rand, chat []events.Event) []events.Event {
	sent := slices.Clone(chat)
	for _, e := range chat {
		if rng.IntN(4) == 0 {
			sent = append(sent, e)
		}
	}
	rng.Shuffle(len(sent), func(i, j int) { sent[i], sent[j] = sent[j], sent[i] })
	return sent
}

func literal(t *testing.T, chat []events.Event, now time.Time, q *scenario.Question) []byte {
	t.Helper()
	b := bruteforce.New(chat, events.MicrosOf(now))
	switch q.Endpoint {
	case "list":
		return encode(t, b.List(q.App, q.UserID, q.Filter))
	case "unread":
		return encode(t, b.Unread(q.App, q.UserID, q.Filter, q.IncludeMuted))
	default:
		item, known := b.Profile(q.App, q.UserID, q.ConversationID)
		if !known {
			return encode(t, nil)
		}
		return encode(t, item)
	}
}

// projected answers from the registers of two batches, merged.
func projected(t *testing.T, chat []events.Event, now time.Time, q *scenario.Question) []byte {
	t.Helper()
	model := projection.NewModel()
	for batch := range slices.Chunk(chat, len(chat)/2+1) {
		part := projection.NewModel()
		for _, e := range batch {
			part.Fold(e)
		}
		model.Merge(part)
	}
	r := projectiontest.NewReader(q.App, model, events.MicrosOf(now))
	switch q.Endpoint {
	case "list":
		return encode(t, r.List(q.UserID, q.Filter))
	case "unread":
		return encode(t, r.Unread(q.UserID, q.Filter, q.IncludeMuted))
	default:
		item, known := r.Profile(q.UserID, q.ConversationID)
		if !known {
			return encode(t, nil)
		}
		return encode(t, item)
	}
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

func ids(chat []events.Event) []string {
	var list []string
	for _, e := range chat {
		list = append(list, e.ID)
	}
	return list
}
