package deploy_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// roles are those with which our containers connect to ClickHouse.
var roles = map[string]string{"projector": "projector", "query": "query", "migrate": "operator", "operator": "operator"}

// element is one of an XML file.
type element struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Elements []element  `xml:",any"`
}

// all are the elements at a path.
func (e element) all(path ...string) (found []element) {
	if len(path) == 0 {
		return []element{e}
	}
	for _, child := range e.Elements {
		if child.XMLName.Local == path[0] || path[0] == "*" {
			found = append(found, child.all(path[1:]...)...)
		}
	}
	return found
}

func (e element) attribute(name string) string {
	for _, a := range e.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// texts are the texts of the elements at a path.
func (e element) texts(path ...string) (all []string) {
	for _, found := range e.all(path...) {
		all = append(all, strings.TrimSpace(found.Text))
	}
	return all
}

var grantTo = regexp.MustCompile(`^(GRANT .*) TO (\w+)$`)

// grants are those of each role, as the command prints them.
func grants() (map[string][]string, error) {
	out, err := command{args: []string{"projector", "migrate", "--print-roles"}}.process(context.Background()).Output()
	if err != nil {
		return nil, fmt.Errorf("projector migrate --print-roles: %w", err)
	}
	all := map[string][]string{}
	for statement := range strings.SplitSeq(strings.TrimSpace(string(out)), ";") {
		if m := grantTo.FindStringSubmatch(strings.TrimSpace(statement)); m != nil {
			all[m[2]] = append(all[m[2]], m[1])
		}
	}
	return all, nil
}

// checkUsers holds the accounts of ClickHouse against the roles that projector migrate makes.
func checkUsers(users string) (f faults) {
	want, err := grants()
	if err != nil {
		return faults{err.Error()}
	}
	var file element
	if err := xml.Unmarshal([]byte(users), &file); err != nil {
		return faults{err.Error()}
	}
	got := map[string][]string{}
	for _, role := range file.all("roles", "*") {
		got[role.XMLName.Local] = role.texts("grants", "query")
	}
	for _, role := range slices.Sorted(maps.Keys(want)) {
		if !slices.Equal(got[role], want[role]) {
			f.add("the role %s has the grants %q: expected %q", role, got[role], want[role])
		}
	}
	var accounts []string
	for _, user := range file.all("users", "*") {
		name := user.XMLName.Local
		if name == "default" {
			if networks := user.texts("networks", "ip"); !slices.Equal(networks, []string{"::1", "127.0.0.1"}) {
				f.add("default connects from %q: expected the server's own host", networks)
			}
			continue
		}
		accounts = append(accounts, name)
		role := strings.TrimPrefix(name, "convoview_")
		if granted := user.texts("grants", "query"); !slices.Equal(granted, []string{"GRANT " + role}) {
			f.add("the account %s has the grants %q: expected its role %s", name, granted, role)
		}
		for _, child := range user.Elements {
			if !slices.Contains([]string{"password", "networks", "profile", "quota", "grants"}, child.XMLName.Local) {
				f.add("the account %s has %s, which it does not need", name, child.XMLName.Local)
			}
		}
		if passwords := user.all("password"); len(passwords) != 1 || passwords[0].attribute("from_env") != passwordOf(role) || passwords[0].Text != "" {
			f.add("the account %s: expected a password from %s", name, passwordOf(role))
		}
	}
	slices.Sort(accounts)
	var expected []string
	for role := range want {
		expected = append(expected, "convoview_"+role)
	}
	slices.Sort(expected)
	if !slices.Equal(accounts, expected) || len(got) != len(want) {
		f.add("there are the accounts %q and %d roles: expected %q", accounts, len(got), expected)
	}
	return f
}

// passwordOf is where ClickHouse has the password of a role's account.
func passwordOf(role string) string { return "CLICKHOUSE_" + strings.ToUpper(role) + "_PASSWORD" }

func TestUsers(t *testing.T) {
	checkUsers(readFile(t, "clickhouse/users.xml")).expect(t, "")
}

func TestUsers_Refuse(t *testing.T) {
	for _, c := range []struct{ before, after, want string }{
		{"GRANT SELECT ON convoview_g*.*", "GRANT SELECT ON *.*", "the role query has the grants"},
		{"                <query>GRANT SELECT ON system.parts</query>\n", "", "the role operator has the grants"},
		{"<query>GRANT projector</query>", "<query>GRANT projector, operator</query>", "the account convoview_projector has the grants"},
		{"<query>GRANT projector</query>", "<query>GRANT projector</query><query>GRANT operator</query>", "the account convoview_projector has the grants"},
		{`<password from_env="CLICKHOUSE_QUERY_PASSWORD"/>`, `<password>convoview</password>`, "the account convoview_query: expected a password"},
		{`<password from_env="CLICKHOUSE_QUERY_PASSWORD"/>`, `<password from_env="CLICKHOUSE_ANALYST_PASSWORD"/>`, "the account convoview_query: expected a password"},
		{"<query>GRANT analyst</query></grants>\n", "<query>GRANT analyst</query></grants><access_management>1</access_management>\n", "convoview_analyst has access_management"},
		{"                <ip>::1</ip>\n", "                <ip>::/0</ip>\n", "default connects from"},
		{"        <default>\n", "        <projector><password/></projector>\n        <default>\n", "there are the accounts"},
	} {
		checkUsers(edit{"clickhouse/users.xml", c.before, c.after}.apply(t, readFile(t, "clickhouse/users.xml"))).expect(t, c.want)
	}
}

// checkAccount holds that one of our containers connects to ClickHouse as its role alone, and
// has no password where everybody looks.
func checkAccount(owner string, run command, mounted files) (f faults) {
	role := roles[owner[strings.LastIndex(owner, " ")+1:]]
	for name := range run.env {
		if strings.HasSuffix(name, "_PASSWORD") {
			f.add("%s has %s in its environment: expected a file", owner, name)
		}
	}
	if got := run.env["CONVOVIEW_CLICKHOUSE_USERNAME"]; got != "convoview_"+role {
		f.add("%s connects to ClickHouse as %s: expected convoview_%s", owner, got, role)
	}
	if got, want := mounted[run.env["CONVOVIEW_CLICKHOUSE_PASSWORD_FILE"]], "clickhouse "+role; got != want {
		f.add("%s has the password of %s: expected %s", owner, got, want)
	}
	if len(run.args) > 1 && run.args[1] == "migrate" && !slices.Contains(run.args, "--roles=false") {
		f.add("%s would make roles, which its accounts could not have", owner)
	}
	return f
}

// checkClickHouse holds that the servers have the accounts, and a password for each.
func (c *cluster) checkClickHouse() (f faults) {
	users, err := os.ReadFile("clickhouse/users.xml")
	if err != nil {
		return faults{err.Error()}
	}
	settings, err := os.ReadFile("clickhouse/config.xml")
	if err != nil {
		return faults{err.Error()}
	}
	for _, d := range c.databases {
		if d.files["users.d/convoview.xml"] != string(users) {
			f.add("ClickHouseInstallation %s has other accounts than clickhouse/users.xml", d.name)
		}
		if d.files["config.d/convoview.xml"] != string(settings) {
			f.add("ClickHouseInstallation %s has other settings than clickhouse/config.xml", d.name)
		}
	}
	for _, p := range slices.Concat(c.pods, c.servers) {
		if p.template.Labels["app.kubernetes.io/name"] != "clickhouse" {
			continue
		}
		for _, role := range []string{"projector", "query", "operator", "analyst"} {
			from := ""
			for _, v := range p.template.Spec.Containers[0].Env {
				if v.Name == passwordOf(role) && v.ValueFrom != nil {
					from = v.ValueFrom.SecretKeyRef.Name + " " + v.ValueFrom.SecretKeyRef.Key
				}
			}
			if want := "clickhouse " + role; from != want {
				f.add("%s takes %s from %s: expected %s", p.owner, passwordOf(role), from, want)
			}
		}
	}
	return f
}

// TestSecrets holds that passwords are drawn once, that they are nobody else's, and that
// ClickHouse's server gets those that the accounts have.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secrets.sh"), []byte(readFile(t, "secrets.sh")), 0o600); err != nil {
		t.Fatal(err)
	}
	drawn := func() map[string]string {
		if out, err := exec.Command("sh", filepath.Join(dir, "secrets.sh")).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		all := map[string]string{}
		entries, err := os.ReadDir(filepath.Join(dir, "secrets"))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			all[entry.Name()] = readFile(t, filepath.Join(dir, "secrets", entry.Name()))
		}
		return all
	}
	secrets := drawn()
	if again := drawn(); !maps.Equal(secrets, again) {
		t.Error("passwords are others the second time")
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the directory: %v, %v", info.Mode(), err)
	}
	project, err := loadCompose(readFile(t, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	distinct := map[string]bool{}
	for name := range project.Secrets {
		if !regexp.MustCompile(`^[0-9a-f]{48}$`).MatchString(secrets[name]) {
			t.Errorf("%s is %d bytes: expected 48 digits", name, len(secrets[name]))
		}
		distinct[secrets[name]] = true
	}
	if len(distinct) != len(project.Secrets) || len(secrets) != len(project.Secrets) {
		t.Errorf("%d passwords, of which %d are different, for %d secrets", len(secrets), len(distinct), len(project.Secrets))
	}

	server := t.TempDir()
	for _, s := range project.Services["clickhouse"].Secrets {
		if err := os.WriteFile(filepath.Join(server, filepath.Base(s.Target)), []byte(secrets[s.Source]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("sh", "clickhouse/with-passwords.sh", "env").CombinedOutput(); err == nil {
		t.Errorf("ClickHouse's server would start without passwords: %s", out)
	}
	run := exec.Command("sh", "clickhouse/with-passwords.sh", "env")
	run.Env = append(os.Environ(), "SECRETS="+server)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, role := range []string{"projector", "query", "operator", "analyst"} {
		if want := passwordOf(role) + "=" + secrets["clickhouse-"+role] + "\n"; !bytes.Contains(out, []byte(want)) {
			t.Errorf("ClickHouse's server has no %s", passwordOf(role))
		}
	}
}
