package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
)

// deadLetterMargin is how much more a dead letter may need than the record it
// is made of: its headers.
const deadLetterMargin = 64 << 10

// The settings of topics that matter here.
const (
	settingTimestampType = "message.timestamp.type"
	settingMaxBytes      = "max.message.bytes"
	settingCleanupPolicy = "cleanup.policy"
	settingRetention     = "retention.ms"
	logAppendTime        = "LogAppendTime"
)

// statusTopics is the name of our complaint about topics.
const statusTopics = "topics"

// checkTopics waits until Kafka answers and every topic exists, says what is
// unwise about them, and fails only where going on could not keep the contract:
// when dead letters would not fit into their topic.
func (c *Consumer) checkTopics(ctx context.Context) error {
	failed := func(err error, attempt int, wait time.Duration) {
		c.status.set(statusTopics, err)
		c.logger.Warn("waiting for Kafka and its topics", "error", err, "attempt", attempt, "retry_in", wait)
	}
	if err := retry(ctx, c.config, func() error { return c.topicsExist(ctx) }, failed); err != nil {
		return err
	}
	if err := retry(ctx, c.config, func() error { return c.topicSettings(ctx) }, failed); err != nil {
		return err
	}
	c.status.clear(statusTopics)
	return nil
}

func (c *Consumer) topicsExist(ctx context.Context) error {
	topics, err := c.cluster.topics(ctx, c.config.allTopics()...)
	if err != nil {
		return err
	}
	for name, t := range topics {
		if t.Error != nil && !errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			return fmt.Errorf("find topic %s: %w", name, t.Error)
		}
	}
	return c.missing(topics)
}

// missing names the topics that are not among those that were found.
func (c *Consumer) missing(found map[string]kafka.Topic) error {
	var missing []string
	for _, name := range c.config.allTopics() {
		if t, known := found[name]; !known || errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("missing topics: %s", strings.Join(missing, ", "))
	}
	return nil
}

func (c *Consumer) topicSettings(ctx context.Context) error {
	settings, err := c.cluster.settings(ctx, c.config.allTopics(), settingTimestampType, settingMaxBytes)
	if judge(err) == forbidden {
		c.logger.Warn("not allowed to read the settings of topics: cannot check that dead letters fit", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	greatest, source := 0, ""
	for _, topic := range c.config.Topics {
		if kind := settings[topic][settingTimestampType]; kind != logAppendTime {
			c.logger.Warn("topic takes the time of records from their producers: events of a producer whose clock is ahead are not refused",
				"topic", topic, settingTimestampType, kind, "expected", logAppendTime)
		}
		bytes, err := strconv.Atoi(settings[topic][settingMaxBytes])
		if err != nil {
			return fmt.Errorf("read %s of topic %s: %w", settingMaxBytes, topic, err)
		}
		if bytes > greatest {
			greatest, source = bytes, topic
		}
	}
	if c.config.DeadTopic == "" {
		return nil
	}
	dead, err := strconv.Atoi(settings[c.config.DeadTopic][settingMaxBytes])
	if err != nil {
		return fmt.Errorf("read %s of topic %s: %w", settingMaxBytes, c.config.DeadTopic, err)
	}
	if dead < greatest+deadLetterMargin {
		return backoff.Permanent(fmt.Errorf("%s of topic %s is %d, expected at least %d: topic %s takes records of %d bytes, and a dead letter needs %d more for its headers",
			settingMaxBytes, c.config.DeadTopic, dead, greatest+deadLetterMargin, source, greatest, deadLetterMargin))
	}
	return nil
}

// settings gives settings of topics by topic and name.
func (c *cluster) settings(ctx context.Context, topics []string, names ...string) (map[string]map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	req := &kafka.DescribeConfigsRequest{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
		})
	}
	res, err := c.client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ask for the settings of topics: %w", err)
	}
	settings := map[string]map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("ask for the settings of topic %s: %w", r.ResourceName, r.Error)
		}
		settings[r.ResourceName] = map[string]string{}
		for _, e := range r.ConfigEntries {
			settings[r.ResourceName][e.ConfigName] = e.ConfigValue
		}
	}
	return settings, nil
}
