// Package lifecycle is what every command needs around its work: settings from
// flags and environment, a logger, a screen that shows how far it is, the start
// and stop of its components in order, and the admin HTTP server (health,
// readiness, metrics, profiles).
//
// A command is main, which calls [Main], and a run function, which does the
// rest: declare [Flags], Configure, build the components by hand (constructors are
// inert) and give them to a [Group]. One that has others is [Commands].
//
// # Settings
//
// Each setting is one flag and one environment variable of the same name:
// --kafka-brokers is CONVOVIEW_KAFKA_BROKERS. The flag wins over the variable,
// the variable over the default. An empty variable counts as absent. Every command
// that is configured has --check, which validates everything and connects to nothing.
//
// # Stopping
//
// The first SIGINT or SIGTERM cancels the context of run; the Group then stops
// its components in reverse order of their start, all within one budget. A
// second signal ends the process at once.
//
// Nothing here knows what the commands are for.
package lifecycle
