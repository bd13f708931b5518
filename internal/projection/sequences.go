package projection

import (
	"iter"
	"slices"
	"sort"
)

// Interval is a run of sequences, both ends included.
type Interval struct{ First, Last uint64 }

// Sequences is a set of sequences as ascending runs that neither touch nor
// overlap, so that equal sets are equal values. Sequences that a backend counts
// one by one cost nothing however many they are; sparse ones cost 16 bytes each.
// The zero value is the empty set. Merging is union.
type Sequences []Interval

// SequencesOf is the set of the given sequences, in any order.
func SequencesOf(values ...uint64) Sequences {
	var s Sequences
	for _, v := range values {
		s.Add(v)
	}
	return s
}

// Add puts v into the set.
func (s *Sequences) Add(v uint64) {
	runs := *s
	// Most messages come in order, so the end is tried first.
	i := len(runs)
	if i > 0 && v <= runs[i-1].Last {
		i = sort.Search(len(runs), func(i int) bool { return runs[i].Last >= v })
	}
	if i < len(runs) && runs[i].First <= v {
		return
	}
	joinsLeft := i > 0 && runs[i-1].Last+1 == v
	joinsRight := i < len(runs) && runs[i].First == v+1
	switch {
	case joinsLeft && joinsRight:
		runs[i-1].Last = runs[i].Last
		*s = slices.Delete(runs, i, i+1)
	case joinsLeft:
		runs[i-1].Last = v
	case joinsRight:
		runs[i].First = v
	default:
		*s = slices.Insert(runs, i, Interval{v, v})
	}
}

// Union puts every sequence of other into the set. It keeps no reference to other.
func (s *Sequences) Union(other Sequences) {
	switch {
	case len(other) == 0:
		return
	case len(*s) == 0:
		*s = slices.Clone(other)
		return
	case len(other) == 1 && other[0].First == other[0].Last:
		s.Add(other[0].First)
		return
	}
	a, b := *s, other
	merged := make(Sequences, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		var next Interval
		if len(b) == 0 || (len(a) > 0 && a[0].First <= b[0].First) {
			next, a = a[0], a[1:]
		} else {
			next, b = b[0], b[1:]
		}
		if n := len(merged); n > 0 && next.First <= merged[n-1].Last+1 {
			merged[n-1].Last = max(merged[n-1].Last, next.Last)
			continue
		}
		merged = append(merged, next)
	}
	*s = merged
}

// Contains reports whether v is in the set.
func (s Sequences) Contains(v uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= v })
	return i < len(s) && s[i].First <= v
}

// Len is the number of sequences in the set.
func (s Sequences) Len() uint64 { return s.CountAbove(0) }

// CountAbove is the number of sequences greater than floor.
func (s Sequences) CountAbove(floor uint64) uint64 {
	var n uint64
	for i := len(s) - 1; i >= 0 && s[i].Last > floor; i-- {
		n += s[i].Last - max(s[i].First-1, floor)
	}
	return n
}

// All yields every sequence, ascending.
func (s Sequences) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, run := range s {
			for v := run.First; ; v++ {
				if !yield(v) {
					return
				}
				if v == run.Last {
					break
				}
			}
		}
	}
}

// countRemaining is the number of sequences of set greater than floor that are in none of the others.
func countRemaining(set Sequences, floor uint64, others ...Sequences) uint64 {
	n := set.CountAbove(floor)
	if n == 0 {
		return 0
	}
	// The others may be of all days and the set of one.
	first, last := max(set[0].First, floor+1), set[len(set)-1].Last
	var taken Sequences
	for _, other := range others {
		taken.Union(other.above(first - 1).through(last))
	}
	for _, run := range taken {
		n -= set.countBetween(max(run.First, first), run.Last)
	}
	return n
}

// above is the part of s that ends above floor; it may begin at or below it.
func (s Sequences) above(floor uint64) Sequences {
	return s[sort.Search(len(s), func(i int) bool { return s[i].Last > floor }):]
}

// through is the part of s that begins at or below last; it may end above it.
func (s Sequences) through(last uint64) Sequences {
	return s[:sort.Search(len(s), func(i int) bool { return s[i].First > last })]
}

// countBetween is the number of sequences from first to last.
func (s Sequences) countBetween(first, last uint64) uint64 {
	var n uint64
	for _, run := range s.above(first - 1) {
		if run.First > last {
			break
		}
		n += min(run.Last, last) - max(run.First, first) + 1
	}
	return n
}
