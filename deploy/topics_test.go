package deploy_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// topic is one as it is to be made.
type topic struct {
	name                 string
	partitions, replicas int
	config               map[string]string
}

var scriptTopic = regexp.MustCompile(`(?m)^topic (\S+) (\S+)$`)

// scriptTopics are those that kafka/topics.sh makes.
func scriptTopics(partitions int) (all []topic) {
	script, err := os.ReadFile("kafka/topics.sh")
	if err != nil {
		return nil
	}
	return parseScript(string(script), partitions)
}

func parseScript(script string, partitions int) (all []topic) {
	for _, m := range scriptTopic.FindAllStringSubmatch(script, -1) {
		t := topic{name: m[1], partitions: partitions, config: map[string]string{}}
		for setting := range strings.SplitSeq(m[2], ",") {
			key, value, _ := strings.Cut(setting, "=")
			t.config[key] = value
		}
		all = append(all, t)
	}
	return all
}

// What docs/CONTRACT.md and docs/OPERATIONS.md say of the topics.
const (
	defaultRetention = 7 * 24 * time.Hour // of an app without a plan
	retentionMargin  = 2 * 24 * time.Hour
	deadLetterMargin = 64 << 10
)

// checkTopics holds topics against what a projector needs.
func checkTopics(projector command, topics []topic) (f faults) {
	settings, err := projector.settings()
	if err != nil {
		return faults{err.Error()}
	}
	find := func(name string) topic {
		for _, t := range topics {
			if t.name == name {
				if t.partitions < 1 {
					f.add("topic %s has %d partitions", name, t.partitions)
				}
				if needed, err := strconv.Atoi(t.config["min.insync.replicas"]); err == nil && needed >= t.replicas {
					f.add("topic %s has %d replicas and needs %d to be written: a broker that is away would stop it", name, t.replicas, needed)
				}
				return t
			}
		}
		f.add("there is no topic %s", name)
		return topic{}
	}
	number := func(t topic, key string) int {
		n, err := strconv.Atoi(t.config[key])
		if err != nil {
			f.add("topic %s: %s is %q", t.name, key, t.config[key])
		}
		return n
	}
	sources := strings.Split(settings["CONVOVIEW_KAFKA_TOPICS"], ",")
	greatest := 0
	for i, name := range sources {
		t := find(name)
		policy := "compact"
		if i == 0 {
			policy = "delete"
			if kept := time.Duration(number(t, "retention.ms")) * time.Millisecond; kept < defaultRetention+retentionMargin {
				f.add("topic %s keeps messages for %v: expected at least %v", name, kept, defaultRetention+retentionMargin)
			}
		}
		for key, want := range map[string]string{"cleanup.policy": policy, "message.timestamp.type": "LogAppendTime"} {
			if t.config[key] != want {
				f.add("topic %s: %s is %q, want %s", name, key, t.config[key], want)
			}
		}
		greatest = max(greatest, number(t, "max.message.bytes"))
	}
	dead := find(settings["CONVOVIEW_KAFKA_DEAD_TOPIC"])
	if got := number(dead, "max.message.bytes"); got < greatest+deadLetterMargin {
		f.add("topic %s takes records of %d bytes: expected at least %d", dead.name, got, greatest+deadLetterMargin)
	}
	return f
}

func TestTopics_Refuse(t *testing.T) {
	script, err := os.ReadFile("kafka/topics.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ before, after, want string }{
		{"#!", "#!", ""},
		{"topic chat.state", "topic chat.status", "no topic chat.state"},
		{"cleanup.policy=compact", "cleanup.policy=delete", "chat.state: cleanup.policy"},
		{"retention.ms=777600000", "retention.ms=777599999", "chat.messages keeps messages for"},
		{"max.message.bytes=1114124", "max.message.bytes=1114123", "chat.dead takes records of 1114123"},
	} {
		text := edit{"kafka/topics.sh", c.before, c.after}.apply(t, string(script))
		checkTopics(command{args: []string{"projector", "run"}}, parseScript(text, 12)).expect(t, c.want)
	}
}
