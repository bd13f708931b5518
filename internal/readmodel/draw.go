package readmodel

import (
	"context"
	"fmt"

	"github.com/go-faster/city"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/projection"
)

// Draw is a sample of conversations: those whose hash has a certain remainder, which
// can be said of each by itself, here and in ClickHouse.
type Draw struct{ Of, Remainder uint64 }

// Has reports whether a conversation is drawn.
func (d Draw) Has(app string, c events.Conversation) bool {
	return city.CH64([]byte(app+"\x00"+typeName(c.Type)+"\x00"+c.A+"\x00"+c.B))%d.Of == d.Remainder
}

// drawnFrom is the hash in ClickHouse, of a row of registers.
const drawnFrom = `cityHash64(concat(app, '\0', multiIf(
	startsWith(conversation_id, 'C2C'), concat('C2C', '\0', least(owner, substring(conversation_id, 4)), '\0', greatest(owner, substring(conversation_id, 4))),
	startsWith(conversation_id, 'GROUP'), concat('GROUP', '\0', substring(conversation_id, 6), '\0'),
	concat('SYSTEM', '\0', owner, '\0'))))`

// Draw draws about so many conversations; others with another seed.
func (s *Store) Draw(ctx context.Context, size int, seed uint64) (Draw, error) {
	var all uint64
	if err := s.conn.QueryRow(ctx, "SELECT uniq("+drawnFrom+") FROM "+s.db+".registers").Scan(&all); err != nil {
		return Draw{}, fmt.Errorf("count the conversations: %w", classify(ctx, err))
	}
	of := max(1, all/uint64(max(1, size))) // at least 1
	return Draw{of, seed % of}, nil
}

// Drawn gives the users' registers of the conversations that are drawn.
func (s *Store) Drawn(ctx context.Context, d Draw, visit func(projection.Key) error) error {
	return s.keys(ctx, fmt.Sprintf("owner != '' AND %s %% %d = %d", drawnFrom, d.Of, d.Remainder), visit)
}
