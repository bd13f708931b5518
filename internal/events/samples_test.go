package events

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventspb "github.com/convoview/convoview/schemas/chat/v1"
)

var update = flag.Bool("update", false, "rewrite the samples that are derived from others")

// samplesDir is where the samples are; the tests run in the package's directory.
const samplesDir = "../../schemas/samples"

// sampleFiles are the paths of the samples that end in suffix, those of
// samples/bad or those of bodies.
func sampleFiles(t testing.TB, suffix string, bad bool) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(samplesDir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(name, suffix) && strings.HasPrefix(name, "bad/") == bad {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func readSample(t testing.TB, name string) []byte {
	t.Helper()
	value, err := os.ReadFile(filepath.Join(samplesDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// golden compares a derived sample with what it should be, or rewrites it.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		file := filepath.Join(samplesDir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := readSample(t, name); !bytes.Equal(got, want) {
		t.Errorf("%s is %s, want %s (go test -update rewrites it)", name, shown(got), shown(want))
	}
}

// TestSamples holds that each sample decodes to a body of its directory's
// name, from both encodings to the same event.
func TestSamples(t *testing.T) {
	for _, name := range sampleFiles(t, ".json", false) {
		t.Run(name, func(t *testing.T) {
			e := mustDecode(t, jsonRecord(string(readSample(t, name))))
			if got, want := e.Body.Kind(), path.Dir(name); got != want {
				t.Errorf("the body is %s, want %s", got, want)
			}
			if e.UnknownFields != 0 {
				t.Errorf("%d unknown fields", e.UnknownFields)
			}
			p, err := AppendProtobuf(nil, e)
			if err != nil {
				t.Fatal(err)
			}
			binary := strings.TrimSuffix(name, ".json") + ".binpb"
			golden(t, binary, p)
			if diff := cmp.Diff(e, mustDecode(t, protobufRecord(readSample(t, binary)))); diff != "" {
				t.Errorf("from Protobuf (-json +protobuf):\n%s", diff)
			}
			compareGenerated(t, e, readSample(t, binary))
		})
	}
	for _, name := range sampleFiles(t, ".binpb", false) {
		readSample(t, strings.TrimSuffix(name, ".binpb")+".json")
	}
}

// compareGenerated holds that the generated code reads the sample completely,
// and that its JSON, names and all, is the contract's.
func compareGenerated(t *testing.T, want Event, value []byte) {
	t.Helper()
	m := new(eventspb.Event)
	if err := proto.Unmarshal(value, m); err != nil {
		t.Fatal(err)
	}
	again, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, mustDecode(t, protobufRecord(again))); diff != "" {
		t.Errorf("through the generated code (-want +got):\n%s", diff)
	}
	// A payload is an object in the contract's JSON, base64 in Protobuf's.
	payload := `"payload":`
	if sent := m.GetMessageSent(); len(sent.GetPayload()) > 0 {
		payload += string(sent.GetPayload())
		sent.Payload = nil
	}
	if modified := m.GetMessageModified(); len(modified.GetPayload()) > 0 {
		payload += string(modified.GetPayload())
		modified.Payload = nil
	}
	j, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if payload != `"payload":` {
		j = bytes.Replace(j, []byte(`"sequence":`), []byte(payload+`,"sequence":`), 1)
	}
	switch want.Body.(type) {
	case *ConversationMarked, *ConversationGroupsSet: // protojson leaves out empty lists, which JSON must have
		if !bytes.Contains(j, []byte("List")) {
			return
		}
	}
	if diff := cmp.Diff(want, mustDecode(t, jsonRecord(string(j)))); diff != "" {
		t.Errorf("through the generated code's JSON %s (-want +got):\n%s", j, diff)
	}
}

// TestSamples_Complete holds that every body has a minimal and a full sample,
// and that every field is in one.
func TestSamples_Complete(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range sampleFiles(t, ".json", false) {
		r := new(rawEvent)
		if err := r.fromJSON(readSample(t, name)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		base := strings.TrimSuffix(path.Base(name), ".json")
		for _, kind := range []string{"minimal", "full"} {
			if strings.HasSuffix(base, kind) {
				seen[r.spec.name+" "+kind] = true
			}
		}
		for i := range r.spec.fields {
			if r.has(r.spec.fields[i].key) {
				seen[r.spec.name+"."+fieldNames[r.spec.fields[i].key]] = true
			}
		}
	}
	for i := range bodySpecs {
		spec := &bodySpecs[i]
		want := []string{spec.name + " minimal", spec.name + " full"}
		for n := range spec.fields {
			want = append(want, spec.name+"."+fieldNames[spec.fields[n].key])
		}
		for _, name := range want {
			if !seen[name] {
				t.Errorf("no sample of %s", name)
			}
		}
	}
}

// TestSamples_Bad holds that each dead letter in samples/bad has the code of
// its directory, and the line of samples/bad/errors.txt. The file's end is the
// record's content-type: .json, .binpb, .avro; none with .raw.
func TestSamples_Bad(t *testing.T) {
	for name, value := range badSamples() {
		golden(t, path.Join("bad", name), value)
	}
	var lines strings.Builder
	codes := make(map[Code]bool)
	for _, name := range sampleFiles(t, "", true) {
		record := Record{Value: readSample(t, name), Timestamp: recordTime}
		switch path.Ext(name) {
		case ".json":
			record.Headers = []Header{{HeaderContentType, []byte(ContentTypeJSON)}}
		case ".binpb":
			record.Headers = []Header{{HeaderContentType, []byte(ContentTypeProtobuf)}}
		case ".avro":
			record.Headers = []Header{{HeaderContentType, []byte("application/avro")}}
		case ".txt":
			continue
		}
		_, err := NewDecoder(DefaultLimits()).Decode(record)
		if got, want := codeOf(err), Code(path.Base(path.Dir(name))); got != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
		codes[codeOf(err)] = true
		fmt.Fprintf(&lines, "%s: %v\n", strings.TrimPrefix(name, "bad/"), err)
		if _, ok := badSamples()[strings.TrimPrefix(name, "bad/")]; !ok {
			t.Errorf("%s is not among badSamples", name)
		}
	}
	golden(t, "bad/errors.txt", []byte(lines.String()))
	for _, code := range []Code{
		CodeMalformed, CodeUnknownEncoding, CodeMissingField, CodeInvalidField,
		CodeInvalidAddress, CodeBodyCount, CodeTooLarge, CodeTimeOutOfRange,
	} {
		if !codes[code] {
			t.Errorf("no bad sample of %s", code)
		}
	}
}

// badSamples are the dead letters, by code and name.
func badSamples() map[string][]byte {
	const head = `{"id":"e1","app":"demo","time":"2026-11-23T03:00:00Z",`
	text := func(n int) string { return strings.Repeat("x", n) }
	list := func(n int, entry string) string { return strings.TrimSuffix(strings.Repeat(entry+",", n), ",") }
	sent := func(rest string) string {
		return head + `"messageSent":{"from":"alice","groupID":"g","messageID":"m","sequence":1,"type":"t",` + rest + `}}`
	}
	register := func(body, rest string) string {
		return head + `"` + body + `":{"userID":"alice","conversationID":"C2Cbob"` + rest + `}}`
	}
	erased := wire{}.bytes(1, "alice")
	profile := `{"key":"k","value":"` + text(4096) + `"}`

	samples := map[string]string{
		"malformed/cut.json":               head + `"userErased":{"userID":"alice"}`,
		"malformed/trailing.json":          head + `"userErased":{"userID":"alice"}}{}`,
		"malformed/no-object.json":         `["` + text(3) + `"]`,
		"malformed/duplicate.json":         head + `"id":"e2","userErased":{"userID":"alice"}}`,
		"malformed/duplicate-in-body.json": head + `"userErased":{"userID":"alice","userID":"bob"}}`,
		"malformed/invalid-utf8.json":      head + "\"userErased\":{\"userID\":\"\xff\"}}",
		"malformed/lone-surrogate.json":    head + `"userErased":{"userID":"\ud83d"}}`,
		"malformed/cut.binpb":              string(wireHeader().bytes(34, string(erased)))[:30],
		"malformed/invalid-utf8.binpb":     string(wireHeader().bytes(34, string(wire{}.bytes(1, "\xff")))),
		"malformed/json-as-protobuf.binpb": head + `"userErased":{"userID":"alice"}}`,
		"malformed/frame-cut.raw":          "\x00\x00\x00\x01",
		"malformed/frame-cut-in-index.raw": "\x00\x00\x00\x00\x01\x02",

		"unknown_encoding/avro.avro":           "Obj\x01",
		"unknown_encoding/bare-protobuf.raw":   string(wireHeader().bytes(34, string(erased))),
		"unknown_encoding/byte-order-mark.raw": "\ufeff" + head + `"userErased":{"userID":"alice"}}`,
		"unknown_encoding/other-message.raw":   "\x00\x00\x00\x00\x01\x02\x04" + string(erased),

		"missing_field/id.json":                   `{"app":"demo","time":"2026-11-23T03:00:00Z","userErased":{"userID":"alice"}}`,
		"missing_field/app.json":                  `{"id":"e1","app":"","time":"2026-11-23T03:00:00Z","userErased":{"userID":"alice"}}`,
		"missing_field/time.json":                 `{"id":"e1","app":"demo","time":null,"userErased":{"userID":"alice"}}`,
		"missing_field/sequence.json":             head + `"messageSent":{"from":"alice","to":"bob","messageID":"m","type":"t"}}`,
		"missing_field/sequence.binpb":            string(wireHeader().bytes(20, string(wire{}.bytes(1, "alice").bytes(2, "C2Cbob")))),
		"missing_field/from.json":                 head + `"messageSent":{"to":"bob","messageID":"m","sequence":1,"type":"t"}}`,
		"missing_field/to-of-system.json":         head + `"messageRecalled":{"system":true,"sequence":1}}`,
		"missing_field/register.json":             register("conversationPinned", ``),
		"missing_field/list.json":                 register("conversationMarked", `,"markList":null`),
		"missing_field/name-in-another-case.json": head + `"userErased":{"userid":"alice"}}`,
		"missing_field/join-sequence.json":        head + `"groupMemberChanged":{"groupID":"g","userID":"alice","status":"joined"}}`,

		"invalid_field/id-too-long.json":        `{"id":"` + text(129) + `","app":"demo","time":"2026-11-23T03:00:00Z","userErased":{"userID":"alice"}}`,
		"invalid_field/app.json":                `{"id":"e1","app":"a.b","time":"2026-11-23T03:00:00Z","userErased":{"userID":"alice"}}`,
		"invalid_field/time.json":               `{"id":"e1","app":"demo","time":"23.11.2026 03:00","userErased":{"userID":"alice"}}`,
		"invalid_field/user-id-control.json":    head + `"userErased":{"userID":"alice\u0007"}}`,
		"invalid_field/mention-too-long.json":   sent(`"atUserList":["bob","` + text(129) + `"]`),
		"invalid_field/sequence-0.json":         head + `"messageRecalled":{"groupID":"g","sequence":0}}`,
		"invalid_field/sequence-2-to-53.json":   register("conversationRead", `,"sequence":9007199254740992`),
		"invalid_field/sequence-fraction.json":  register("conversationRead", `,"sequence":1.0`),
		"invalid_field/sequence-negative.binpb": string(wireHeader().bytes(20, string(wire{}.bytes(1, "alice").bytes(2, "C2Cbob").varint(3, 1<<63)))),
		"invalid_field/remind-type.json":        register("conversationRemindTypeSet", `,"messageRemindType":"Never"`),
		"invalid_field/mark-0.json":             register("conversationMarked", `,"markList":[1,0]`),
		"invalid_field/group-name-empty.json":   register("conversationGroupsSet", `,"conversationGroupList":[""]`),
		"invalid_field/boolean-as-string.json":  register("conversationPinned", `,"isPinned":"true"`),
		"invalid_field/payload-as-string.json":  sent(`"payload":"{}"`),
		"invalid_field/payload-as-list.binpb":   string(wireHeader().bytes(12, string(wire{}.bytes(3, "g").varint(5, 1).varint(6, 1).bytes(7, "[]")))),
		"invalid_field/body-as-string.json":     head + `"userErased":"alice"}`,
		"invalid_field/status.json":             head + `"groupMemberChanged":{"groupID":"g","userID":"alice","status":"banned"}}`,
		"invalid_field/group-type.json":         head + `"groupProfileChanged":{"groupID":"g","type":"Secret"}}`,
		"invalid_field/uint32.json":             head + `"userProfileChanged":{"userID":"alice","level":4294967296}}`,
		"invalid_field/max-conversations.json":  head + `"appPlanChanged":{"maxConversations":1001}}`,

		"invalid_address/none.json":             head + `"messageSent":{"from":"alice","messageID":"m","sequence":1,"type":"t"}}`,
		"invalid_address/to-and-group.json":     sent(`"to":"bob"`),
		"invalid_address/system-and-group.json": sent(`"system":true`),
		"invalid_address/conversation-id.json":  head + `"conversationRead":{"userID":"alice","conversationID":"bob","sequence":1}}`,

		"body_count/none.json":       strings.TrimSuffix(head, ",") + `}`,
		"body_count/two.json":        head + `"userErased":{"userID":"alice"},"appPlanChanged":{}}`,
		"body_count/two.binpb":       string(wireHeader().bytes(34, string(erased)).bytes(33, "")),
		"body_count/unknown-no.json": head + `"reactionAdded":true}`,

		"too_large/event.json":                head + strings.Repeat(" ", 256*1024) + `"userErased":{"userID":"alice"}}`,
		"too_large/payload.json":              sent(`"payload":{"text":"` + text(64*1024) + `"}`),
		"too_large/cloud-custom-data.json":    sent(`"cloudCustomData":"` + text(8193) + `"`),
		"too_large/at-user-list.json":         sent(`"atUserList":[` + list(501, `"bob"`) + `]`),
		"too_large/nick.json":                 sent(`"nick":"` + text(4097) + `"`),
		"too_large/custom-data.json":          register("conversationCustomDataSet", `,"customData":"`+text(4097)+`"`),
		"too_large/draft-text.json":           register("conversationDraftSet", `,"draftText":"`+text(4097)+`"`),
		"too_large/mark-list.json":            register("conversationMarked", `,"markList":[`+list(1001, `1`)+`]`),
		"too_large/conversation-groups.json":  register("conversationGroupsSet", `,"conversationGroupList":[`+list(1001, `"a"`)+`]`),
		"too_large/profile.json":              head + `"userProfileChanged":{"userID":"alice","profileCustomField":[` + list(16, profile) + `]}}`,
		"too_large/profile-custom-field.json": head + `"userProfileChanged":{"userID":"alice","profileCustomField":[{"key":"k","value":"` + text(4097) + `"}]}}`,

		"time_out_of_range/1999.json":   `{"id":"e1","app":"demo","time":"1999-12-31T23:59:59.999999Z","userErased":{"userID":"alice"}}`,
		"time_out_of_range/ahead.json":  `{"id":"e1","app":"demo","time":"2026-11-23T03:10:05.000001Z","userErased":{"userID":"alice"}}`,
		"time_out_of_range/never.binpb": string(wire{}.bytes(1, "e1").bytes(2, "demo").bytes(3, string(wire{}.varint(1, 1<<62))).bytes(34, string(erased))),
	}
	values := make(map[string][]byte, len(samples))
	for name, value := range samples {
		values[name] = []byte(value)
	}
	return values
}
