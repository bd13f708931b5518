package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/convoview/convoview/internal/lifecycle"
	"github.com/convoview/convoview/internal/readmodel"
)

func migrate(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := readmodel.DefaultConfig()
	roles, printRoles := true, false
	flags := lifecycle.NewFlags("projector migrate", "Makes the read model's tables where they are missing, and the roles of those who use them. It can be run at any time, and again.", getenv, stdout)
	flags.Bool(&roles, "roles", "Make the roles projector, query, operator and analyst, too. The account must be allowed to.")
	flags.Bool(&printRoles, "print-roles", "Print the statements that make the roles, connect to nothing, and exit.")
	registerStore(flags, &config)
	if err := flags.Configure(args, func() error { return config.Validate() }); err != nil {
		return err
	}
	if printRoles {
		_, err := fmt.Fprintln(stdout, strings.Join(readmodel.Roles(config.Database, config.Cluster), ";\n")+";")
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
	if _, err := fmt.Fprintf(stdout, "the tables of database %s are there\n", config.Database); err != nil || !roles {
		return err
	}
	err = server.MigrateRoles(ctx)
	if errors.Is(err, readmodel.ErrNoRoles) {
		_, err = fmt.Fprintf(stdout, "no roles are made: %v\n", readmodel.ErrNoRoles)
		return err
	}
	if err != nil {
		return fmt.Errorf("%w (who may can run what projector migrate --print-roles prints; --roles=false leaves them out)", err)
	}
	_, err = fmt.Fprintln(stdout, "the roles projector, query, operator and analyst are there")
	return err
}
