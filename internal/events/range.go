package events

// Range is offsets of a partition: From, and up to but not including To.
type Range struct {
	Topic     string
	Partition int
	From, To  int64
	// Moved says that reading was moved to From by force: the partition lost
	// what came before or was made anew, and earlier offsets mean nothing.
	Moved bool
}
