package lifecycle_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/convoview/convoview/internal/lifecycle"
)

// put writes a file of the test's, or writes it anew, and gives its name.
func put(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestAccount_FilesAreReadAgain holds that a password is replaced without a restart, that
// one which is as long as the one before is noticed, and that a file that is gone for a
// moment disturbs nobody and is told of meanwhile, whether anybody asks for it or not.
func TestAccount_FilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	flags := lifecycle.NewFlags("test", "", func(string) string { return "" }, io.Discard)
	a := lifecycle.RegisterAccount(flags, "store", "the store", "nobody")
	if err := flags.Configure([]string{
		"--store-username-file", put(t, filepath.Join(dir, "username"), "ann\n"), "--store-password-file", put(t, filepath.Join(dir, "password"), "first one\r\n"),
	}, a.Validate); err != nil || !a.Given() {
		t.Fatal(err)
	}
	stale := func(want string) {
		t.Helper()
		if err := flags.Stale(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("stale is %v, want %q", err, want)
		}
	}
	check := func(when, username, password string) {
		t.Helper()
		if u, p, err := a.Credentials(); err != nil || u != username || p != password {
			t.Errorf("%s they are %q and %q, %v", when, u, p, err)
		}
	}
	check("at first", "ann", "first one")
	put(t, a.PasswordFile, "other one")
	check("after a change", "ann", "other one")
	if err := os.Remove(a.PasswordFile); err != nil {
		t.Fatal(err)
	}
	stale("no such file")
	check("while it is replaced", "ann", "other one")
	put(t, a.PasswordFile, "")
	stale("password is empty")
	check("while it is written", "ann", "other one")
	put(t, a.UsernameFile, "bob")
	put(t, a.PasswordFile, " last one ")
	stale("")
	check("in the end", "bob", " last one ")
}

func TestAccount_Validate(t *testing.T) {
	dir := t.TempDir()
	file := func(content string) string {
		return put(t, filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_")+strings.Map(func(r rune) rune {
			if r < ' ' {
				return '_'
			}
			return r
		}, content[:min(len(content), 20)])), content)
	}
	for _, c := range []struct {
		account *lifecycle.Account
		want    string
	}{
		{&lifecycle.Account{}, ""},
		{&lifecycle.Account{Username: "ann", Password: "hush"}, ""},
		{&lifecycle.Account{UsernameFile: file("ann"), PasswordFile: file("hush")}, ""},
		{&lifecycle.Account{Password: "hush", PasswordFile: file("hush")}, "a password and a password file"},
		{&lifecycle.Account{Username: "ann", UsernameFile: file("ann")}, "a username and a username file"},
		{&lifecycle.Account{PasswordFile: filepath.Join(dir, "nowhere")}, "nowhere"},
		{&lifecycle.Account{PasswordFile: file("\n")}, "is empty, expected one line"},
		{&lifecycle.Account{PasswordFile: file("hush\nhush")}, "more than one line, expected one"},
		{&lifecycle.Account{UsernameFile: file("hush" + strings.Repeat("h", lifecycle.MaxFileBytes))}, "is larger than 1048576 bytes"},
	} {
		err := c.account.Validate()
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(strings.ReplaceAll(err.Error(), dir, ""), "hush\n")) {
			t.Errorf("%+v: got %v, want %q", c.account, err, c.want)
		}
	}
}
