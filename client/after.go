package client

// After is what a request waits for: places in Kafka that must have been taken in
// before it is answered, so that one reads what one has written. The zero value
// waits for nothing. Fill it from what your Kafka client says of a write that the
// brokers have acknowledged:
//
//	after.Add(m.Topic, m.Partition, m.Offset)               // kafka-go, in a Writer's Completion
//	after.Add(r.Topic, int(r.Partition), r.Offset)          // franz-go, a produced Record
//	after.Add(*tp.Topic, int(tp.Partition), int64(tp.Offset)) // confluent-kafka-go, a delivery report
//
// It is not safe for use by several goroutines.
type After []Offset

// Offset is the place of one record.
type Offset struct {
	// Topic is the topic's name.
	Topic string `json:"topic"`
	// Partition is the number of the topic's partition.
	Partition int `json:"partition"`
	// Offset is the record's in the partition.
	Offset int64 `json:"offset"`
}

// Add adds a record that was written. Of each partition the furthest one stays.
func (a *After) Add(topic string, partition int, offset int64) {
	for i := range *a {
		if at := &(*a)[i]; at.Topic == topic && at.Partition == partition {
			at.Offset = max(at.Offset, offset)
			return
		}
	}
	*a = append(*a, Offset{topic, partition, offset})
}
