package projectiontest

import (
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/convoview/convoview/internal/projection"
)

// SameModel has cmp compare what models mean. Conflicts are what was seen, repeats included.
var SameModel = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.IgnoreFields(projection.Model{}, "Conflicts"),
	cmpopts.IgnoreUnexported(projection.Model{}),
}
