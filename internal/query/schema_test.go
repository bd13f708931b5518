package query

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/schemas/schematest"
)

// TestDecode_AgreesWithTheSchema holds that the schema of each endpoint's requests
// takes what decode takes and nothing else: every field with values of all types
// and at all bounds, and fields that there are not.
func TestDecode_AgreesWithTheSchema(t *testing.T) {
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	values := []string{
		`null`, `""`, `"x"`, `"x\n"`, `"\u0085"`, `true`, `false`, `{}`, `[]`, `[null]`, `["x"]`, `["C2Cx","GROUPy"]`, `["C2Cx",""]`,
		`0`, `1`, `-1`, `5`, `0.5`, `"1"`, `5000`, `5001`, `1000`, `1001`, fmt.Sprint(events.MaxSequence), fmt.Sprint(events.MaxSequence + 1),
		`"C2C"`, `"C2Cx"`, `"GROUP"`, `"GROUPx"`, `"@TIM#SYSTEM"`, `"C2Cx\n"`, `"c2c"`,
		`"` + strings.Repeat("x", 128) + `"`, `"` + strings.Repeat("x", 129) + `"`, `"C2C` + strings.Repeat("x", 129) + `"`,
		list(maxConversationIDs, `"C2Cx"`), list(maxConversationIDs+1, `"C2Cx"`),
		`[{"topic":"t","partition":0,"offset":0}]`, `[{"topic":"t","partition":2147483647,"offset":9223372036854775806}]`,
		`[{"topic":"t","partition":2147483648,"offset":0}]`, `[{"topic":"t","partition":0,"offset":9223372036854775807}]`,
		`[{"topic":"t","partition":-1,"offset":0}]`, `[{"topic":"t","partition":0,"offset":-1}]`, `[{"topic":1,"partition":0,"offset":0}]`,
		`[{"partition":0,"offset":0}]`, `[{"topic":"t","offset":0}]`, `[{"topic":"t","partition":0}]`, `[{"topic":"t","partition":0,"offset":0,"more":1}]`,
		list(maxAfter, `{"topic":"t","partition":0,"offset":0}`), list(maxAfter+1, `{"topic":"t","partition":0,"offset":0}`),
		fmt.Sprint(uint64(math.MaxUint64)),
	}
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
				if invalid := schema.Validate(body); (refused == nil) != (invalid == nil) {
					t.Errorf("%s %.100s:\n decode says %v\n the schema says %v", endpoint, body, refused, invalid)
				}
			}
		}
	}
}
