package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/segmentio/kafka-go"
)

// verdict is what an error of Kafka asks for.
type verdict uint8

const (
	// tryAgain: the same request may succeed later, perhaps elsewhere or after
	// an operator's help. What we do not know is this, too: nothing here may be
	// given up.
	tryAgain verdict = iota
	// fenced: the generation is over; its work is another's now.
	fenced
	// outOfRange: the offset is not in the partition.
	outOfRange
	// refused: the broker will not take these records, however often they come.
	refused
	// forbidden: an operator has not allowed it.
	forbidden
)

var verdicts = map[kafka.Error]verdict{
	kafka.IllegalGeneration:          fenced,     // a newer generation exists
	kafka.UnknownMemberId:            fenced,     // the group has thrown us out
	kafka.RebalanceInProgress:        fenced,     // the group is between generations; the next one starts from the last commit
	kafka.FencedInstanceID:           fenced,     // another process has our identity
	kafka.OffsetOutOfRange:           outOfRange, // retention, or a topic made anew
	kafka.MessageSizeTooLarge:        refused,    // the dead-letter topic takes less than it must
	kafka.RecordListTooLarge:         refused,    // the same for what is sent together
	kafka.InvalidRecord:              refused,    // a compacted dead-letter topic and a record without a key
	kafka.InvalidTimestamp:           refused,    // a topic that bounds timestamps
	kafka.TopicAuthorizationFailed:   forbidden,  // no permission on a topic
	kafka.ClusterAuthorizationFailed: forbidden,  // no permission on the cluster
	kafka.InvalidMessage:             tryAgain,   // damaged on its way
	kafka.NotCoordinatorForGroup:     tryAgain,   // moved; the next heartbeat finds out
}

// judge is the one place that tells errors of Kafka apart.
func judge(err error) verdict {
	var code kafka.Error
	if errors.As(err, &code) {
		return verdicts[code]
	}
	return tryAgain // the network, a timeout, a broker that is away
}

// coordinatorMoves reports whether somebody was asked who is not, or not yet, the
// coordinator of the group: another broker is about to be.
func coordinatorMoves(err error) bool {
	return errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) || errors.Is(err, kafka.GroupLoadInProgress)
}

// answered reports whether it is a broker that gave an error, and not the way there.
func answered(err error) bool {
	var code kafka.Error
	return errors.As(err, &code)
}

// newBackoff gives waits that grow up to the greatest one.
func newBackoff(c Config) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval:     c.RetryInterval,
		MaxInterval:         c.MaxRetryInterval,
		Multiplier:          2,
		RandomizationFactor: 0.2,
	}
}

// retry calls try until it succeeds or ctx ends; after each failure it calls
// failed with the number of the attempt and the wait that follows. An error
// that backoff.Permanent made ends it, too.
func retry(ctx context.Context, c Config, try func() error, failed func(err error, attempt int, wait time.Duration)) error {
	attempt := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		attempt++
		return struct{}{}, try()
	},
		backoff.WithBackOff(newBackoff(c)),
		backoff.WithMaxElapsedTime(0), // the library's own default gives up after 15 minutes
		backoff.WithNotify(func(err error, wait time.Duration) { failed(err, attempt, wait) }),
	)
	return err
}
