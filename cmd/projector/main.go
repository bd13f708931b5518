// Command projector turns the events on Kafka into the read model in ClickHouse.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/convoview/convoview/internal/lifecycle"
)

const usage = `Usage: projector <command> [flags]

Turns the events on Kafka into the conversation read model in ClickHouse.

Commands:
  run          consume both topics and maintain the read model, until stopped
  migrate      make the read model's tables where they are missing, and exit
  rebuild      fill a new generation of the read model from the topics
  verify       compare two generations, and name what differs
  switch       have another generation read
  rollback     have the generation read again that was read before
  sweep        take what was an erased user's out of all tables
  generations  list the generations, or drop one
  dead         list dead letters, show one, or send them again

projector <command> --help lists the command's flags.
`

func main() { lifecycle.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	if len(args) == 0 {
		args = []string{""}
	}
	switch command, args := args[0], args[1:]; command {
	case "run":
		return project(ctx, args, getenv, stdout)
	case "migrate":
		return migrate(ctx, args, getenv, stdout)
	case "rebuild":
		return rebuildModel(ctx, args, getenv, stdout)
	case "verify":
		return verify(ctx, args, getenv, stdout)
	case "switch":
		return switchTo(ctx, args, getenv, stdout)
	case "rollback":
		return rollback(ctx, args, getenv, stdout)
	case "generations":
		return generations(ctx, args, getenv, stdout)
	case "sweep":
		return sweep(ctx, args, getenv, stdout)
	case "dead":
		return dead(ctx, args, getenv, stdout)
	case "-h", "-help", "--help", "help":
		_, _ = io.WriteString(stdout, usage)
		return flag.ErrHelp
	default:
		return fmt.Errorf("command %q: expected run, migrate, rebuild, verify, switch, rollback, sweep, generations or dead (projector --help)", command)
	}
}
