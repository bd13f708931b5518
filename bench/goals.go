package main

import (
	"context"
	"fmt"
)

// goal is something that is measured.
type goal struct {
	name, about string
	measure     func(ctx context.Context, b *bench, f *figures) error
	figures     []figureSpec
}

// figureSpec says of figures, whose names match a pattern, in which unit they
// are and what they are to be. Without a bound they are for information.
type figureSpec struct {
	pattern, unit string
	bound
}

// bound is what a figure is to be, in words and as a function.
type bound struct {
	text  string
	holds func(value, against float64) bool
}

func atLeast(ratio float64, whose string) bound {
	return bound{fmt.Sprintf("at least %g of %s", ratio, whose), func(value, against float64) bool { return value >= ratio*against }}
}

func atMost(ratio float64, whose string) bound {
	return bound{fmt.Sprintf("at most %g of %s", ratio, whose), func(value, against float64) bool { return value <= ratio*against }}
}

// goals are all of them, in the order in which they are measured: what needs a
// million users comes last.
var goals = []goal{
	{
		"list_hot", "lists of 10,000 users in memory, against a NATS echo of the same bytes", listHot,
		[]figureSpec{
			{"*/*/rate", "requests/s", atLeast(0.8, "the echo's")},
			{"*/*/p99", "ms", bound{
				"at most the greater of 1.5 of the echo's and the echo's + 2 ms",
				func(value, against float64) bool { return value <= max(1.5*against, against+2) },
			}},
		},
	},
	{
		"sync", "a since reply after 5 of 100 conversations have changed, against the whole list", syncing,
		[]figureSpec{
			{"bytes", "bytes", atMost(0.15, "the whole list's")},
			{"rate", "requests/s", atLeast(0.7, "the whole list's")},
		},
	},
}
