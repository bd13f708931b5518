package docs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestScaling_CarriesActivityOver runs the statements by which a read model with more shards
// gets the activity that is older than the topics, twice, beside what it has itself.
func TestScaling_CarriesActivityOver(t *testing.T) {
	list := analyzedChat()
	old := analyzed(t, list)
	chats := analyzed(t, list[len(list)/2:])
	rename := strings.NewReplacer("convoview_g1.", old+"_g1.", "chats_g1.", chats+"_g1.")
	var statements []string
	for _, b := range readPage(t, "SCALING.md").blocks {
		if b.under == "more-shards" && b.kind == code && b.info == "sql" {
			statements = strings.Split(strings.TrimSpace(b.text), ";\n")
		}
	}
	if len(statements) != 2 {
		t.Fatalf("the page has %d statements, want one for each table of activity", len(statements))
	}
	conn := sandboxtest.ClickHouse(t)
	for range 2 {
		for _, statement := range statements {
			if err := conn.Exec(t.Context(), strings.TrimSuffix(rename.Replace(statement), ";")); err != nil {
				t.Fatalf("%v\n%s", err, statement)
			}
		}
	}
	for _, view := range []string{"activity_daily", "activity_user_daily"} {
		query := "SELECT * FROM " + old + "." + view + " ORDER BY ALL"
		_, want, err := ask(t, query)
		if err != nil || len(want) == 0 {
			t.Fatalf("%d rows, %v", len(want), err)
		}
		_, got, err := ask(t, strings.Replace(query, old, chats, 1))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-old +new):\n%s", view, diff)
		}
	}
}
