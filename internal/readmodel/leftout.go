package readmodel

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// LeaveOut keeps the IDs of events that a generation is to leave out, and sets them in
// its options. It is called before the generation is added.
func (s *Server) LeaveOut(ctx context.Context, ids map[string]struct{}, options *Options) error {
	name := ListOf(ids)
	fail := func(err error) error {
		return fmt.Errorf("keep the IDs of %d events that are left out: %w", len(ids), s.notMigrated(ctx, err))
	}
	batch, err := s.conn.PrepareBatch(ctx, "INSERT INTO "+s.database+".left_out")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = batch.Close() }()
	for id := range ids {
		if err := batch.Append(name, id); err != nil {
			return fail(err)
		}
	}
	if err := batch.Send(); err != nil {
		return fail(err)
	}
	options.Without, options.WithoutIDs = name, len(ids)
	return nil
}

// ListOf names a list of IDs by what is in it.
func ListOf(ids map[string]struct{}) string {
	sum := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(id)))) // a hash takes everything
		_, _ = sum.Write([]byte(id))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// LeftOut gives the IDs of the events that a generation leaves out; nil for none.
func (s *Server) LeftOut(ctx context.Context, g Generation) (map[string]struct{}, error) {
	options, err := g.Options()
	if err != nil || options.Without == "" {
		return nil, err
	}
	ids := make(map[string]struct{}, options.WithoutIDs)
	if err := s.catchUp(ctx, "left_out"); err != nil {
		return nil, fmt.Errorf("find what generation %d leaves out: %w", g.Number, s.notMigrated(ctx, err))
	}
	err = s.each(ctx, "SELECT id FROM "+s.database+".left_out WHERE list = "+quoted(options.Without), func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids[id] = struct{}{}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("find what generation %d leaves out: %w", g.Number, s.notMigrated(ctx, err))
	}
	if len(ids) != options.WithoutIDs || ListOf(ids) != options.Without {
		return nil, fmt.Errorf("generation %d leaves %d events out, and the list of them has %d or others (table %s.left_out): put it right, or drop the generation",
			g.Number, options.WithoutIDs, len(ids), s.database)
	}
	return ids, nil
}

// LeftOutOf gives the same of a generation by its number.
func (s *Server) LeftOutOf(ctx context.Context, number int) (map[string]struct{}, error) {
	r, err := s.Registry(ctx)
	if err != nil {
		return nil, err
	}
	g, ok := r.Find(number)
	if !ok {
		return nil, fmt.Errorf("generation %d: there is none of that number", number)
	}
	return s.LeftOut(ctx, g)
}
