package readmodel_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/generate"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/readmodel/readmodeltest"
	"github.com/convoview/convoview/internal/sandbox"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

// TestServer_AnAnswerIsWholeWhateverTheAccountHasSet has settings profiles end answers early.
// Who asks gets all that there is, or an error.
func TestServer_AnAnswerIsWholeWhateverTheAccountHasSet(t *testing.T) {
	config := readmodeltest.Config(t)
	store := readmodeltest.New(t, config).Generation(1)
	var list []events.Event
	for g := generate.New(recentChat()); len(list) < 200; {
		list = append(list, g.Next())
	}
	for batch := range slices.Chunk(list, 50) { // a part of a table each
		if err := store.Write(t.Context(), fold(batch)); err != nil {
			t.Fatal(err)
		}
	}
	conversations := keys(fold(list).States)
	want, err := store.States(t.Context(), conversations)
	if err != nil {
		t.Fatal(err)
	}
	for name, profile := range map[string]map[string]string{
		"limit":             {"limit": "7"},
		"offset":            {"limit": "1000", "offset": "7"},
		"read":              {"max_rows_to_read": "10", "read_overflow_mode": "break", "max_block_size": "1"},
		"result":            {"max_result_rows": "7", "result_overflow_mode": "break", "max_block_size": "1"},
		"filter":            {"additional_result_filter": "0"},
		"filter of a table": {"additional_table_filters": "{'" + store.Database() + ".registers': 'register != 1'}"},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := readmodel.Open(readmodeltest.WithProfile(t, config, profile))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Close() }()
			got, err := server.Generation(1).States(t.Context(), conversations)
			if err != nil {
				return // it says so
			}
			if diff := cmp.Diff(want, got, projectiontest.SameModel); diff != "" {
				t.Errorf("what is not all (-want +got):\n%s", diff)
			}
		})
	}
}

// TestServer_SettingsAreItsOwn has an account's profile say otherwise than each of them.
func TestServer_SettingsAreItsOwn(t *testing.T) {
	config := readmodeltest.InCluster(readmodeltest.Config(t), sandbox.Cluster)
	want, otherwise := map[string]string{}, map[string]string{}
	for name, value := range readmodel.Settings(config) {
		want[name] = fmt.Sprint(value)
		switch want[name] {
		case "0":
			otherwise[name] = "1"
		case "throw":
			otherwise[name] = "break"
		case "in_order":
			otherwise[name] = "random"
		case "allow":
			otherwise[name] = "deny"
		case "":
			otherwise[name] = "0"
		case "{}":
			otherwise[name] = "{'system.settings': '0'}"
		case "disable":
			otherwise[name] = "enable"
		default: // a number
			otherwise[name] = "0"
		}
	}
	server, err := readmodel.Open(readmodeltest.WithProfile(t, config, otherwise))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	got, err := server.ItsSettings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		if name == "prefer_localhost_replica" { // the sandbox has but one host
			continue
		}
		if got[name] != want[name] {
			t.Errorf("%s: got %q, want %q", name, got[name], want[name])
		}
	}
}

// TestServer_NoViewIsPassedOver has a profile pass over a view whose table is away.
func TestServer_NoViewIsPassedOver(t *testing.T) {
	config := readmodeltest.Config(t)
	made := readmodeltest.New(t, config).Generation(1)
	server, err := readmodel.Open(readmodeltest.WithProfile(t, config, map[string]string{"ignore_materialized_views_with_dropped_target_table": "1"}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	store, conn := server.Generation(1), sandboxtest.ClickHouse(t)
	list := []events.Event{sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 1, "e1"), sent("demo", time.Unix(1e9, 0), events.Group("g"), "ann", 2, "e2")}
	if err := store.Write(t.Context(), fold(list[:1])); err != nil {
		t.Fatal(err)
	}
	alter := func(verb string) {
		t.Helper()
		if err := conn.Exec(t.Context(), verb+" TABLE "+made.Database()+".activity"); err != nil {
			t.Fatal(err)
		}
	}
	alter("DETACH")
	failed := (*readmodel.Error)(nil)
	if err := store.Write(t.Context(), fold(list[1:])); !errors.As(err, &failed) || !failed.Away {
		t.Errorf("a view has no table: got %v, want that ClickHouse is away", err)
	}
	alter("ATTACH")
	if err := store.Write(t.Context(), fold(list[1:])); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(countActivity(list), readActivity(t, t, made, "")); diff != "" {
		t.Errorf("activity (-want +got):\n%s", diff)
	}
}
