// Command projector turns the events on Kafka into the read model in ClickHouse.
package main

import (
	"context"
	"io"

	"github.com/convoview/convoview/internal/lifecycle"
)

func main() { lifecycle.Main(run) }

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	return lifecycle.Commands{
		Name:    "projector",
		Summary: "Turns the events on Kafka into the conversation read model in ClickHouse.",
		All: []lifecycle.Command{
			{Name: "run", Summary: "consume both topics and maintain the read model, until stopped", Run: project},
			{Name: "migrate", Summary: "make the read model's tables where they are missing, and exit", Run: migrate},
			{Name: "rebuild", Summary: "fill a new generation of the read model from the topics", Run: rebuildModel},
			{Name: "verify", Summary: "compare two generations, and name what differs", Run: verify},
			{Name: "switch", Summary: "have another generation read", Run: switchTo},
			{Name: "rollback", Summary: "have the generation read again that was read before", Run: rollback},
			{Name: "sweep", Summary: "take what was an erased user's out of all tables", Run: sweep},
			{Name: "generations", Summary: "list the generations, or drop one", Run: generations},
			{Name: "dead", Summary: "list dead letters, show one, or send them again", Run: dead},
		},
	}.Run(ctx, args, getenv, stdout)
}
