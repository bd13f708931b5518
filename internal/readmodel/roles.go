package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2"

	schema "github.com/convoview/convoview/schemas/clickhouse"
)

// ErrNoRoles says that the server keeps no roles, so nobody could have one.
var ErrNoRoles = errors.New("this server keeps no roles")

// The engine's codes for who may not do something, and for a server without a place to
// keep roles in.
const (
	accessDenied       = 497
	noAccessStorage    = 514
	accessStorageFixed = 495
)

// Roles are the statements that make the roles of a read model in a database: in a cluster on
// all hosts, or on one server where its name is "".
func Roles(database, cluster string) []string {
	f := form{cluster}
	list := statements(schema.Roles, database)
	for i, statement := range list {
		statement = strings.ReplaceAll(statement, "{claims}", f.claims(database))
		if grants, ok := strings.CutPrefix(statement, "GRANT "); ok {
			list[i] = "GRANT" + f.onCluster() + " " + grants
		} else {
			list[i] = statement + f.onCluster()
		}
	}
	return list
}

// MigrateRoles makes the roles, or grants them what they lack. It can be run again at any time.
func (s *Server) MigrateRoles(ctx context.Context) error {
	for _, statement := range Roles(s.database, s.form.cluster) {
		err := s.conn.Exec(ctx, statement)
		if exception := (*clickhouse.Exception)(nil); errors.As(err, &exception) {
			switch exception.Code {
			case noAccessStorage, accessStorageFixed:
				return fmt.Errorf("%w: %w", ErrNoRoles, err)
			case accessDenied:
				return fmt.Errorf("%s: this account may not, it needs CREATE ROLE and all that the roles get with grant option: %w", statement, err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", statement, classify(ctx, err))
		}
	}
	return nil
}
