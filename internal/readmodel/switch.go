package readmodel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// change is a switch as the comment of its table.
type change struct {
	Generation int       `json:"generation"`
	At         time.Time `json:"at"`
	By         string    `json:"by"`
	Rollback   bool      `json:"rollback,omitempty"`
}

// errSwitched says that somebody else was first.
var errSwitched = errors.New("somebody else has just switched")

// addSwitch makes the table of a switch, unless somebody has made it before.
func (s *Server) addSwitch(ctx context.Context, number int, to change) error {
	generation := to.Generation
	comment, err := json.Marshal(to)
	if err != nil {
		return fmt.Errorf("switch to generation %d: %w", generation, err)
	}
	err = s.conn.Exec(s.form.claiming(ctx), fmt.Sprintf("CREATE TABLE %s.switch_%d (generation UInt32) ENGINE = Null COMMENT %s", s.form.claims(s.database), number, quoted(string(comment))))
	if exception := (*clickhouse.Exception)(nil); errors.As(err, &exception) && exception.Code == tableExists {
		return fmt.Errorf("switch to generation %d: %w (projector generations list)", generation, errSwitched)
	}
	if err != nil {
		return fmt.Errorf("switch to generation %d: %w", generation, classify(ctx, err))
	}
	return nil
}

// Switch has a generation read that has everything.
func (s *Server) Switch(ctx context.Context, generation int, by string) error {
	r, err := s.Registry(ctx)
	if err != nil {
		return err
	}
	return s.SwitchAfter(ctx, r, generation, by)
}

// SwitchAfter does so unless somebody has switched since a look at the registry: whoever
// compares first has compared with what was read then.
func (s *Server) SwitchAfter(ctx context.Context, r Registry, generation int, by string) error {
	return s.switchTo(ctx, r, change{Generation: generation, At: time.Now().UTC(), By: by})
}

// Rollback has the generation read that was read before the last switch, and gives its
// number. What was rolled back is not gone back to: whoever is not sure whether they have
// done it may do it again.
func (s *Server) Rollback(ctx context.Context, by string) (generation int, err error) {
	r, err := s.Registry(ctx)
	switch {
	case err != nil:
		return 0, err
	case r.Before == 0:
		return 0, fmt.Errorf("generation %d is the first that is read: there is none to go back to", r.Current)
	case r.RolledBack:
		return 0, fmt.Errorf("generation %d is read again since a rollback from %d (projector switch %d goes there again)", r.Current, r.Before, r.Before)
	}
	return r.Before, s.switchTo(ctx, r, change{Generation: r.Before, At: time.Now().UTC(), By: by, Rollback: true})
}

func (s *Server) switchTo(ctx context.Context, r Registry, to change) error {
	generation := to.Generation
	g, ok := r.Find(generation)
	switch {
	case !ok:
		return fmt.Errorf("generation %d: there is none of that number", generation)
	case g.State != Filled:
		return fmt.Errorf("generation %d: it is %v, expected filled", generation, g.State)
	case generation == r.Current:
		return fmt.Errorf("generation %d: it is the one that is read", generation)
	}
	if err := s.addSwitch(ctx, r.Switches+1, to); err != nil {
		return err
	}
	// Who drops a generation says so before looking whether it is read, and who switches looks
	// after it: of two who do both at once one notices.
	gone := (*GoneError)(nil)
	if err := s.Kept(ctx, generation); !errors.As(err, &gone) {
		return err
	}
	to.Generation, to.Rollback = r.Current, true
	if err := s.addSwitch(ctx, r.Switches+2, to); err != nil {
		return fmt.Errorf("generation %d: somebody has dropped it meanwhile; switch to another one: %w", generation, err)
	}
	return fmt.Errorf("generation %d: somebody has dropped it meanwhile, so generation %d is read again", generation, r.Current)
}
