package main

import (
	"context"
	"fmt"
	"io"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
)

func migrate(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := readmodel.DefaultConfig()
	flags := lifecycle.NewFlags("projector migrate", "Makes the read model's tables where they are missing. It can be run at any time, and again.", getenv, stdout)
	config.Register(flags)
	if err := flags.Configure(args, func() error { return config.Validate() }); err != nil {
		return err
	}
	server, err := readmodel.Open(config)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }()
	if err := server.Migrate(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "the tables of database %s are there\n", config.Database)
	return err
}
