package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
)

// figure is a line of the result.
type figure struct {
	Goal    string   `json:"goal"`
	Value   float64  `json:"value"`
	Unit    string   `json:"unit"`
	Against *float64 `json:"against"` // null: there is nothing to compare it with
	Ratio   *float64 `json:"ratio"`
}

// figures takes those of one goal.
type figures struct {
	goal     goal
	stdout   io.Writer
	found    map[string]bool // the patterns that had a figure
	verdicts []verdict
}

// verdict says whether a figure is within its bound.
type verdict struct {
	figure string
	met    bool
	bound  string
}

func newFigures(g goal, stdout io.Writer) *figures {
	return &figures{goal: g, stdout: stdout, found: map[string]bool{}}
}

// compare prints a figure beside the reference's, and judges it.
func (f *figures) compare(name string, value, against float64) error {
	return f.add(name, value, &against)
}

// tell prints a figure that stands alone.
func (f *figures) tell(name string, value float64) error { return f.add(name, value, nil) }

func (f *figures) add(name string, value float64, against *float64) error {
	spec, err := f.spec(name)
	if err != nil {
		return err
	}
	f.found[spec.pattern] = true
	line := figure{Goal: f.goal.name + "/" + name, Value: rounded(value), Unit: spec.unit}
	if against != nil {
		line.Against = new(rounded(*against))
		if *against != 0 {
			line.Ratio = new(rounded(value / *against))
		}
		if spec.holds != nil {
			f.verdicts = append(f.verdicts, verdict{line.Goal, spec.holds(value, *against), spec.text})
		}
	}
	return json.NewEncoder(f.stdout).Encode(line)
}

func (f *figures) spec(name string) (figureSpec, error) {
	for _, spec := range f.goal.figures {
		if ok, _ := path.Match(spec.pattern, name); ok {
			return spec, nil
		}
	}
	return figureSpec{}, fmt.Errorf("goal %s has no figure %s", f.goal.name, name)
}

// complete reports the figures that were to be found and were not.
func (f *figures) complete() error {
	var errs []error
	for _, spec := range f.goal.figures {
		if !f.found[spec.pattern] {
			errs = append(errs, fmt.Errorf("no figure %s/%s was found", f.goal.name, spec.pattern))
		}
	}
	return errors.Join(errs...)
}

// rounded leaves four digits, or all before the point.
func rounded(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	scale := math.Pow10(max(0, 3-int(math.Floor(math.Log10(math.Abs(x))))))
	return math.Round(x*scale) / scale
}
