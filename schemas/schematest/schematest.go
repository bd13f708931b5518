// Package schematest compiles the JSON Schemas of schemas for tests, those in
// asyncapi.yaml included.
package schematest

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// Schema is a compiled schema.
type Schema struct{ compiled *jsonschema.Schema }

// Compile compiles the schema at a place below schemas, such as
// "json/event.json#/$defs/messageSent". It takes formats as assertions.
func Compile(t testing.TB, place string) Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return compile(t, c, place)
}

// CompileLoosely does so as those do whom a schema leaves the most: formats are no
// assertions, and in patterns $ is before a newline at the end, too, as in Python, Java and .NET.
func CompileLoosely(t testing.TB, place string) Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(pattern string) (jsonschema.Regexp, error) {
		compiled, err := regexp.Compile(strings.ReplaceAll(pattern, "$", `\n?$`))
		return compiled, err
	})
	return compile(t, c, place)
}

func compile(t testing.TB, c *jsonschema.Compiler, place string) Schema {
	t.Helper()
	c.UseLoader(files{})
	compiled, err := c.Compile("file://" + filepath.Join(Dir(), place))
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	return Schema{compiled}
}

// Validate says what is wrong with a value in JSON.
func (s Schema) Validate(value []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	return s.compiled.Validate(v)
}

// Dir is the directory schemas.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

// ReadYAML reads a file of schemas in YAML, or in JSON, which is YAML, too.
func ReadYAML(path string) (v any, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return v, yaml.Unmarshal(data, &v)
}

// files loads files in both notations.
type files struct{}

func (files) Load(url string) (any, error) {
	path, err := jsonschema.FileLoader{}.ToFile(url)
	if err != nil {
		return nil, err
	}
	if filepath.Ext(path) == ".yaml" {
		return ReadYAML(path)
	}
	return jsonschema.FileLoader{}.Load(url)
}
