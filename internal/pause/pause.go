// Package pause waits for a time, or not so long.
package pause

import (
	"context"
	"time"
)

// For waits for d. Its error is ctx's cause, when ctx is done before.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
