package deploy_test

import (
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"encoding/xml"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestImage_IsStatic holds that the Dockerfile's build command gives programs that need no
// library of the image's, for both architectures, and that they say what they are built of.
func TestImage_IsStatic(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		dir := binaries
		if arch != runtime.GOARCH {
			dir = t.TempDir()
			if err := buildAsImage(arch, dir); err != nil {
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
	// What is copied has to be let into the context.
	ignore := readFile(t, "Dockerfile.dockerignore")
	for _, needed := range []string{"go.mod", "go.sum", "cmd", "internal", "schemas", ".git"} {
		if !strings.Contains(ignore, "\n!"+needed+"\n") {
			t.Errorf("Dockerfile.dockerignore leaves out %s", needed)
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
	for _, file := range []string{"compose.yaml", "k8s/overlays/small/kafka.yaml", "k8s/overlays/small/clickhouse.yaml", "k8s/overlays/small/nats.yaml", "k8s/overlays/production/clickhouse.yaml", "Dockerfile"} {
		text := readFile(t, file)
		for image, want := range map[string]string{
			"apache/kafka": kafka, "clickhouse/clickhouse-server": engine, "nats": nats + "-alpine",
		} {
			for _, m := range regexp.MustCompile(`image: `+image+`:(\S+)`).FindAllStringSubmatch(text, -1) {
				if m[1] != want {
					t.Errorf("%s has %s %s, want %s, which the tests run", file, image, m[1], want)
				}
			}
		}
		for _, m := range regexp.MustCompile(`FROM .*golang:(\d+\.\d+)`).FindAllStringSubmatch(text, -1) {
			if m[1] != language {
				t.Errorf("%s builds with Go %s, want %s", file, m[1], language)
			}
		}
	}
}
