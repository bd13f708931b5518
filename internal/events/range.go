package events

import "strconv"

// Partition names a partition of a topic.
type Partition struct {
	Topic string
	ID    int
}

// Range is offsets of a partition: From, and up to but not including To.
type Range struct {
	Topic     string
	Partition int
	From, To  int64
	// Moved says that reading was moved to From by force: the partition lost
	// what came before or was made anew, and earlier offsets mean nothing.
	Moved bool
}

// String gives the topic and the ID with a slash between them.
func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(p.ID) }
