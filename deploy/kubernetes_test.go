package deploy_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
		{"a port that is closed", "production", edit{production + "kafka.yaml", "port: 9093", "port: 9094"}, "chat-kafka-bootstrap:9093, where nothing listens"},
		{"a policy without the port", "small", edit{base + "networkpolicies.yaml", "  name: query\n…port: 9000", "port: 9001"}, "no NetworkPolicy lets Deployment query reach clickhouse:9000"},
		{"a policy without DNS", "small", edit{base + "networkpolicies.yaml", "{port: 53, protocol: UDP}", "{port: 54, protocol: UDP}"}, "no NetworkPolicy lets Job migrate out to DNS"},
		{"a monitoring of another name", "small", edit{base + "networkpolicies.yaml", "  name: projector\n…name: monitoring", "name: monitorin"}, "Prometheus reaches port 8080 of Deployment projector: false"},
		{"a service that is open", "small", edit{base + "networkpolicies.yaml", "  name: projector\n…            matchLabels:\n              kubernetes.io/metadata.name: monitoring\n", "            {}\n"}, "a stranger reaches port 8080 of Deployment projector: true"},
		{"Kafka without backends", "small", edit{small + "networkpolicies.yaml", "  name: kafka\n…convoview/backend:", "convoview/backends:"}, "a backend reaches port 9092 of StatefulSet kafka: false"},
		{"NATS that is open", "small", edit{small + "networkpolicies.yaml", "  name: nats\n…{matchLabels: {convoview/backend: \"true\"}}", "{}"}, "a stranger reaches port 4222 of StatefulSet nats: true"},
		{"ClickHouse that is closed", "small", edit{small + "networkpolicies.yaml", "        - {port: native, protocol: TCP}\n", ""}, "no NetworkPolicy lets Deployment query reach clickhouse:9000"},
		{"ClickHouse without analysts", "small", edit{small + "networkpolicies.yaml", "{convoview/analyst:", "{convoview/analysts:"}, "an analyst reaches port 9000 of StatefulSet clickhouse: false"},
		{"topics that do not reach Kafka", "small", edit{small + "networkpolicies.yaml", "  name: topics\n…port: kafka", "port: kafkas"}, "no NetworkPolicy lets Job topics reach kafka:9092"},
		{"ClickHouse without its operator", "production", edit{production + "networkpolicies.yaml", "name: clickhouse-operator}", "name: kube-system}"}, "ClickHouse's operator reaches port 8123 of ClickHouseInstallation convoview: false"},
		{"ClickHouse for strangers", "production", edit{production + "networkpolicies.yaml", "{matchLabels: {convoview/analyst: \"true\"}}", "{}"}, "a stranger reaches port 8123 of ClickHouseInstallation convoview: true"},
		{"ClickHouse without metrics", "production", edit{production + "networkpolicies.yaml", "port: 9363", "port: 9364"}, "Prometheus reaches port 9363 of ClickHouseInstallation convoview: false"},
		{"NATS for strangers", "production", edit{production + "networkpolicies.yaml", "        - namespaceSelector: {matchLabels: {convoview/backend: \"true\"}}\n", "        - namespaceSelector: {}\n"}, "a stranger reaches port 4222 of chart nats: true"},
		{"NATS without routes", "production", edit{production + "networkpolicies.yaml", "  name: nats\n…port: 6222", "port: 6223"}, "chart nats does not reach itself at port 6222"},
		{"a budget for a Job's pod", "small", edit{base + "operator.yaml", "          labels:\n            app.kubernetes.io/name: operator", "          labels:\n            app.kubernetes.io/name: projector"}, "PodDisruptionBudget projector selects the pod of CronJob operator"},
		{"a verdict that is asked for again", "small", edit{base + "operator.yaml", "values: [1, 2]", "values: [1]"}, "CronJob operator runs again what has ended with status 2"},
		{"a rebuild that ends with its node", "small", edit{base + "operator.yaml", "type: DisruptionTarget", "type: DisruptionTargets"}, "CronJob operator does not run again what was evicted"},
		{"a migration before its servers", "small", edit{base + "migrate.yaml", "sync-wave: \"1\"", "sync-wave: \"-1\""}, "StatefulSet clickhouse is applied in wave 0: expected it before Job migrate"},
		{"a service before the migration", "production", edit{base + "query.yaml", "sync-wave: \"2\"", "sync-wave: \"1\""}, "Deployment query is applied in wave 1: expected it after Job migrate"},
		{"another role's account", "small", edit{base + "query.yaml", "value: convoview_query", "value: convoview_projector"}, "Deployment query connects to ClickHouse as convoview_projector: expected convoview_query"},
		{"another role's password", "small", edit{base + "migrate.yaml", "key: operator", "key: query"}, "Job migrate has the password of clickhouse query: expected clickhouse operator"},
		{"a password in the environment", "production", edit{base + "projector.yaml", "name: CONVOVIEW_CLICKHOUSE_PASSWORD_FILE", "name: CONVOVIEW_CLICKHOUSE_PASSWORD"}, "Deployment projector has CONVOVIEW_CLICKHOUSE_PASSWORD in its environment"},
		{"roles that a server without a store would have to make", "small", edit{base + "migrate.yaml", ", --roles=false]", "]"}, "Job migrate would make roles"},
		{"a password that the server has not", "small", edit{small + "clickhouse.yaml", "{name: CLICKHOUSE_ANALYST_PASSWORD, valueFrom: {secretKeyRef: {name: clickhouse, key: analyst}}}", "{name: CLICKHOUSE_ANALYST_PASSWORD, value: analyst}"}, "StatefulSet clickhouse takes CLICKHOUSE_ANALYST_PASSWORD from"},
		{"a password that is another's", "production", edit{production + "clickhouse.yaml", "key: operator", "key: projector"}, "ClickHouseInstallation convoview takes CLICKHOUSE_OPERATOR_PASSWORD from clickhouse projector"},
		{"accounts that are not there", "production", edit{production + "kustomization.yaml", "users.d/convoview.xml", "user.d/convoview.xml"}, "ClickHouseInstallation convoview has other accounts"},
		{"a setting of traces where there are none", "small", edit{base + "migrate.yaml", "          env:\n", "          env:\n            - {name: OTEL_SERVICE_NAME, value: migrate}\n"}, "has no setting OTEL_SERVICE_NAME"},
		{"traces that nobody lets out", "small", edit{base + "query.yaml", "          env:\n", "          env:\n            - {name: CONVOVIEW_OTLP_ENDPOINT, value: \"http://collector.tracing.svc:4318\"}\n"}, "no NetworkPolicy lets Deployment query reach collector.tracing.svc:4318"},
		{"a scaler with a secret that nobody makes", "production", edit{production + "scaling.yaml", "      name: keda\n      key: user.crt", "      name: kedda\n      key: user.crt"}, "TriggerAuthentication kafka takes user.crt of the Secret kedda"},
		{"a scaler with a key that there is not", "production", edit{production + "scaling.yaml", "key: user.key", "key: user.pem"}, "TriggerAuthentication kafka takes user.pem of the Secret keda"},
		{"a key that nobody has made", "small", edit{base + "query.yaml", "key: query", "key: queries"}, "Deployment query takes queries of the Secret clickhouse"},
		{"a port of another number", "small", edit{base + "query.yaml", "containerPort: 8081", "containerPort: 8080"}, "expected 8081"},
		{"a path that there is not", "small", edit{base + "projector.yaml", "path: /readyz", "path: /ready"}, "answers /ready with 404"},
		{"a path that says nothing", "small", edit{base + "projector.yaml", "path: /readyz", "path: /metrics"}, "although it is not ready"},
		{"no startup probe", "small", edit{base + "query.yaml", "startupProbe:\n            httpGet:\n              path: /healthz\n              port: admin\n            periodSeconds: 1\n            failureThreshold: 60\n          livenessProbe:", "livenessProbe:"}, "lacks a startup, liveness or readiness probe"},
		{"another image", "small", edit{base + "query.yaml", "image: convoview", "image: query:1"}, "our image is in"},
		{"too little time to stop", "small", edit{base + "projector.yaml", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 25"}, "expected more than 25s"},
		{"too little memory", "small", edit{base + "query.yaml", "memory: 1Gi", "memory: 800Mi"}, "800 MiB of memory"},
		{"more projectors than partitions", "production", edit{production + "scaling.yaml", "maxReplicaCount: 24", "maxReplicaCount: 25"}, "has 25 projectors at most: expected 24"},
		{"another group's lag", "production", edit{production + "scaling.yaml", "consumerGroup: convoview-projector", "consumerGroup: projector"}, "consumerGroup"},
		{"a secret that nobody makes", "production", edit{production + "kustomization.yaml", "kind: CronJob…name: chat-cluster-ca-cert", "name: chat-ca"}, "chat-ca"},
		{"a file that is not mounted", "production", edit{production + "kustomization.yaml", "kind: Deployment, name: projector}\n    patch: |\n      - op: add\n        path: /spec/template…path: kafka/user.key", "path: kafka/key"}, "/etc/convoview/secrets/kafka/user.key"},
		{"messages that go too soon", "production", edit{production + "topics.yaml", "retention.ms: 777600000", "retention.ms: 604800000"}, "chat.messages"},
		{"a topic that is missing", "production", edit{production + "topics.yaml", "name: chat.dead", "name: chat.deaf"}, "no topic chat.dead"},
		{"as few replicas as are needed to write", "production", edit{production + "topics.yaml", "replicas: 3\n  config:\n    cleanup.policy: compact", "replicas: 2\n  config:\n    cleanup.policy: compact"}, "chat.state has 2 replicas"},
		{"a user who may not write dead letters", "production", edit{production + "kafka.yaml", "operations: [Write,", "operations: ["}, "needs Write of the topic chat.dead"},
		{"a user who may not read dead letters", "production", edit{production + "kafka.yaml", "name: operator…name: chat.dead", "name: chat.deaf"}, "KafkaUser operator: it needs Read of the topic chat.dead"},
		{"a user who may not rebuild", "production", edit{production + "kafka.yaml", "name: convoview-projector-g, patternType: prefix", "name: convoview-projector-g, patternType: literal"}, "KafkaUser operator: it needs Read of the group convoview-projector-g2"},
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

// TestOverlays_Traces holds that traces can be had, as docs/DEPLOY.md says.
func TestOverlays_Traces(t *testing.T) {
	page := readFile(t, "../docs/DEPLOY.md")
	variable := regexp.MustCompile(`value: (\{name: CONVOVIEW_OTLP_ENDPOINT, value: .*\})\n`).FindStringSubmatch(page)
	if variable == nil {
		t.Fatal("docs/DEPLOY.md does not say how to have traces")
	}
	added := "          env:\n            - " + variable[1] + "\n            - {name: OTEL_TRACES_SAMPLER, value: parentbased_always_off}\n"
	c, f := build(t, resourceSchemas(t), "small",
		edit{"k8s/base/projector.yaml", "          env:\n", added}, edit{"k8s/base/query.yaml", "          env:\n", added})
	if c != nil {
		f = append(f, c.check("small")...)
	}
	f.expect(t, "")
}

// check holds an overlay against our commands and against itself.
func (c *cluster) check(overlay string) (f faults) {
	var ours []string
	for _, p := range c.pods {
		for _, container := range p.template.Spec.Containers {
			f = append(f, c.isolated(p, container)...)
			if strings.HasPrefix(container.Image, "convoview:") {
				ours = append(ours, p.owner)
				f = append(f, c.checkOurs(p, container)...)
			}
		}
	}
	slices.Sort(ours)
	if want := []string{"CronJob operator", "Deployment projector", "Deployment query", "Job migrate"}; !slices.Equal(ours, want) {
		f.add("our image is in %q: expected it in %q", ours, want)
		return f
	}
	f = append(f, c.checkSecrets(overlay)...)
	f = append(f, c.checkPolicies()...)
	f = append(f, c.checkBudgets()...)
	f = append(f, c.checkRepeats()...)
	f = append(f, c.checkWaves()...)
	f = append(f, c.checkClickHouse()...)
	projector, _ := c.commandOf("projector")
	topics := c.topics
	if len(topics) == 0 {
		topics = scriptTopics(c.partitions())
	}
	f = append(f, checkTopics(projector, topics)...)
	if len(c.users) > 0 {
		f = append(f, checkKafkaUsers(projector, c.users)...)
	}
	for _, scaler := range c.targets {
		f = append(f, c.checkScaler(scaler, projector, topics)...)
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
func (c *cluster) checkOurs(p pod, container corev1.Container) (f faults) {
	run, mounted := c.command(p, container)
	f = checkAccount(p.owner, run, mounted)
	run, missing := mounted.put(run)
	f = append(f, append(missing, run.check()...)...)
	if len(f) > 0 {
		return f // what it is like when it runs does not matter then
	}
	addresses, err := run.addresses()
	if err != nil {
		f.add("%s", err)
	}
	for _, address := range addresses {
		if to, port, found := c.find(address); !found {
			f.add("%s connects to %s, where nothing listens", p.owner, address)
		} else if !c.reaches(p.peer(), to, port) {
			f.add("no NetworkPolicy lets %s reach %s", p.owner, address)
		}
	}
	if !c.resolves(p.peer()) {
		f.add("no NetworkPolicy lets %s out to DNS", p.owner)
	}
	if !strings.HasPrefix(p.owner, "Deployment ") {
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

// checkRepeats holds that a command that operators run is run again when its pod is taken away
// (it is told to stop then, and says that it failed), and not when it has come to its end: what
// has ended with 1 or 2 would do and say the same again.
func (c *cluster) checkRepeats() (f faults) {
	for _, job := range c.cronJobs {
		var rules []batchv1.PodFailurePolicyRule
		if policy := job.Spec.JobTemplate.Spec.PodFailurePolicy; policy != nil {
			rules = policy.Rules
		}
		for _, status := range []int32{1, 2} {
			if !slices.ContainsFunc(rules, func(r batchv1.PodFailurePolicyRule) bool {
				return r.Action == batchv1.PodFailurePolicyActionFailJob && r.OnExitCodes != nil && slices.Contains(r.OnExitCodes.Values, status)
			}) {
				f.add("CronJob %s runs again what has ended with status %d", job.Name, status)
			}
		}
		// The first rule that fits counts.
		if len(rules) == 0 || rules[0].Action != batchv1.PodFailurePolicyActionIgnore || !slices.ContainsFunc(rules[0].OnPodConditions, func(p batchv1.PodFailurePolicyOnPodConditionsPattern) bool {
			return p.Type == corev1.DisruptionTarget
		}) {
			f.add("CronJob %s does not run again what was evicted", job.Name)
		}
	}
	return f
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
	if p.owner == "CronJob operator" {
		run.others = operatorCommands
	}
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
					mounted[mount.MountPath+"/"+item.Path] = source.Secret.Name + " " + item.Key
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

// section is the part of docs/DEPLOY.md about an overlay, with its commands on one line each.
func section(overlay string) (string, error) {
	page, err := os.ReadFile("../docs/DEPLOY.md")
	if err != nil {
		return "", err
	}
	title := map[string]string{"small": "\n### A small cluster\n", "production": "\n### Production\n"}[overlay]
	_, text, found := strings.Cut(string(page), title)
	if !found {
		return "", fmt.Errorf("docs/DEPLOY.md has no section %q", title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	text, _, _ = strings.Cut(text, "\n### ")
	return strings.ReplaceAll(text, "\\\n", " "), nil
}

var helmInstall = regexp.MustCompile(`(?m)^helm install (\S+) nats/nats --version '~([\d.]+)' --namespace convoview --values deploy/k8s/overlays/production/nats-values.yaml$`)

// natsOfChart is the release of the NATS chart that docs/DEPLOY.md installs: its Service has
// that name, since it contains the chart's.
func natsOfChart() (release string, err error) {
	text, err := section("production")
	if err != nil {
		return "", err
	}
	found := helmInstall.FindStringSubmatch(text)
	if found == nil || !strings.Contains(found[1], "nats") {
		return "", fmt.Errorf("docs/DEPLOY.md does not install NATS by %s", helmInstall)
	}
	return found[1], nil
}

var (
	createSecret = regexp.MustCompile(`create secret generic (\S+)(.*)`)
	fromLiteral  = regexp.MustCompile(`--from-literal=([\w.-]+)=`)
)

// checkSecrets holds the keys that somebody takes against those that operators make, and those
// that docs/DEPLOY.md has made.
func (c *cluster) checkSecrets(overlay string) (f faults) {
	made := map[string][]string{}
	for user := range c.users {
		made[user] = []string{"user.crt", "user.key"}
	}
	for _, b := range c.brokers {
		made[b.name+"-cluster-ca-cert"] = []string{"ca.crt"}
	}
	text, err := section(overlay)
	if err != nil {
		f.add("%s", err)
	}
	for _, m := range createSecret.FindAllStringSubmatch(text, -1) {
		for _, literal := range fromLiteral.FindAllStringSubmatch(m[2], -1) {
			made[m[1]] = append(made[m[1]], literal[1])
		}
	}
	for _, taken := range c.credentials {
		if !slices.Contains(made[taken.secret], taken.key) {
			f.add("%s takes %s of the Secret %s, which nothing here makes and docs/DEPLOY.md does not have made", taken.owner, taken.key, taken.secret)
		}
	}
	return f
}

// credentialsOf are the keys of Secrets that a pod takes.
func credentialsOf(owner string, spec corev1.PodSpec) (all []credential) {
	for _, container := range spec.Containers {
		for _, from := range container.EnvFrom {
			if from.SecretRef != nil {
				all = append(all, credential{owner, from.SecretRef.Name, "*"})
			}
		}
		for _, v := range container.Env {
			if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
				all = append(all, credential{owner, v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Key})
			}
		}
	}
	for _, volume := range spec.Volumes {
		if volume.Secret != nil {
			all = append(all, credential{owner, volume.Secret.SecretName, "*"})
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			for _, item := range source.Secret.Items {
				all = append(all, credential{owner, source.Secret.Name, item.Key})
			}
		}
	}
	return all
}

// checkBudgets holds that no PodDisruptionBudget selects the pod of a Job: Kubernetes would
// not know how many there ought to be, and would evict none.
func (c *cluster) checkBudgets() (f faults) {
	for _, budget := range c.budgets {
		for _, p := range c.pods {
			if selects(budget.Spec.Selector, p.template.Labels) && !strings.HasPrefix(p.owner, "Deployment ") && !strings.HasPrefix(p.owner, "StatefulSet ") {
				f.add("PodDisruptionBudget %s selects the pod of %s", budget.Name, p.owner)
			}
		}
	}
	return f
}

// checkWaves holds that Argo CD applies what the migration needs before it, and what needs the
// migration after it.
func (c *cluster) checkWaves() (f faults) {
	migration := c.waves["Job migrate"]
	for _, name := range slices.Sorted(maps.Keys(c.waves)) {
		wave := c.waves[name]
		kind, _, _ := strings.Cut(name, " ")
		switch {
		case name == "Job migrate":
		case slices.Contains([]string{"Deployment", "ScaledObject", "HorizontalPodAutoscaler"}, kind):
			if wave <= migration {
				f.add("%s is applied in wave %d: expected it after Job migrate, %d", name, wave, migration)
			}
		case wave >= migration:
			f.add("%s is applied in wave %d: expected it before Job migrate, %d", name, wave, migration)
		}
	}
	return f
}

func containerPort(container corev1.Container, name string) int32 {
	for _, p := range container.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
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

// checkKafkaUsers holds what Kafka users may do against what a projector and operators do.
func checkKafkaUsers(projector command, users map[string][]acl) (f faults) {
	settings, err := projector.settings()
	if err != nil {
		return faults{err.Error()}
	}
	need := func(user, kind, name string, operations ...string) {
		for _, operation := range operations {
			if !slices.ContainsFunc(users[user], func(a acl) bool {
				named := a.Resource.Name == name || a.Resource.PatternType == "prefix" && strings.HasPrefix(name, a.Resource.Name)
				return a.Resource.Type == kind && named && slices.Contains(a.Operations, operation)
			}) {
				f.add("KafkaUser %s: it needs %s of the %s %s", user, operation, kind, name)
			}
		}
	}
	for topic := range strings.SplitSeq(settings["CONVOVIEW_KAFKA_TOPICS"], ",") {
		need("projector", "topic", topic, "Read", "Describe", "DescribeConfigs")
		need("operator", "topic", topic, "Read", "Write", "Describe", "DescribeConfigs") // to send dead letters again, too
	}
	dead, group := settings["CONVOVIEW_KAFKA_DEAD_TOPIC"], settings["CONVOVIEW_KAFKA_GROUP"]
	need("projector", "topic", dead, "Write", "DescribeConfigs")
	need("operator", "topic", dead, "Read", "Describe")
	need("projector", "group", group, "Read")
	need("operator", "group", group, "Describe")                   // how far projectors are
	need("operator", "group", group+"-g2", "Read")                 // a rebuild's
	need("operator", "group", group+"-verify-1", "Read", "Delete") // a comparison's
	return f
}

// checkScaler holds what scales a Deployment against it.
func (c *cluster) checkScaler(s target, projector command, topics []topic) (f faults) {
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
		server := t.Metadata["bootstrapServers"]
		if _, _, found := c.find(server); !found || !strings.Contains(server, ".convoview.svc:") {
			f.add("%s asks %s, where no Kafka listens", s.scaler, server)
		}
	}
	return f
}
