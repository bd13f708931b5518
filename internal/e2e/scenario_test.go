package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/scenario"
)

// TestScenarios plays every scenario on the real engines, step by step: its
// events go through Kafka, its questions over NATS.
func TestScenarios(t *testing.T) {
	s := newSystem(t)
	s.replied = repliesAreSound(t)
	var clock atomic.Int64 // nanoseconds since 1970
	s.project()
	s.serve(func() time.Time { return time.Unix(0, clock.Load()) })

	scenarios := os.DirFS("../scenario/testdata")
	count := 0
	err := fs.WalkDir(scenarios, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		count++
		apps := fmt.Sprintf("s%d-", count) // no scenario sees another's apps
		t.Run(strings.TrimSuffix(name, path.Ext(name)), func(t *testing.T) {
			data, err := fs.ReadFile(scenarios, name)
			if err != nil {
				t.Fatal(err)
			}
			script, err := scenario.Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			clock.Store(scenario.Noon.UnixNano())
			for _, step := range script.Steps {
				switch {
				case !step.Now.IsZero():
					clock.Store(step.Now.UnixNano())
				case step.Question == nil:
					s.send(inApps(apps, step.Events)...)
					s.settle()
				default:
					got, err := s.answer(apps, step.Question)
					if err != nil {
						t.Fatalf("%s: %v", step.Section, err)
					}
					if diff := cmp.Diff(step.Question.Want, got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", step.Section, diff)
					}
				}
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count == 0 {
		t.Fatal("no scenarios")
	}
}

// inApps puts a prefix before the apps of events.
func inApps(prefix string, list []events.Event) []events.Event {
	moved := make([]events.Event, len(list))
	for i, e := range list {
		e.App = prefix + e.App
		moved[i] = e
	}
	return moved
}

// answer asks a scenario's question and shows the answer as a scenario does.
func (s *system) answer(apps string, q *scenario.Question) (string, error) {
	var list listReply
	var profile profileReply
	var unread unreadReply
	var err error
	var answer []byte
	switch app := apps + q.App; q.Endpoint {
	case "list":
		var request map[string]any
		if err := json.Unmarshal(q.Request, &request); err != nil {
			return "", err
		}
		for more := true; more && err == nil; more = list.NextCursor != "" {
			err = s.ask("list", app, request, &list)
			for _, item := range list.Data.ConversationList {
				answer = append(append(answer, ','), item...)
			}
			request["cursor"] = list.NextCursor
		}
		answer = fmt.Appendf(nil, "[%s]", bytes.TrimPrefix(answer, []byte(",")))
	case "unread":
		err = s.ask("unread", app, q.Request, &unread)
		answer = strconv.AppendUint(nil, unread.Data.Total, 10)
	default:
		err = s.ask("profile", app, q.Request, &profile)
		answer = profile.Data.Conversation
		if err != nil && strings.Contains(err.Error(), `"code":404`) {
			err, answer = nil, []byte("null")
		}
	}
	if err != nil {
		return "", err
	}
	return scenario.Render(q.Endpoint, answer)
}
