package query

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/projection"
)

// anything draws values of which every field is anything that it can be. fields are
// those of T that are drawn otherwise.
func anything[T any](fields map[string]*rapid.Generator[any]) *rapid.Generator[T] {
	// encoding/json escapes two line separators although JSON does not ask for it.
	text := rapid.StringOf(rapid.Rune().Filter(func(r rune) bool { return r != '\u2028' && r != '\u2029' }))
	return rapid.MakeCustom[T](rapid.MakeConfig{
		Kinds: map[reflect.Kind]*rapid.Generator[any]{reflect.String: text.AsAny()},
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[json.RawMessage](): rapid.SampledFrom([]any{json.RawMessage(nil), json.RawMessage(`{"text":"<a>"}`)}),
		},
		Fields: map[reflect.Type]map[string]*rapid.Generator[any]{reflect.TypeFor[T](): fields},
	})
}

func pointer[T any]() *rapid.Generator[any] {
	return rapid.Map(anything[T](nil), func(v T) any { return &v })
}

func TestAppendItem_IsTheJSONOfItsFields(t *testing.T) {
	none := rapid.Just[any](nil)
	items := anything[projection.Item](map[string]*rapid.Generator[any]{
		"UserProfile":  rapid.OneOf(none, pointer[projection.UserInfo](), pointer[projection.UserDetails]()),
		"GroupProfile": rapid.OneOf(none, pointer[projection.GroupInfo](), pointer[projection.GroupDetails]()),
	})
	rapid.Check(t, func(t *rapid.T) {
		item := items.Draw(t, "item")
		// What somebody else was shown differs in one field at most.
		other, another := item.LastMessage, items.Draw(t, "another").LastMessage
		field := rapid.IntRange(0, reflect.TypeFor[projection.LastMessage]().NumField()-1).Draw(t, "field")
		reflect.ValueOf(&other).Elem().Field(field).Set(reflect.ValueOf(another).Field(field))
		var shown lastShown
		shown.lastMessage(&other)

		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(item); err != nil {
			t.Fatal(err)
		}
		for _, shown := range []*lastShown{nil, new(lastShown), &shown, &shown} {
			if diff := cmp.Diff(want.String(), string(appendItem(nil, &item, shown))+"\n"); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
	})
}
