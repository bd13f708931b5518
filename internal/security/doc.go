// Package security tests the system where nobody is trusted: the built commands, with
// a Kafka broker, the ClickHouse engine and a NATS server that all want certificates and
// passwords, and give everybody the least rights. The engine holds each account to its
// role, and NATS has the configuration that is in deploy/nats.
//
//	world_test.go     the brokers, servers and processes
//	roles_test.go     what each role of ClickHouse may do, and may not
//	accounts_test.go  what each account of NATS hears, and what it does not
//	rotation_test.go  certificates and passwords are replaced while all goes on
//	secrets_test.go   no secret is in anything that is said
package security
