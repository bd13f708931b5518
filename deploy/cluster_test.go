package deploy_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// cluster is what an overlay asks a cluster for.
type cluster struct {
	pods        []pod
	deployments map[string]*appsv1.Deployment
	configMaps  map[string]*corev1.ConfigMap
	services    map[string]*corev1.Service
	policies    []*networkingv1.NetworkPolicy
	monitors    []*monitoringv1.ServiceMonitor
	targets     []target
	topics      []topic
	brokers     []broker
	users       map[string][]acl
	databases   []string
}

// pod is what a Deployment, a StatefulSet or a Job makes.
type pod struct {
	owner    string // "Deployment projector"
	template corev1.PodTemplateSpec
}

// target is what scales a Deployment.
type target struct {
	scaler, deployment string
	most               int
	triggers           []trigger
}

// trigger is one of KEDA's.
type trigger struct {
	Type     string
	Metadata map[string]string
}

// broker is Strimzi's Kafka.
type broker struct {
	name  string
	ports []int
}

// acl is what a KafkaUser may do.
type acl struct {
	Resource   struct{ Type, Name, PatternType string }
	Operations []string
}

// decoder reads the resources of Kubernetes itself and of the Prometheus operator, and
// refuses what their types do not have.
var decoder = sync.OnceValue(func() runtime.Decoder {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, autoscalingv2.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme,
		networkingv1.AddToScheme, policyv1.AddToScheme, monitoringv1.AddToScheme,
	} {
		utilruntime.Must(add(scheme))
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
})

// operators are those whose resources are no Go types, and have a schema only if -crds gives
// one. Everything else has to be known.
var operators = []string{"kafka.strimzi.io/v1", "clickhouse.altinity.com/v1"}

// custom is what the tests look at in resources that are no Go types.
type custom struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		// ScaledObject
		ScaleTargetRef  struct{ Name string }
		MaxReplicaCount int
		Triggers        []trigger
		// Kafka
		Kafka struct {
			Listeners []struct{ Port int }
		}
		// KafkaTopic
		Partitions int
		Replicas   int
		Config     map[string]any
		// KafkaUser
		Authorization struct{ Acls []acl }
	}
}

// add takes a resource, as YAML.
func (c *cluster) add(known schemas, manifest []byte) error {
	var resource custom
	if err := yaml.Unmarshal(manifest, &resource.TypeMeta); err != nil {
		return err
	}
	validated, err := known.validate(resource.APIVersion+" "+resource.Kind, manifest)
	if err != nil {
		return err
	}
	if !validated && !slices.Contains(operators, resource.APIVersion) {
		return c.addTyped(manifest)
	}
	if !validated && *crds != "" {
		return fmt.Errorf("no definition of it in %s", *crds)
	}
	if err := yaml.Unmarshal(manifest, &resource); err != nil {
		return err
	}
	switch resource.Kind {
	case "ScaledObject":
		c.targets = append(c.targets, target{"ScaledObject " + resource.Name, resource.Spec.ScaleTargetRef.Name, resource.Spec.MaxReplicaCount, resource.Spec.Triggers})
	case "Kafka":
		b := broker{name: resource.Name}
		for _, l := range resource.Spec.Kafka.Listeners {
			b.ports = append(b.ports, l.Port)
		}
		c.brokers = append(c.brokers, b)
	case "KafkaTopic":
		t := topic{name: resource.Name, partitions: resource.Spec.Partitions, replicas: resource.Spec.Replicas, config: map[string]string{}}
		for key, value := range resource.Spec.Config {
			t.config[key] = fmt.Sprint(value)
			if number, ok := value.(float64); ok {
				t.config[key] = fmt.Sprintf("%.0f", number)
			}
		}
		c.topics = append(c.topics, t)
	case "KafkaUser":
		c.users[resource.Name] = resource.Spec.Authorization.Acls
	case "ClickHouseInstallation":
		c.databases = append(c.databases, resource.Name)
	}
	return nil
}

func (c *cluster) addTyped(manifest []byte) error {
	object, _, err := decoder().Decode(manifest, nil, nil)
	if err != nil {
		return err
	}
	switch o := object.(type) {
	case *appsv1.Deployment:
		c.deployments[o.Name] = o
		c.pods = append(c.pods, pod{"Deployment " + o.Name, o.Spec.Template})
	case *appsv1.StatefulSet:
		c.pods = append(c.pods, pod{"StatefulSet " + o.Name, o.Spec.Template})
	case *batchv1.Job:
		c.pods = append(c.pods, pod{"Job " + o.Name, o.Spec.Template})
	case *corev1.ConfigMap:
		c.configMaps[o.Name] = o
	case *corev1.Service:
		c.services[o.Name] = o
	case *networkingv1.NetworkPolicy:
		c.policies = append(c.policies, o)
	case *monitoringv1.ServiceMonitor:
		c.monitors = append(c.monitors, o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		c.targets = append(c.targets, target{scaler: "HorizontalPodAutoscaler " + o.Name, deployment: o.Spec.ScaleTargetRef.Name, most: int(o.Spec.MaxReplicas)})
	}
	return nil
}

// build has kustomize build an overlay with edits, and reads what comes out. Faults are
// those of building, reading and linting.
func build(t *testing.T, known schemas, overlay string, edits ...edit) (*cluster, faults) {
	t.Helper()
	memory := filesys.MakeFsInMemory()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, ".go") {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text := string(content)
		for _, e := range edits {
			if e.file == name {
				text = e.apply(t, text)
			}
		}
		return memory.WriteFile(path.Join("/deploy", name), []byte(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(memory, "/deploy/k8s/overlays/"+overlay)
	if err != nil {
		return nil, faults{err.Error()}
	}
	c := &cluster{
		deployments: map[string]*appsv1.Deployment{},
		configMaps:  map[string]*corev1.ConfigMap{},
		services:    map[string]*corev1.Service{},
		users:       map[string][]acl{},
	}
	var f faults
	var typed []string
	for _, resource := range built.Resources() {
		manifest, err := resource.AsYAML()
		if err == nil {
			err = c.add(known, manifest)
		}
		if err != nil {
			f.add("%s %s: %v", resource.GetKind(), resource.GetName(), err)
		}
		if group := resource.GetGvk().Group; !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
			typed = append(typed, string(manifest))
		}
	}
	return c, append(f, lint(strings.Join(typed, "---\n"))...)
}
