package ingest

import (
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{kafka.IllegalGeneration, fenced},
		{fmt.Errorf("commit: %w", kafka.UnknownMemberId), fenced},
		{kafka.RebalanceInProgress, fenced},
		{kafka.FencedInstanceID, fenced},
		{kafka.OffsetOutOfRange, outOfRange},
		{kafka.MessageSizeTooLarge, refused},
		{kafka.RecordListTooLarge, refused},
		{kafka.InvalidRecord, refused},
		{kafka.InvalidTimestamp, refused},
		{kafka.TopicAuthorizationFailed, forbidden},
		{kafka.ClusterAuthorizationFailed, forbidden},
		{kafka.NotCoordinatorForGroup, tryAgain},
		{kafka.GroupLoadInProgress, tryAgain},
		{kafka.Unknown, tryAgain},
		{errSink, tryAgain},
		{nil, tryAgain},
	} {
		if got := judge(c.err); got != c.want {
			t.Errorf("judge(%v) = %v, want %v", c.err, got, c.want)
		}
	}
}
