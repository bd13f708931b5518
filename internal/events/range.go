package events

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Partition names a partition of a topic.
type Partition struct {
	Topic string
	ID    int
}

// Range is offsets of a partition: From, and up to but not including To.
type Range struct {
	Partition Partition
	From, To  int64
	// Moved says that reading was moved to From by force: the partition lost
	// what came before or was made anew, and earlier offsets mean nothing.
	Moved bool
	// Oldest is the Kafka timestamp of the first record in it; zero: it has none, or
	// that is not known.
	Oldest time.Time
}

// String gives the topic and the ID with a slash between them.
func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(p.ID) }

// Compare orders partitions by topic, then by ID.
func (p Partition) Compare(other Partition) int {
	return cmp.Or(cmp.Compare(p.Topic, other.Topic), cmp.Compare(p.ID, other.ID))
}

// MarshalText gives the same as String.
func (p Partition) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what String gives.
func (p *Partition) UnmarshalText(text []byte) error {
	topic, number, _ := strings.Cut(string(text), "/")
	id, err := strconv.ParseInt(number, 10, 32)
	if err != nil || topic == "" || id < 0 {
		return fmt.Errorf("partition %q: expected a topic and a number, topic/0", text)
	}
	*p = Partition{Topic: topic, ID: int(id)}
	return nil
}
