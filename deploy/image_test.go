package deploy_test

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"encoding/xml"
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
			program := filepath.Join(dir, name)
			f, err := elf.Open(program)
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != machine {
				t.Errorf("%s for %s is for %v", name, arch, f.Machine)
			}
			for _, p := range f.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("%s for %s is not static: it has %v", name, arch, p.Type)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			info, err := buildinfo.ReadFile(program)
			if err != nil {
				t.Fatal(err)
			}
			settings := map[string]string{}
			for _, s := range info.Settings {
				settings[s.Key] = s.Value
			}
			if settings["CGO_ENABLED"] != "0" || settings["GOARCH"] != arch || settings["-trimpath"] != "true" {
				t.Errorf("%s for %s is built with %v", name, arch, settings)
			}
		}
	}
}

// TestImage_Stages holds what the Dockerfile is made of.
func TestImage_Stages(t *testing.T) {
	dockerfile := readFile(t, "Dockerfile")
	for _, want := range []string{
		`(?m)^FROM --platform=\$BUILDPLATFORM golang:[\d.]+-\w+ AS build$`,
		`(?m)^FROM gcr\.io/distroless/static-debian\d+:nonroot$`,
		`(?m)^ARG TARGETOS TARGETARCH$`,
		`(?m)^USER 65532:65532$`,
	} {
		if !regexp.MustCompile(want).MatchString(dockerfile) {
			t.Errorf("the Dockerfile has no %s", want)
		}
	}
}

// TestVersions holds that what is deployed is what is tested with.
func TestVersions(t *testing.T) {
	var pom struct {
		Dependencies []struct {
			Artifact string `xml:"artifactId"`
			Version  string `xml:"version"`
		} `xml:"dependencies>dependency"`
	}
	if err := xml.Unmarshal([]byte(readFile(t, "../tools/kafka/pom.xml")), &pom); err != nil {
		t.Fatal(err)
	}
	var packages struct{ Dependencies map[string]string }
	if err := json.Unmarshal([]byte(readFile(t, "../package.json")), &packages); err != nil {
		t.Fatal(err)
	}
	module := readFile(t, "../go.mod")
	pinned := func(pattern, text string) string {
		found := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if found == nil {
			t.Fatalf("no %s", pattern)
		}
		return found[1]
	}
	kafka := ""
	for _, d := range pom.Dependencies {
		if strings.HasPrefix(d.Artifact, "kafka_") {
			kafka = d.Version
		}
	}
	engine := pinned(`^(\d+\.\d+)\.`, packages.Dependencies["@chdb/lib-linux-x64-gnu"])
	nats := pinned(`nats-server/v2 v([\d.]+)`, module)
	language := pinned(`(?m)^go (\d+\.\d+)`, module)
	var images []string
	for _, file := range []string{"compose.yaml", "k8s/overlays/small/kafka.yaml", "k8s/overlays/small/clickhouse.yaml", "k8s/overlays/small/nats.yaml", "k8s/overlays/production/clickhouse.yaml"} {
		for _, m := range regexp.MustCompile(`image: (apache/kafka|clickhouse/clickhouse-server|nats):(\S+)`).FindAllStringSubmatch(readFile(t, file), -1) {
			images = append(images, m[1])
			if want := map[string]string{"apache/kafka": kafka, "clickhouse/clickhouse-server": engine, "nats": nats + "-alpine"}[m[1]]; m[2] != want {
				t.Errorf("%s has %s %s, want %s, which the tests run", file, m[1], m[2], want)
			}
		}
	}
	if len(images) != 9 {
		t.Errorf("found the images %q, want those of compose.yaml and both overlays", images)
	}
	if got := pinned(`FROM .*golang:(\d+\.\d+)`, readFile(t, "Dockerfile")); got != language {
		t.Errorf("the Dockerfile builds with Go %s, want %s", got, language)
	}

	// The chart is of the server's minor version or the one before, and runs the server.
	var values struct {
		Container struct{ Image struct{ Tag string } }
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "k8s/overlays/production/nats-values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	if got := values.Container.Image.Tag; got != nats+"-alpine" {
		t.Errorf("nats-values.yaml has NATS %s, want %s-alpine, which the tests run", got, nats)
	}
	// Strimzi says which versions of Kafka there are; none may be newer than what the tests run.
	c, f := build(t, resourceSchemas(t), "production")
	f.expect(t, "")
	for _, b := range c.brokers {
		checkKafkaVersion(b, kafka).expect(t, "")
	}
	for _, wrong := range []broker{{version: "4.5.0", metadata: "4.5-IV0"}, {version: "3.9.1", metadata: "3.9-IV0"}, {version: "4.3.1", metadata: "4.4-IV0"}} {
		checkKafkaVersion(wrong, kafka).expect(t, "Kafka")
	}
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
