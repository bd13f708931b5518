package deploy_test

import (
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// stage is the Dockerfile's first, line by line.
var stage = regexp.MustCompile(`(?s)\nFROM [^\n]* AS build\n(.*?)\nFROM `)

// buildAsImage has the first stage of a Dockerfile build for an architecture: its commands
// find what it copies of what .dockerignore lets in, and nothing else.
func buildAsImage(dockerfile, arch, out string) error {
	work, err := os.MkdirTemp("", "convoview-image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	found := stage.FindStringSubmatch(dockerfile)
	if found == nil {
		return errors.New("the Dockerfile has no stage build")
	}
	for line := range strings.Lines(strings.ReplaceAll(found[1], "\\\n", " ")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "COPY":
			err = copyContext(work, words[1:len(words)-1], words[len(words)-1])
		case "RUN":
			words = slices.DeleteFunc(words[1:], func(word string) bool { return strings.HasPrefix(word, "--mount=") })
			run := exec.Command("sh", "-c", strings.ReplaceAll(strings.Join(words, " "), "/out/", out+"/"))
			run.Dir, run.Env = work, append(os.Environ(), "TARGETOS=linux", "TARGETARCH="+arch)
			var log []byte
			if log, err = run.CombinedOutput(); err != nil {
				err = fmt.Errorf("%s: %w\n%s", run, err, log)
			}
		case "WORKDIR", "ARG", "#":
		default:
			err = fmt.Errorf("nobody here knows what %s does", words[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copyContext copies files and directories of the build's context, as COPY does.
func copyContext(work string, sources []string, target string) error {
	ignored, err := patterns("Dockerfile.dockerignore")
	if err != nil {
		return err
	}
	for _, source := range sources {
		err := fs.WalkDir(os.DirFS(".."), source, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			// Nothing here asks which commit it is.
			if ignored.match(name) || name == ".git" {
				if entry.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if entry.IsDir() {
				return nil
			}
			content, err := os.ReadFile(filepath.Join("..", name))
			if err != nil {
				return err
			}
			to := filepath.Join(work, target, filepath.Base(name))
			if source == "." {
				to = filepath.Join(work, target, name)
			}
			if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
				return err
			}
			return os.WriteFile(to, content, 0o600)
		})
		if err != nil {
			return fmt.Errorf("COPY %s: %w", source, err)
		}
	}
	return nil
}

// ignores are the patterns of a .dockerignore: paths, or endings of names after "**/*".
type ignores []string

func (i ignores) match(name string) bool {
	return slices.ContainsFunc(i, func(pattern string) bool {
		ending, anywhere := strings.CutPrefix(pattern, "**/*")
		inside, deep := strings.CutPrefix(pattern, "**/")
		return pattern == name || anywhere && strings.HasSuffix(name, ending) || deep && strings.HasSuffix("/"+name, "/"+inside)
	})
}

// patterns are the lines of a file but for comments.
func patterns(name string) (ignores, error) {
	content, err := os.ReadFile(name)
	var all ignores
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all, err
}

// TestImage_Context holds that the image is built of what git has: what is tracked and left
// out would count as deleted.
func TestImage_Context(t *testing.T) {
	git, err := patterns("../.gitignore")
	if err != nil {
		t.Fatal(err)
	}
	docker, err := patterns("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	for i, pattern := range git {
		pattern = strings.TrimSuffix(pattern, "/")
		if rooted, ok := strings.CutPrefix(pattern, "/"); ok {
			git[i] = rooted
		} else {
			git[i] = "**/" + strings.TrimPrefix(pattern, "**/")
		}
	}
	if !slices.Equal(git, docker) {
		t.Errorf("Dockerfile.dockerignore leaves out %q: expected %q, as .gitignore", docker, git)
	}
}

// TestImage_Refuse holds that a build that lacks something fails.
func TestImage_Refuse(t *testing.T) {
	lacking := edit{"Dockerfile", "COPY client/go.mod client/go.sum client/\n", ""}.apply(t, readFile(t, "Dockerfile"))
	if err := buildAsImage(lacking, runtime.GOARCH, t.TempDir()); err == nil || !strings.Contains(err.Error(), "client") {
		t.Errorf("without the client's go.mod: %v", err)
	}
}

// TestImage_IsStatic holds that the Dockerfile's build command gives programs that need no
// library of the image's, for both architectures, and that they say what they are built of.
func TestImage_IsStatic(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		dir := binaries
		if arch != runtime.GOARCH {
			dir = t.TempDir()
			if err := buildAsImage(readFile(t, "Dockerfile"), arch, dir); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"projector", "query"} {
			checkProgram(filepath.Join(dir, name), arch, machine).expect(t, "")
		}
	}
	checkProgram(filepath.Join(binaries, "query"), "s390x", elf.EM_S390).expect(t, "is for EM_")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	checkProgram(self, runtime.GOARCH, elf.EM_X86_64).expect(t, "is built with")
}

// checkProgram holds that a program needs no library, and says what it is built of.
func checkProgram(program, arch string, machine elf.Machine) (f faults) {
	file, err := elf.Open(program)
	if err != nil {
		return faults{err.Error()}
	}
	defer func() { _ = file.Close() }()
	if file.Machine != machine {
		f.add("%s for %s is for %v", program, arch, file.Machine)
	}
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			f.add("%s for %s is not static: it has %v", program, arch, p.Type)
		}
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return append(f, err.Error())
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if settings["CGO_ENABLED"] != "0" || settings["GOARCH"] != arch || settings["-trimpath"] != "true" {
		f.add("%s for %s is built with %v", program, arch, settings)
	}
	return f
}

// TestImage_Stages holds what the Dockerfile is made of.
func TestImage_Stages(t *testing.T) {
	dockerfile := readFile(t, "Dockerfile")
	checkStages(dockerfile).expect(t, "")
	checkStages(edit{"Dockerfile", "USER 65532:65532", "USER root"}.apply(t, dockerfile)).expect(t, "USER 65532")
	checkStages(edit{"Dockerfile", ":nonroot", ""}.apply(t, dockerfile)).expect(t, "distroless")
}

func checkStages(dockerfile string) (f faults) {
	for _, want := range []string{
		`(?m)^FROM --platform=\$BUILDPLATFORM golang:[\d.]+-\w+ AS build$`,
		`(?m)^FROM gcr\.io/distroless/static-debian\d+:nonroot$`,
		`(?m)^ARG TARGETOS TARGETARCH$`,
		`(?m)^USER 65532:65532$`,
	} {
		if !regexp.MustCompile(want).MatchString(dockerfile) {
			f.add("the Dockerfile has no %s", want)
		}
	}
	return f
}

// TestVersions holds that what is deployed is what is tested with.
func TestVersions(t *testing.T) {
	checkVersions(t).expect(t, "")
	for _, c := range []struct {
		edit
		want string
	}{
		{edit{"compose.yaml", "  topics:\n…apache/kafka:4.4.0", "apache/kafka:4.3.0"}, "compose.yaml has apache/kafka 4.3.0"},
		{edit{"k8s/overlays/small/clickhouse.yaml", "clickhouse-server:26.7", "clickhouse-server:26.6"}, "small/clickhouse.yaml has clickhouse/clickhouse-server 26.6"},
		{edit{"k8s/overlays/small/nats.yaml", "image: nats:2", "image: nats:1"}, "small/nats.yaml has nats 1."},
		{edit{"k8s/overlays/production/clickhouse.yaml", "image: clickhouse/", "image: elsewhere/clickhouse/"}, "found 8 images"},
		{edit{"k8s/overlays/production/nats-values.yaml", "tag: 2", "tag: 1"}, "nats-values.yaml has NATS 1."},
		{edit{"k8s/overlays/production/kafka.yaml", "version: 4.3.1", "version: 4.5.0"}, "Kafka 4.5.0: expected 4.0 to"},
		{edit{"k8s/overlays/production/kafka.yaml", "version: 4.3.1", "version: 3.9.1"}, "Kafka 3.9.1: expected 4.0 to"},
		{edit{"k8s/overlays/production/kafka.yaml", "metadataVersion: 4.3", "metadataVersion: 4.4"}, "has the metadata version 4.4-IV0"},
		{edit{"Dockerfile", "golang:1.", "golang:2."}, "builds with Go 2."},
	} {
		checkVersions(t, c.edit).expect(t, c.want)
	}
}

// checkVersions holds the versions in files, of which one has a mistake, against those of the
// tests.
func checkVersions(t *testing.T, edits ...edit) (f faults) {
	t.Helper()
	read := edited(t, edits)
	pinned := func(pattern, text string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s", pattern)
		}
		return found[1]
	}
	kafka := pinned(`<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)<`, read("../tools/kafka/pom.xml"))
	engine := pinned(`"@chdb/lib-linux-x64-gnu": "(\d+\.\d+)\.`, read("../package.json"))
	module := read("../go.mod")
	nats := pinned(`nats-server/v2 v([\d.]+)`, module)

	images := 0
	for _, file := range []string{"compose.yaml", "k8s/overlays/small/kafka.yaml", "k8s/overlays/small/clickhouse.yaml", "k8s/overlays/small/nats.yaml", "k8s/overlays/production/clickhouse.yaml"} {
		for _, m := range regexp.MustCompile(`image: (apache/kafka|clickhouse/clickhouse-server|nats):(\S+)`).FindAllStringSubmatch(read(file), -1) {
			images++
			if want := map[string]string{"apache/kafka": kafka, "clickhouse/clickhouse-server": engine, "nats": nats + "-alpine"}[m[1]]; m[2] != want {
				f.add("%s has %s %s: expected %s, which the tests run", file, m[1], m[2], want)
			}
		}
	}
	if images != 9 {
		f.add("found %d images: expected 9, of compose.yaml and both overlays", images)
	}
	if got, want := pinned(`FROM .*golang:(\d+\.\d+)`, read("Dockerfile")), pinned(`(?m)^go (\d+\.\d+)`, module); got != want {
		f.add("the Dockerfile builds with Go %s: expected %s", got, want)
	}

	// Of NATS' chart.
	var values struct {
		Container struct{ Image struct{ Tag string } }
	}
	if err := yaml.Unmarshal([]byte(read("k8s/overlays/production/nats-values.yaml")), &values); err != nil {
		f.add("%s", err)
	}
	if got := values.Container.Image.Tag; got != nats+"-alpine" {
		f.add("nats-values.yaml has NATS %s: expected %s-alpine, which the tests run", got, nats)
	}
	// Strimzi says which versions of Kafka there are; none may be newer than what the tests run.
	c, built := build(t, resourceSchemas(t), "production", edits...)
	f = append(f, built...)
	if c == nil {
		return f
	}
	for _, b := range c.brokers {
		f = append(f, checkKafkaVersion(b, kafka)...)
	}
	return f
}

// checkKafkaVersion holds a version of Kafka against that of the tests.
func checkKafkaVersion(b broker, tested string) (f faults) {
	var major, minor, testedMajor, testedMinor int
	for text, into := range map[string][]any{b.version: {&major, &minor}, tested: {&testedMajor, &testedMinor}} {
		if _, err := fmt.Sscanf(text, "%d.%d", into...); err != nil {
			f.add("Kafka %q: %v", text, err)
		}
	}
	if major != testedMajor || minor > testedMinor {
		f.add("Kafka %s: expected %d.0 to %s, which the tests run", b.version, testedMajor, tested)
	}
	if want := fmt.Sprintf("%d.%d-", major, minor); !strings.HasPrefix(b.metadata, want) {
		f.add("Kafka %s has the metadata version %s: expected %sIV…", b.version, b.metadata, want)
	}
	return f
}
