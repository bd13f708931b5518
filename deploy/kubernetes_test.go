package deploy_test

import (
	"cmp"
	"flag"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// crds is a directory with the definitions of Strimzi's and Altinity's resources.
var crds = flag.String("crds", "", "directory with the CustomResourceDefinitions (*.yaml) of the operators in production, to hold our resources against, too")

// resourceSchemas are all that there are.
func resourceSchemas(t *testing.T) schemas {
	t.Helper()
	known, err := kedaSchemas()
	if err == nil && *crds != "" {
		err = known.read(*crds)
	}
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func TestOverlays(t *testing.T) {
	known := resourceSchemas(t)
	for _, overlay := range []string{"small", "production"} {
		t.Run(overlay, func(t *testing.T) {
			c, f := build(t, known, overlay)
			f.expect(t, "")
			if f == nil {
				c.check(overlay).expect(t, "")
			}
		})
	}
}

// TestOverlays_Refuse holds that the checks find what is wrong, each in an overlay with one
// mistake.
func TestOverlays_Refuse(t *testing.T) {
	known := resourceSchemas(t)
	const base, small, production = "k8s/base/", "k8s/overlays/small/", "k8s/overlays/production/"
	for _, c := range []struct {
		name    string
		overlay string
		edit
		want string
	}{
		{"a field that there is not", "small", edit{base + "query.yaml", "revisionHistoryLimit:", "revisionHistoryLimits:"}, `unknown field "spec.revisionHistoryLimits"`},
		{"a kind that there is not", "small", edit{base + "migrate.yaml", "kind: Job", "kind: Jobs"}, "Job"},
		{"a field that KEDA has not", "production", edit{production + "scaling.yaml", "pollingInterval:", "pollInterval:"}, "additional properties 'pollInterval' not allowed"},
		{"a field that a ServiceMonitor has not", "production", edit{production + "monitoring.yaml", "jobLabel:", "jobLabels:"}, `unknown field "spec.jobLabels"`},
		{"a writable root", "small", edit{base + "projector.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"}, "container-security-context-readonlyrootfilesystem"},
		{"no memory limit", "small", edit{base + "query.yaml", "              memory: 1Gi\n", ""}, "container-resources"},
		{"no budget for disruptions", "small", edit{base + "query.yaml", "  selector:\n    matchLabels:\n      app.kubernetes.io/name: query\n  strategy", "  selector:\n    matchLabels:\n      app.kubernetes.io/name: query\n      never: there\n  strategy"}, "query"},
		{"capabilities", "small", edit{base + "projector.yaml", "drop: [ALL]", "drop: [NET_RAW]"}, "projector: capabilities"},
		{"a setting that there is not", "small", edit{base + "kustomization.yaml", "CONVOVIEW_NATS_URL", "CONVOVIEW_NATS_URLS"}, "query has no setting CONVOVIEW_NATS_URLS"},
		{"a value that is refused", "production", edit{production + "kustomization.yaml", "CONVOVIEW_KAFKA_TLS=true", "CONVOVIEW_KAFKA_TLS=perhaps"}, "projector run --check"},
		{"a host that there is not", "small", edit{base + "kustomization.yaml", "nats://nats:4222", "nats://nets:4222"}, "nets:4222"},
		{"a port that is closed", "production", edit{production + "kafka.yaml", "port: 9093", "port: 9094"}, "chat-kafka-bootstrap:9093"},
		{"a policy without the port", "small", edit{base + "networkpolicies.yaml", "        - {port: 9092, protocol: TCP} # Kafka\n", ""}, "port 9092"},
		{"a port of another number", "small", edit{base + "query.yaml", "containerPort: 8081", "containerPort: 8080"}, "expected 8081"},
		{"a path that there is not", "small", edit{base + "projector.yaml", "path: /readyz", "path: /ready"}, "answers /ready with 404"},
		{"a path that says nothing", "small", edit{base + "projector.yaml", "path: /readyz", "path: /metrics"}, "although it is not ready"},
		{"no startup probe", "small", edit{base + "query.yaml", "startupProbe:\n            httpGet:\n              path: /healthz\n              port: admin\n            periodSeconds: 1\n            failureThreshold: 60\n          livenessProbe:", "livenessProbe:"}, "lacks a startup, liveness or readiness probe"},
		{"another image", "small", edit{base + "query.yaml", "image: convoview", "image: query:1"}, "our image is in"},
		{"too little time to stop", "small", edit{base + "projector.yaml", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 25"}, "expected more than 25s"},
		{"too little memory", "small", edit{base + "query.yaml", "memory: 1Gi", "memory: 800Mi"}, "800 MiB of memory"},
		{"more projectors than partitions", "production", edit{production + "scaling.yaml", "maxReplicaCount: 24", "maxReplicaCount: 25"}, "has 25 projectors at most: expected 24"},
		{"another group's lag", "production", edit{production + "scaling.yaml", "consumerGroup: convoview-projector", "consumerGroup: projector"}, "consumerGroup"},
		{"a secret that nobody makes", "production", edit{production + "secrets-projector.yaml", "name: chat-cluster-ca-cert", "name: chat-ca"}, "chat-ca"},
		{"a file that is not mounted", "production", edit{production + "secrets-projector.yaml", "path: kafka/user.key", "path: kafka/key"}, "/etc/convoview/secrets/kafka/user.key"},
		{"messages that go too soon", "production", edit{production + "topics.yaml", "retention.ms: 777600000", "retention.ms: 604800000"}, "chat.messages"},
		{"a topic that is missing", "production", edit{production + "topics.yaml", "name: chat.dead", "name: chat.deaf"}, "no topic chat.dead"},
		{"as few replicas as are needed to write", "production", edit{production + "topics.yaml", "replicas: 3\n  config:\n    cleanup.policy: compact", "replicas: 2\n  config:\n    cleanup.policy: compact"}, "chat.state has 2 replicas"},
		{"a user who may not write dead letters", "production", edit{production + "kafka.yaml", "operations: [Write,", "operations: ["}, "needs Write of the topic chat.dead"},
		{"a user who may not rebuild", "production", edit{production + "kafka.yaml", "name: convoview-projector, patternType: prefix", "name: convoview-projector, patternType: literal"}, "group convoview-projector-g2"},
		{"a monitor of another port", "production", edit{production + "monitoring.yaml", "port: admin", "port: metrics"}, "ServiceMonitor convoview"},
	} {
		t.Run(c.name, func(t *testing.T) {
			overlay, f := build(t, known, c.overlay, c.edit)
			if overlay != nil {
				f = append(f, overlay.check(c.overlay)...)
			}
			f.expect(t, c.want)
		})
	}
}

// check holds an overlay against our commands and against itself.
func (c *cluster) check(overlay string) (f faults) {
	provided := c.provided()
	if overlay == "production" {
		provided = append(provided, natsOfChart())
	}
	secrets := c.secrets()
	var ours []string
	for _, p := range c.pods {
		for _, container := range p.template.Spec.Containers {
			f = append(f, c.isolated(p, container)...)
			if strings.HasPrefix(container.Image, "convoview:") {
				ours = append(ours, p.owner)
				f = append(f, c.checkOurs(p, container, provided)...)
			}
		}
		for _, name := range secretsOf(p.template.Spec) {
			if !slices.Contains(secrets, name) {
				f.add("%s takes the Secret %s, which nothing here makes and docs/DEPLOY.md does not name", p.owner, name)
			}
		}
	}
	slices.Sort(ours)
	if want := []string{"Deployment projector", "Deployment query", "Job migrate"}; !slices.Equal(ours, want) {
		f.add("our image is in %q: expected it in %q", ours, want)
		return f
	}
	projector, _ := c.commandOf("projector")
	topics := c.topics
	if len(topics) == 0 {
		topics = scriptTopics(c.partitions())
	}
	f = append(f, checkTopics(projector, topics)...)
	if len(c.users) > 0 {
		f = append(f, checkUser(projector, c.users["projector"])...)
	}
	for _, scaler := range c.targets {
		f = append(f, c.checkScaler(scaler, projector, topics, provided)...)
	}
	for _, m := range c.monitors {
		for _, name := range []string{"projector", "query"} {
			if !c.monitored(m.Spec.Selector, m.Spec.Endpoints[0].Port, name) {
				f.add("ServiceMonitor %s does not find the port of the Service %s", m.Name, name)
			}
		}
	}
	return f
}

// checkOurs holds one of our containers against its command.
func (c *cluster) checkOurs(p pod, container corev1.Container, provided []string) (f faults) {
	run, mounted := c.command(p, container)
	run, missing := mounted.put(run)
	f = append(missing, run.check()...)
	if len(f) > 0 {
		return f // what it is like when it runs does not matter then
	}
	addresses, err := run.addresses()
	if err != nil {
		f.add("%s", err)
	}
	for _, address := range addresses {
		if !slices.Contains(provided, address) {
			f.add("%s connects to %s, where nothing listens: there are %s", p.owner, address, strings.Join(provided, ", "))
		}
		_, port, _ := net.SplitHostPort(address)
		if !c.mayReach(p, port) {
			f.add("no NetworkPolicy lets %s out to port %s", p.owner, port)
		}
	}
	if !c.mayReach(p, "53") {
		f.add("no NetworkPolicy lets %s out to DNS", p.owner)
	}
	if strings.HasPrefix(p.owner, "Job ") {
		return f
	}

	for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			f.add("%s lacks a startup, liveness or readiness probe by HTTP", p.owner)
			return f
		}
	}
	settings, err := run.settings()
	if err != nil {
		f.add("%s", err)
	}
	_, port, _ := net.SplitHostPort(settings[adminAddr])
	if got := containerPort(container, "admin"); strconv.Itoa(int(got)) != port {
		f.add("%s has its port admin at %d: expected %s, %s", p.owner, got, port, adminAddr)
	}
	if !c.mayBeReached(p, "admin") {
		f.add("no NetworkPolicy lets Prometheus reach %s", p.owner)
	}
	alive, ready := container.LivenessProbe.HTTPGet, container.ReadinessProbe.HTTPGet
	for _, probe := range []*corev1.HTTPGetAction{alive, ready, container.StartupProbe.HTTPGet} {
		if probe.Port.String() != "admin" {
			f.add("%s is asked at port %s: expected admin", p.owner, probe.Port.String())
		}
	}
	grace := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if given := p.template.Spec.TerminationGracePeriodSeconds; given != nil {
		grace = *given
	}
	f = append(f, graceFits(p.owner, run, time.Duration(grace)*time.Second)...)
	memory, faults := run.run(probes{alive: alive.Path, ready: ready.Path})
	f = append(f, faults...)
	return append(f, memoryFits(p.owner, container.Resources.Limits.Memory().Value(), memory)...)
}

// isolated holds what no container here may do.
func (c *cluster) isolated(p pod, container corev1.Container) (f faults) {
	context := cmp.Or(container.SecurityContext, &corev1.SecurityContext{})
	if context.Capabilities == nil || !slices.Equal(context.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(context.Capabilities.Add) > 0 {
		f.add("%s: capabilities: expected to drop ALL", p.owner)
	}
	if context.AllowPrivilegeEscalation == nil || *context.AllowPrivilegeEscalation {
		f.add("%s: expected allowPrivilegeEscalation: false", p.owner)
	}
	spec := p.template.Spec
	if s := spec.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		f.add("%s: expected runAsNonRoot and the seccomp profile RuntimeDefault", p.owner)
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		f.add("%s: expected automountServiceAccountToken: false", p.owner)
	}
	if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
		f.add("%s: expected enableServiceLinks: false, or its environment has settings that nobody gave", p.owner)
	}
	return f
}

// command is what a container runs, and the files that it finds there.
func (c *cluster) command(p pod, container corev1.Container) (command, files) {
	run := command{args: append(slices.Clone(container.Command), container.Args...), env: map[string]string{}}
	for _, from := range container.EnvFrom {
		if from.ConfigMapRef != nil && c.configMaps[from.ConfigMapRef.Name] != nil {
			maps.Copy(run.env, c.configMaps[from.ConfigMapRef.Name].Data)
		}
	}
	for _, v := range container.Env {
		run.env[v.Name] = v.Value
		if v.ValueFrom != nil {
			run.env[v.Name] = "a-secret"
		}
	}
	mounted := files{}
	for _, mount := range container.VolumeMounts {
		for _, volume := range p.template.Spec.Volumes {
			if volume.Name != mount.Name || volume.Projected == nil {
				continue
			}
			for _, source := range volume.Projected.Sources {
				for _, item := range source.Secret.Items {
					mounted[mount.MountPath+"/"+item.Path] = true
				}
			}
		}
	}
	return run, mounted
}

// commandOf is what a Deployment runs.
func (c *cluster) commandOf(deployment string) (command, files) {
	for _, p := range c.pods {
		if p.owner == "Deployment "+deployment {
			return c.command(p, p.template.Spec.Containers[0])
		}
	}
	return command{}, nil
}

// provided are the addresses at which something listens.
func (c *cluster) provided() (all []string) {
	for _, s := range c.services {
		for _, port := range s.Spec.Ports {
			all = append(all, s.Name+":"+strconv.Itoa(int(port.Port)))
		}
	}
	for _, b := range c.brokers {
		for _, port := range b.ports {
			all = append(all, b.name+"-kafka-bootstrap:"+strconv.Itoa(port))
		}
	}
	for _, name := range c.databases {
		all = append(all, "clickhouse-"+name+":9000")
	}
	slices.Sort(all)
	return all
}

var helmRelease = regexp.MustCompile(`helm install (\S+) nats/nats --namespace convoview`)

// natsOfChart is the address that the NATS chart gives with our values.
func natsOfChart() string {
	values, err := os.ReadFile("k8s/overlays/production/nats-values.yaml")
	if found := helmRelease.FindSubmatch(values); err == nil && found != nil {
		return string(found[1]) + ":4222"
	}
	return "no NATS"
}

// secrets are those that operators make, and those that the operator of convoview is told to.
func (c *cluster) secrets() []string {
	all := slices.Collect(maps.Keys(c.users))
	for _, b := range c.brokers {
		all = append(all, b.name+"-cluster-ca-cert")
	}
	page, err := os.ReadFile("../docs/DEPLOY.md")
	if err != nil {
		return all
	}
	for _, m := range regexp.MustCompile(`create secret generic (\S+)`).FindAllStringSubmatch(string(page), -1) {
		all = append(all, m[1])
	}
	return all
}

func secretsOf(spec corev1.PodSpec) (all []string) {
	for _, container := range spec.Containers {
		for _, v := range container.Env {
			if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
				all = append(all, v.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	for _, volume := range spec.Volumes {
		if volume.Projected != nil {
			for _, source := range volume.Projected.Sources {
				all = append(all, source.Secret.Name)
			}
		}
	}
	return all
}

func containerPort(container corev1.Container, name string) int32 {
	for _, p := range container.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// mayReach says whether some NetworkPolicy lets a pod out to a port.
func (c *cluster) mayReach(p pod, port string) bool {
	for _, policy := range c.policiesOf(p) {
		for _, rule := range policy.Spec.Egress {
			if hasPort(rule.Ports, port) {
				return true
			}
		}
	}
	return false
}

func (c *cluster) mayBeReached(p pod, port string) bool {
	for _, policy := range c.policiesOf(p) {
		for _, rule := range policy.Spec.Ingress {
			if hasPort(rule.Ports, port) {
				return true
			}
		}
	}
	return false
}

func (c *cluster) policiesOf(p pod) (all []*networkingv1.NetworkPolicy) {
	for _, policy := range c.policies {
		if selects(&policy.Spec.PodSelector, p.template.Labels) {
			all = append(all, policy)
		}
	}
	return all
}

func hasPort(ports []networkingv1.NetworkPolicyPort, port string) bool {
	return slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.String() == port })
}

func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(labels.Set(of))
}

func (c *cluster) monitored(selector metav1.LabelSelector, port, service string) bool {
	s := c.services[service]
	return s != nil && selects(&selector, s.Labels) && slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port })
}

// partitions is how many partitions the Job gives a topic.
func (c *cluster) partitions() int {
	for _, p := range c.pods {
		for _, v := range p.template.Spec.Containers[0].Env {
			if v.Name == "PARTITIONS" {
				n, _ := strconv.Atoi(v.Value)
				return n
			}
		}
	}
	return 0
}

// checkUser holds what a Kafka user may do against what a projector does.
func checkUser(projector command, acls []acl) (f faults) {
	settings, err := projector.settings()
	if err != nil {
		return faults{err.Error()}
	}
	need := func(kind, name, operation string) {
		if !slices.ContainsFunc(acls, func(a acl) bool {
			named := a.Resource.Name == name || a.Resource.PatternType == "prefix" && strings.HasPrefix(name, a.Resource.Name)
			return a.Resource.Type == kind && named && slices.Contains(a.Operations, operation)
		}) {
			f.add("KafkaUser projector: it needs %s of the %s %s", operation, kind, name)
		}
	}
	for topic := range strings.SplitSeq(settings["CONVOVIEW_KAFKA_TOPICS"], ",") {
		need("topic", topic, "Read")
		need("topic", topic, "Describe")
		need("topic", topic, "DescribeConfigs")
	}
	need("topic", settings["CONVOVIEW_KAFKA_DEAD_TOPIC"], "Write")
	need("topic", settings["CONVOVIEW_KAFKA_DEAD_TOPIC"], "DescribeConfigs")
	need("group", settings["CONVOVIEW_KAFKA_GROUP"], "Read")
	need("group", settings["CONVOVIEW_KAFKA_GROUP"]+"-g2", "Read") // a rebuild's
	return f
}

// checkScaler holds what scales a Deployment against it.
func (c *cluster) checkScaler(s target, projector command, topics []topic, provided []string) (f faults) {
	deployment := c.deployments[s.deployment]
	if deployment == nil {
		f.add("%s scales %s, which there is not", s.scaler, s.deployment)
		return f
	}
	if deployment.Spec.Replicas != nil {
		f.add("Deployment %s says how many there are, and so does %s", s.deployment, s.scaler)
	}
	if s.deployment != "projector" {
		return f
	}
	settings, err := projector.settings()
	if err != nil {
		return faults{err.Error()}
	}
	partitions := 0
	for _, t := range topics {
		if slices.Contains(strings.Split(settings["CONVOVIEW_KAFKA_TOPICS"], ","), t.name) {
			partitions += t.partitions
		}
	}
	if s.most != partitions {
		f.add("%s has %d projectors at most: expected %d, the partitions of the topics", s.scaler, s.most, partitions)
	}
	for _, t := range s.triggers {
		if group := settings["CONVOVIEW_KAFKA_GROUP"]; t.Metadata["consumerGroup"] != group {
			f.add("%s looks at the consumerGroup %s: expected %s", s.scaler, t.Metadata["consumerGroup"], group)
		}
		// KEDA is in a namespace of its own.
		if server := strings.Replace(t.Metadata["bootstrapServers"], ".convoview.svc:", ":", 1); !slices.Contains(provided, server) {
			f.add("%s asks %s, where no Kafka listens", s.scaler, t.Metadata["bootstrapServers"])
		}
	}
	return f
}
