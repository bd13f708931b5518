package readmodel

import (
	"context"
	"fmt"
	"strings"

	"github.com/convoview/convoview/internal/events"
)

// Cover says from which offsets on projectors write everything to a generation. It says
// nothing of a read model that was made anew since the registry was looked at.
func (s *Server) Cover(ctx context.Context, r Registry, generation int, from map[events.Partition]int64) error {
	if len(from) == 0 {
		return nil
	}
	var rows []string
	for p, offset := range from {
		rows = append(rows, fmt.Sprintf("(%s, %d, %d)", quoted(p.Topic), p.ID, offset))
	}
	err := s.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s.coverage SELECT %d, row.1, row.2, row.3 FROM (SELECT arrayJoin([%s]) AS row) WHERE %s IN (SELECT comment FROM system.tables WHERE database = '%s' AND name = 'switch_1')",
		s.database, generation, strings.Join(rows, ", "), quoted(r.origin), s.form.claims(s.database)))
	if err != nil {
		return fmt.Errorf("say what is written to generation %d: %w", generation, classify(ctx, err))
	}
	return nil
}

// Covered gives from which offsets on projectors write everything to a generation.
func (s *Server) Covered(ctx context.Context, generation int) (map[events.Partition]int64, error) {
	return s.covered(ctx, fmt.Sprintf("generation = %d", generation))
}

// Begun gives the partitions that projectors have begun to write, to whichever generation.
func (s *Server) Begun(ctx context.Context) (map[events.Partition]bool, error) {
	from, err := s.covered(ctx, "1")
	if err != nil {
		return nil, err
	}
	begun := make(map[events.Partition]bool, len(from))
	for p := range from {
		begun[p] = true
	}
	return begun, nil
}

// covered gives the least offset of each partition, of the generations of a condition.
func (s *Server) covered(ctx context.Context, where string) (map[events.Partition]int64, error) {
	from := map[events.Partition]int64{}
	if err := s.catchUp(ctx, "coverage"); err != nil {
		return nil, s.notMigrated(ctx, err)
	}
	err := s.each(ctx, "SELECT topic, partition, min(from_offset) FROM "+s.database+".coverage WHERE "+where+" GROUP BY topic, partition",
		func(scan func(...any) error) error {
			var p events.Partition
			var id int32
			var offset int64
			if err := scan(&p.Topic, &id, &offset); err != nil {
				return err
			}
			p.ID = int(id)
			from[p] = offset
			return nil
		})
	if err != nil {
		return nil, s.notMigrated(ctx, err)
	}
	return from, nil
}
