package query

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestReplyFor(t *testing.T) {
	plain := errors.New("SELECT secret")
	for _, c := range []struct {
		err  error
		want *replyError
	}{
		{badRequest("x"), badRequest("x")},
		{fmt.Errorf("decode: %w", badRequest("x")), badRequest("x")},
		{errOverloaded, errOverloaded},
		{errDraining, errDraining},
		{tooLarge("C2Cx", 2, 1), tooLarge("C2Cx", 2, 1)},
		{plain, errInternal},
		{context.Canceled, errInternal},
		{&loadError{plain}, errInternal},
		{&loadError{fmt.Errorf("load: %w", away{plain})}, errStoreAway},
		{&loadError{fmt.Errorf("load: %w", here{plain})}, errInternal},
		{&loadError{context.DeadlineExceeded}, errStoreLate},
		{&loadError{away{context.DeadlineExceeded}}, errStoreAway},
	} {
		if got := replyFor(c.err); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}

// here says that it is not away.
type here struct{ error }

func (here) Unavailable() bool { return false }
