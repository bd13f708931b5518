// Command chatload fills a system with chat and asks it questions: it imports
// events from a file, makes up a chat, and prints conversation lists, profiles
// and totals.
//
//	import, generate ──► encode ──► pace ──► Kafka (or a file)
//	list, profile, unread ──► NATS request ──► table or JSON
//
// Writing keeps the order of each key: records go out in rounds, in each round
// one request per partition, and a round ends when all of its requests are
// acknowledged. A request that fails is sent again before anything later.
package main
