package deploy_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
	"sigs.k8s.io/yaml"
)

// loadCompose reads a compose file as Docker Compose does.
func loadCompose(content string) (*types.Project, error) {
	details := types.ConfigDetails{
		WorkingDir:  ".",
		ConfigFiles: []types.ConfigFile{{Filename: "compose.yaml", Content: []byte(content)}},
		Environment: types.Mapping{},
	}
	return loader.LoadWithContext(context.Background(), details, loader.WithProfiles([]string{"*"}))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestCompose(t *testing.T) {
	project, err := loadCompose(readFile(t, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	checkCompose(project).expect(t, "")
}

func TestCompose_Refuse(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"    mem_limit: 1g", "    memory_limit: 1g", "memory_limit"},
		{"    mem_limit: 1g", "    mem_limit: 512m", "512 MiB of memory"},
		{"image: apache/kafka:4.4.0\n    restart: unless", "image: apache/kafka\n    restart: unless", "no version"},
		{"  stop_grace_period: 30s", "  stop_grace_period: 20s", "20s to stop"},
		{"  projector:\n…kafka:19092", "kafka:9091", "kafka:9091"},
		{"  projector:\n…CONVOVIEW_KAFKA_BROKERS:", "CONVOVIEW_KAFKA_BROKER:", "no setting CONVOVIEW_KAFKA_BROKER:"},
		{"command: [projector, migrate, --roles=false]", "command: [projector, migration]", "migration"},
		{"command: [projector, migrate, --roles=false]", "command: [projector, migrate]", "migrate would make roles"},
		{"CONVOVIEW_CLICKHOUSE_USERNAME: convoview_query", "CONVOVIEW_CLICKHOUSE_USERNAME: convoview_projector", "query connects to ClickHouse as convoview_projector"},
		{"{source: clickhouse-query, target: /etc/convoview/secrets/clickhouse/password}", "{source: clickhouse-projector, target: /etc/convoview/secrets/clickhouse/password}", "query has the password of clickhouse projector"},
		{"{source: clickhouse-query, target: /etc/convoview/secrets/clickhouse/password}", "{source: clickhouse-query, target: /etc/convoview/secrets/clickhouse}", "/etc/convoview/secrets/clickhouse/password, which is not mounted"},
		{"GF_SECURITY_ADMIN_PASSWORD__FILE: /etc/convoview/secrets/grafana-admin", "GF_SECURITY_ADMIN_PASSWORD: convoview", "grafana has GF_SECURITY_ADMIN_PASSWORD in its environment"},
		{"GF_PLUGINS_PREINSTALL: grafana-clickhouse-datasource@4.20.0", "GF_PLUGINS_PREINSTALL: grafana-clickhouse-datasource", "no version of grafana-clickhouse-datasource"},
		{"{source: clickhouse-analyst, target: /etc/convoview/secrets/clickhouse-analyst}", "{source: clickhouse-operator, target: /etc/convoview/secrets/clickhouse-analyst}", "has the password of clickhouse operator"},
		{"127.0.0.1:9092:9092", "0.0.0.0:9092:9092", "expected 127.0.0.1"},
		{"127.0.0.1:8081:8081", "127.0.0.1:8081:8080", "query publishes no port 8081"},
		{"test: [CMD, query, --ready]", "test: [CMD, query, --check]", "healthcheck"},
		{"./nats/local.conf:/etc", "./nats/local.cfg:/etc", "local.cfg"},
		{"      topics: {condition: service_completed_successfully}\n", "", "does not wait for topics"},
		{"clickhouse: {condition: service_healthy}", "clickhouse: {condition: service_started}", "migrate waits for clickhouse with service_started"},
	} {
		t.Run(c.after, func(t *testing.T) {
			project, err := loadCompose(edit{"compose.yaml", c.before, c.after}.apply(t, readFile(t, "compose.yaml")))
			f := faults{}
			if err != nil {
				f.add("%v", err)
			} else {
				f = checkCompose(project)
			}
			f.expect(t, c.want)
		})
	}
}

// listening are the ports that services listen on besides those that they publish.
var listening = map[string][]string{"kafka": {"19092"}, "clickhouse": {"9363"}}

// checkCompose holds the services against our commands and against each other.
func checkCompose(project *types.Project) (f faults) {
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		service := project.Services[name]
		if _, version, ok := strings.Cut(service.Image, ":"); !ok || version == "latest" {
			f.add("%s: image %s has no version", name, service.Image)
		}
		for _, p := range service.Ports {
			if p.HostIP != "127.0.0.1" || p.Published != strconv.Itoa(int(p.Target)) {
				f.add("%s: port %s:%s:%d: expected 127.0.0.1 and one number", name, p.HostIP, p.Published, p.Target)
			}
		}
		for _, v := range service.Volumes {
			if v.Type == types.VolumeTypeBind {
				if _, err := os.Stat(v.Source); err != nil {
					f.add("%s mounts what there is not: %v", name, err)
				}
			}
		}
		ready := types.ServiceConditionHealthy
		if service.Restart == "on-failure" { // runs once
			ready = types.ServiceConditionCompletedSuccessfully
		} else if service.HealthCheck == nil {
			f.add("%s has no healthcheck", name)
		}
		for other := range project.Services {
			if d, ok := project.Services[other].DependsOn[name]; ok && d.Condition != ready {
				f.add("%s waits for %s with %s: expected %s", other, name, d.Condition, ready)
			}
		}
		for key := range service.Environment {
			if strings.HasSuffix(key, "_PASSWORD") {
				f.add("%s has %s in its environment: expected a file", name, key)
			}
		}
		if service.Build != nil {
			f = append(f, checkService(project, service)...)
		}
	}
	for waits, needs := range map[string][]string{"projector": {"topics", "migrate", "nats"}, "query": {"migrate", "nats"}, "operator": {"migrate"}, "topics": {"kafka"}, "migrate": {"clickhouse"}} {
		for _, need := range needs {
			if _, ok := project.Services[waits].DependsOn[need]; !ok {
				f.add("%s does not wait for %s", waits, need)
			}
		}
	}
	f = append(f, checkDataSources(project, "grafana/provisioning/datasources")...)
	projector := commandOfService(project.Services["projector"])
	partitions, _ := strconv.Atoi(*project.Services["topics"].Environment["PARTITIONS"])
	return append(f, checkTopics(projector, scriptTopics(partitions))...)
}

func commandOfService(service types.ServiceConfig) command {
	c := command{args: service.Command, env: map[string]string{}}
	if service.Name == "operator" {
		c.others = operatorCommands
	}
	for key, value := range service.Environment {
		c.env[key] = *value
	}
	return c
}

// secretsOf are the files of a service's secrets, each with what it is of.
func secretsOf(service types.ServiceConfig) files {
	mounted := files{}
	for _, s := range service.Secrets {
		mounted[s.Target] = strings.Replace(s.Source, "-", " ", 1)
	}
	return mounted
}

// checkService holds a service of ours against its command.
func checkService(project *types.Project, service types.ServiceConfig) (f faults) {
	run, mounted := commandOfService(service), secretsOf(service)
	f = checkAccount(service.Name, run, mounted)
	run, missing := mounted.put(run)
	if f = append(f, append(missing, run.check()...)...); len(f) > 0 {
		return f
	}
	addresses, err := run.addresses()
	if err != nil {
		f.add("%s", err)
	}
	for _, address := range addresses {
		if !isOpen(project, address) {
			f.add("%s connects to %s, where nothing listens", service.Name, address)
		}
	}
	if service.HealthCheck == nil { // runs once
		return f
	}
	if want := append([]string{"CMD"}, append(slices.Clone(run.args), "--ready")...); !slices.Equal(service.HealthCheck.Test, want) {
		f.add("%s: healthcheck %q: expected %q", service.Name, service.HealthCheck.Test, want)
	}
	settings, err := run.settings()
	if err != nil {
		f.add("%s", err)
	}
	_, port, _ := net.SplitHostPort(settings[adminAddr])
	if !slices.ContainsFunc(service.Ports, func(p types.ServicePortConfig) bool { return strconv.Itoa(int(p.Target)) == port }) {
		f.add("%s publishes no port %s, %s", service.Name, port, adminAddr)
	}
	if service.StopGracePeriod == nil {
		f.add("%s has no stop_grace_period", service.Name)
	} else {
		f = append(f, graceFits(service.Name, run, time.Duration(*service.StopGracePeriod))...)
	}
	memory, faults := run.run(probes{alive: "/healthz", ready: "/readyz"})
	f = append(f, faults...)
	return append(f, memoryFits(service.Name, int64(service.MemLimit), memory)...)
}

// TestCompose_DataSources shows what is found where a dashboard asks nobody.
func TestCompose_DataSources(t *testing.T) {
	project, err := loadCompose(readFile(t, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "clickhouse.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := readFile(t, "grafana/provisioning/datasources/clickhouse.yaml")
	write(edit{"clickhouse.yaml", "port: 9000", "port: 9440"}.apply(t, file))
	checkDataSources(project, dir).expect(t, "clickhouse:9440, where nothing listens")
	checkDataSources(project, dir).expect(t, "asks a prometheus, which is not provisioned")
	write(edit{"clickhouse.yaml", "username: convoview_analyst", "username: convoview_operator"}.apply(t, file))
	checkDataSources(project, dir).expect(t, "convoview_operator has the password of clickhouse analyst")
}

// dataSource is one of Grafana's, as it is provisioned.
type dataSource struct {
	Type, URL string
	JSONData  struct {
		Host, Username string
		Port           int
	}
	SecureJSONData struct{ Password string }
}

// checkDataSources holds that each dashboard has a data source, which is there.
func checkDataSources(project *types.Project, provisioning string) (f faults) {
	grafana := project.Services["grafana"]
	provisioned := map[string]bool{}
	names, _ := filepath.Glob(filepath.Join(provisioning, "*.yaml"))
	for _, name := range names {
		var file struct{ DataSources []dataSource }
		content, err := os.ReadFile(name)
		if err == nil {
			err = yaml.Unmarshal(content, &file)
		}
		if err != nil {
			f.add("%s: %v", name, err)
		}
		for _, source := range file.DataSources {
			provisioned[source.Type] = true
			address := strings.TrimPrefix(source.URL, "http://")
			if source.Type != "prometheus" { // which comes with Grafana
				address = net.JoinHostPort(source.JSONData.Host, strconv.Itoa(source.JSONData.Port))
				if plugin := grafana.Environment["GF_PLUGINS_PREINSTALL"]; plugin == nil || !strings.HasPrefix(*plugin, source.Type+"@") {
					f.add("grafana: GF_PLUGINS_PREINSTALL has no version of %s", source.Type)
				}
				secret := strings.TrimSuffix(strings.TrimPrefix(source.SecureJSONData.Password, "$__file{"), "}")
				if got, want := secretsOf(grafana)[secret], "clickhouse analyst"; got != want || source.JSONData.Username != "convoview_analyst" {
					f.add("%s: %s has the password of %s: expected %s", name, source.JSONData.Username, got, want)
				}
			}
			if !isOpen(project, address) {
				f.add("%s asks %s, where nothing listens", name, address)
			}
		}
	}
	dashboards, _ := filepath.Glob("grafana/dashboards/*.json")
	for _, name := range dashboards {
		content, err := os.ReadFile(name)
		if err != nil {
			f.add("%s", err)
		}
		asked := dataSourceType.FindAllSubmatch(content, -1)
		if len(asked) == 0 {
			f.add("%s asks nobody", name)
		}
		for _, m := range asked {
			if !provisioned[string(m[1])] {
				f.add("%s asks a %s, which is not provisioned", name, m[1])
				break
			}
		}
	}
	return f
}

var dataSourceType = regexp.MustCompile(`"datasource": \{\s*"type": "([^"]+)"`)

// isOpen says whether a service listens at an address.
func isOpen(project *types.Project, address string) bool {
	host, port, _ := net.SplitHostPort(address)
	service, ok := project.Services[host]
	return ok && (slices.Contains(listening[host], port) || slices.ContainsFunc(service.Ports, func(p types.ServicePortConfig) bool {
		return strconv.Itoa(int(p.Target)) == port
	}))
}

// TestConfigurations holds that what commands on this machine expect is published, and that
// the servers' own configurations fit the services.
func TestConfigurations(t *testing.T) {
	checkConfigurations(t).expect(t, "")
	for _, c := range []struct {
		edit
		want string
	}{
		{edit{"compose.yaml", `"127.0.0.1:9000:9000", `, ""}, "127.0.0.1:9000, a default of the projector, is not published"},
		{edit{"nats/local.conf", "port: 4222", "port: 4223"}, "local.conf: nats:4223 is not published"},
		{edit{"nats/local.conf", "http_port", "http_ports"}, "http_ports"},
		{edit{"prometheus/prometheus.yml", "query:8081", "query:8080"}, "prometheus.yml reads query:8080"},
		{edit{"prometheus/prometheus.yml", "job_name: projector", "job_name: project"}, "prometheus.yml does not read projector"},
		{edit{"prometheus/prometheus.yml", "alerts.yaml", "alert.yaml"}, "alert.yaml"},
	} {
		checkConfigurations(t, c.edit).expect(t, c.want)
	}
}

// checkConfigurations holds the files of servers, of which one has a mistake.
func checkConfigurations(t *testing.T, edits ...edit) (f faults) {
	t.Helper()
	read := edited(t, edits)
	project, err := loadCompose(read("compose.yaml"))
	if err != nil {
		return faults{err.Error()}
	}
	addresses, err := command{args: []string{"projector", "run"}}.addresses()
	if err != nil {
		return faults{err.Error()}
	}
	published := map[string]bool{}
	for _, service := range project.Services {
		for _, p := range service.Ports {
			published[p.Published] = true
		}
	}
	for _, address := range addresses {
		if _, port, _ := net.SplitHostPort(address); !published[port] {
			f.add("%s, a default of the projector, is not published", address)
		}
	}

	local := filepath.Join(t.TempDir(), "local.conf")
	if err := os.WriteFile(local, []byte(read("nats/local.conf")), 0o600); err != nil {
		t.Fatal(err)
	}
	if nats, err := server.ProcessConfigFile(local); err != nil {
		f.add("%s", err)
	} else if address := "nats:" + strconv.Itoa(nats.Port); !isOpen(project, address) {
		f.add("local.conf: %s is not published", address)
	}

	var prometheus struct {
		Global struct {
			ScrapeInterval     string `json:"scrape_interval"`
			EvaluationInterval string `json:"evaluation_interval"`
		}
		RuleFiles     []string `json:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `json:"job_name"`
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.UnmarshalStrict([]byte(read("prometheus/prometheus.yml")), &prometheus); err != nil {
		f.add("%s", err)
	}
	scraped := map[string]bool{}
	for _, job := range prometheus.ScrapeConfigs {
		for _, target := range job.StaticConfigs[0].Targets {
			scraped[job.JobName] = true
			if !isOpen(project, target) {
				f.add("prometheus.yml reads %s, where nothing listens", target)
			}
		}
	}
	for _, service := range []string{"projector", "query"} {
		if !scraped[service] {
			f.add("prometheus.yml does not read %s", service)
		}
	}
	for _, name := range prometheus.RuleFiles {
		if _, err := os.Stat(filepath.Join("prometheus", name)); err != nil {
			f.add("%s", err)
		}
	}
	return f
}
