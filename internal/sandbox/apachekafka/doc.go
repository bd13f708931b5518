// Package apachekafka runs brokers of Apache Kafka as child processes, on
// loopback, from the jars that Maven brings (tools/kafka/pom.xml).
//
// Each broker is a controller, too (KRaft), and has a directory of its own for
// its data, settings and log. Brokers can be stopped, killed and started again
// one by one. None outlives the process that started it, however that ends.
//
// Settings are Kafka's own but for what makes a cluster small and quick: few
// partitions of its internal topics, no wait for more members of a new group,
// sessions of a second where a consumer wants them, and no retention unless a
// topic has one.
package apachekafka
