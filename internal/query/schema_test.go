package query

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/schemas/schematest"
)

// TestDecode_AgreesWithTheSchema holds that the schema of each endpoint's requests
// takes what decode takes and nothing else, but for what it cannot see: every field with values of all types
// and at all bounds, and fields that there are not.
func TestDecode_AgreesWithTheSchema(t *testing.T) {
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	wide := `"` + strings.Repeat("é", events.MaxIDBytes) + `"`
	values := []string{
		`null`, `""`, `"x"`, `"x\n"`, `"\u0085"`, `true`, `false`, `{}`, `[]`, `[null]`, `["x"]`, `["C2Cx","GROUPy"]`, `["C2Cx",""]`,
		`0`, `1`, `-1`, `5`, `0.5`, `"1"`, `7.0`, `7e0`, `[{"topic":"t","partition":7.0,"offset":0}]`, `5000`, `5001`, `1000`, `1001`, fmt.Sprint(events.MaxSequence), fmt.Sprint(events.MaxSequence + 1),
		`"C2C"`, `"C2Cx"`, `"GROUP"`, `"GROUPx"`, `"@TIM#SYSTEM"`, `"C2Cx\n"`, `"c2c"`,
		wide, `"` + strings.Repeat("x", 128) + `"`, `"` + strings.Repeat("x", 129) + `"`, `"C2C` + strings.Repeat("x", 129) + `"`,
		list(maxConversationIDs, `"C2Cx"`), list(maxConversationIDs+1, `"C2Cx"`),
		`[{"topic":"t","partition":0,"offset":0}]`, `[{"topic":"t","partition":2147483647,"offset":9223372036854775806}]`,
		`[{"topic":"t","partition":2147483648,"offset":0}]`, `[{"topic":"t","partition":0,"offset":9223372036854775807}]`,
		`[{"topic":"t","partition":-1,"offset":0}]`, `[{"topic":"t","partition":0,"offset":-1}]`, `[{"topic":1,"partition":0,"offset":0}]`,
		`[{"partition":0,"offset":0}]`, `[{"topic":"t","offset":0}]`, `[{"topic":"t","partition":0}]`, `[{"topic":"t","partition":0,"offset":0,"more":1}]`,
		list(1000, `{"topic":"t","partition":0,"offset":0}`),
		fmt.Sprint(uint64(math.MaxUint64)),
	}
	unseen := map[string]string{ // what the schema takes and decode does not, and why
		`7.0`: "an integer to a schema",
		`7e0`: "an integer to a schema",
		`[{"topic":"t","partition":7.0,"offset":0}]`: "an integer to a schema",
		wide: "no more characters than there may be bytes",
	}
	differ := map[string]bool{}
	names := []string{
		"userID", "timeoutMs", "after", "conversationIDList", "type", "markType", "groupName", "hasUnreadCount", "hasGroupAtInfo", "limit", "cursor",
		"sync", "since", "conversationID", "includeMuted", "userId", "more",
	}
	for endpoint, decoder := range decoders {
		schema := schematest.Compile(t, "json/api.json#/$defs/"+endpoint+"Request")
		for _, name := range names {
			for _, value := range values {
				request := map[string]string{"userID": `"ann"`}
				if endpoint == "profile" {
					request["conversationID"] = `"C2Cbob"`
				}
				request[name] = value
				var members []string
				for name, value := range request {
					members = append(members, fmt.Sprintf("%q:%s", name, value))
				}
				body := []byte("{" + strings.Join(members, ",") + "}")
				q, refused := decode("demo", body, decoder)
				if refused == nil && q.cursor != nil {
					if *q.cursor == "" { // only its text shows what a cursor is
						refused = fmt.Errorf("cursor %q", *q.cursor)
					}
				}
				invalid := schema.Validate(body)
				if unseen[value] != "" && refused != nil && invalid == nil {
					differ[value] = true
				} else if (refused == nil) != (invalid == nil) {
					t.Errorf("%s %.100s:\n decode says %v\n the schema says %v", endpoint, body, refused, invalid)
				}
			}
		}
	}
	for value, why := range unseen {
		if !differ[value] {
			t.Errorf("%.60s is not taken by the schema alone, as was said because it is %s", value, why)
		}
	}
}

// TestErrors_AgreeWithTheSchema holds that a refusal has the fields of its schema.
func TestErrors_AgreeWithTheSchema(t *testing.T) {
	schema := schematest.Compile(t, "json/api.json#/$defs/errorReply")
	whole := &replyError{Code: codeTooLarge, Message: "x", leftOut: leftOut{
		ConversationID: "C2Cx", NextCursor: "x", Removed: []string{"C2Cy"}, Reset: true, SyncToken: "x",
	}}
	for _, e := range []*replyError{whole, errOverloaded} {
		if err := schema.Validate(e.body()); err != nil {
			t.Errorf("%s: %v", e.body(), err)
		}
	}
	v, err := schematest.ReadYAML("../../schemas/json/api.json")
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(whole.body(), &fields); err != nil {
		t.Fatal(err)
	}
	defs := v.(map[string]any)["$defs"].(map[string]any)
	of := defs["errorReply"].(map[string]any)["properties"].(map[string]any)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(of)), slices.Sorted(maps.Keys(fields))); diff != "" {
		t.Errorf("fields (-schema +refusal):\n%s", diff)
	}
}
