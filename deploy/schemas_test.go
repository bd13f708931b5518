package deploy_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	_ "github.com/kedacore/keda/v2/version" // its module has the definitions of its resources
	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"
)

// schemas are those of custom resources, by "apiVersion kind".
type schemas map[string]*jsonschema.Schema

// kedaSchemas are those that KEDA's module has.
func kedaSchemas() (schemas, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2").Output()
	if err != nil {
		return nil, fmt.Errorf("ask where KEDA's module is: %w", err)
	}
	all := schemas{}
	return all, all.read(filepath.Join(strings.TrimSpace(string(dir)), "config/crd/bases"))
}

// read adds the definitions in the YAML files of a directory.
func (s schemas) read(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no definitions in %s: %w", dir, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for document := range strings.SplitSeq("\n"+string(content), "\n---") {
			if err := s.add(document); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

// add adds a definition; other documents are left out.
func (s schemas) add(document string) error {
	var definition struct {
		Kind string
		Spec struct {
			Group    string
			Names    struct{ Kind string }
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(document), &definition); err != nil || definition.Kind != "CustomResourceDefinition" {
		return err
	}
	for _, version := range definition.Spec.Versions {
		name := definition.Spec.Group + "/" + version.Name + " " + definition.Spec.Names.Kind
		compiler := jsonschema.NewCompiler()
		url := "crd:" + strings.ReplaceAll(name, " ", "/")
		if err := compiler.AddResource(url, strict(version.Schema.OpenAPIV3Schema)); err != nil {
			return err
		}
		schema, err := compiler.Compile(url)
		if err != nil {
			return err
		}
		s[name] = schema
	}
	return nil
}

// strict makes a schema of Kubernetes one that refuses fields it does not name. Kubernetes
// itself drops them.
func strict(node any) any {
	switch node := node.(type) {
	case map[string]any:
		for key, value := range node {
			node[key] = strict(value)
		}
		_, properties := node["properties"].(map[string]any)
		_, others := node["additionalProperties"]
		if properties && !others && node["x-kubernetes-preserve-unknown-fields"] != true && node["type"] == "object" {
			node["additionalProperties"] = false
		}
		if node["nullable"] == true {
			node["type"] = []any{node["type"], "null"}
		}
	case []any:
		for i, value := range node {
			node[i] = strict(value)
		}
	}
	return node
}

// validate holds a resource against its schema, if there is one.
func (s schemas) validate(kind string, resource []byte) (known bool, err error) {
	schema, ok := s[kind]
	if !ok {
		return false, nil
	}
	content, err := yaml.YAMLToJSON(resource)
	if err != nil {
		return true, err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	if err != nil {
		return true, err
	}
	return true, schema.Validate(value)
}
