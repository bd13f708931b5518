package deploy_test

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
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
	servers     []pod          // that operators and charts make
	waves       map[string]int // in which Argo CD applies what: "Deployment projector"
	credentials []credential
	deployments map[string]*appsv1.Deployment
	configMaps  map[string]*corev1.ConfigMap
	services    map[string]*corev1.Service
	policies    []*networkingv1.NetworkPolicy
	budgets     []*policyv1.PodDisruptionBudget
	monitors    []*monitoringv1.ServiceMonitor
	targets     []target
	cronJobs    []*batchv1.CronJob
	topics      []topic
	brokers     []broker
	users       map[string][]acl
	databases   []database
}

// pod is what a Deployment, a StatefulSet, a Job or the like makes.
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
	name, version, metadata string
	ports                   []int
}

// database is Altinity's ClickHouse.
type database struct {
	name  string
	files map[string]string
}

// credential is a key of a Secret, and who takes it.
type credential struct{ owner, secret, key string }

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
		// TriggerAuthentication
		SecretTargetRef []struct{ Name, Key string }
		// Kafka
		Kafka struct {
			Version, MetadataVersion string
			Listeners                []struct{ Port int }
		}
		// ClickHouseInstallation
		Configuration struct{ Files map[string]string }
		Templates     struct{ PodTemplates []corev1.PodTemplateSpec }
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
		kafka := resource.Spec.Kafka
		b := broker{name: resource.Name, version: kafka.Version, metadata: kafka.MetadataVersion}
		for _, l := range kafka.Listeners {
			b.ports = append(b.ports, l.Port)
		}
		c.brokers = append(c.brokers, b)
		// As Strimzi labels them.
		c.serve("Kafka "+b.name, map[string]string{"strimzi.io/cluster": b.name, "strimzi.io/kind": "Kafka"}, b.ports...)
	case "TriggerAuthentication":
		for _, ref := range resource.Spec.SecretTargetRef {
			c.credentials = append(c.credentials, credential{"TriggerAuthentication " + resource.Name, ref.Name, ref.Key})
		}
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
		c.databases = append(c.databases, database{resource.Name, resource.Spec.Configuration.Files})
		owner := "ClickHouseInstallation " + resource.Name
		for _, template := range resource.Spec.Templates.PodTemplates {
			c.credentials = append(c.credentials, credentialsOf(owner, template.Spec)...)
			// The operator adds the ports of ClickHouse's protocols.
			server := &template.Spec.Containers[0]
			server.Ports = append(server.Ports, portsOf(9000, 8123)...)
			c.servers = append(c.servers, pod{owner, template})
		}
	}
	return nil
}

// serve adds a pod that others make, by what of it is known.
func (c *cluster) serve(owner string, labels map[string]string, ports ...int) {
	c.servers = append(c.servers, pod{owner, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Ports: portsOf(ports...)}}},
	}})
}

func portsOf(numbers ...int) (all []corev1.ContainerPort) {
	for _, number := range numbers {
		all = append(all, corev1.ContainerPort{ContainerPort: int32(number)})
	}
	return all
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
	case *batchv1.CronJob:
		c.cronJobs = append(c.cronJobs, o)
		c.pods = append(c.pods, pod{"CronJob " + o.Name, o.Spec.JobTemplate.Spec.Template})
	case *policyv1.PodDisruptionBudget:
		c.budgets = append(c.budgets, o)
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
		waves:       map[string]int{},
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
		wave, err := strconv.Atoi(cmp.Or(resource.GetAnnotations()["argocd.argoproj.io/sync-wave"], "0"))
		if err != nil {
			f.add("%s %s: %v", resource.GetKind(), resource.GetName(), err)
		}
		c.waves[resource.GetKind()+" "+resource.GetName()] = wave
		if group := resource.GetGvk().Group; !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
			typed = append(typed, string(manifest))
		}
	}
	for _, p := range c.pods {
		c.credentials = append(c.credentials, credentialsOf(p.owner, p.template.Spec)...)
	}
	if overlay == "production" {
		release, err := natsOfChart()
		if err != nil {
			f.add("%s", err)
		}
		// As the chart labels them; the exporter's port is the last.
		c.serve("chart "+release, map[string]string{"app.kubernetes.io/name": "nats", "app.kubernetes.io/instance": release}, 4222, 6222, 7777)
	}
	return c, append(f, lint(strings.Join(typed, "---\n"))...)
}
