package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/convoview/convoview/internal/pause"
)

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if err := pause.For(t.Context(), time.Hour); err != nil || time.Since(begin) != time.Hour {
			t.Errorf("%v after %v, want nothing after an hour", err, time.Since(begin))
		}
		cause := errors.New("enough")
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { end(cause) })
		begin = time.Now()
		if err := pause.For(ctx, time.Hour); !errors.Is(err, cause) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v, want the cause after a minute", err, time.Since(begin))
		}
	})
}
