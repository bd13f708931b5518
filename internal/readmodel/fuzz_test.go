package readmodel

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/projection"
)

// FuzzDecodeBitmap holds that whatever decodes is a set as package projection
// has them, and that its state decodes to the same.
func FuzzDecodeBitmap(f *testing.F) {
	f.Add("\x00\x00")
	f.Add("\x00\x02\x05\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00")
	f.Add(large(f, projection.Interval{First: 1, Last: 70_000}, projection.Interval{First: 1<<32 - 5, Last: 1<<32 + 5}))
	f.Add(large(f, projection.Interval{First: 3, Last: 3}, projection.Interval{First: 1<<53 - 1, Last: 1<<53 - 1}))
	f.Fuzz(func(t *testing.T, state string) {
		got, err := decodeBitmap(state)
		if err != nil || len(got) == 0 {
			return
		}
		for i, run := range got {
			if run.First > run.Last || i > 0 && (got[i-1].Last == math.MaxUint64 || run.First <= got[i-1].Last+1) {
				t.Fatalf("%q gives no ascending runs apart: %v", state, got)
			}
		}
		if got[len(got)-1].Last == math.MaxUint64 {
			return // the encoder's range ends after its last
		}
		again, err := decodeBitmap(large(t, got...))
		if diff := cmp.Diff(got, again); err != nil || diff != "" {
			t.Fatalf("again (-want +got): %v\n%s", err, diff)
		}
	})
}
