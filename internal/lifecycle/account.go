package lifecycle

import (
	"errors"
	"fmt"
	"strings"
)

// Account is who we tell a server that we are. Files are read for each connection, so what
// is in them can be replaced at any time. It is safe for concurrent use once its settings
// are made.
type Account struct {
	Username, Password string
	// UsernameFile and PasswordFile have them instead, on one line.
	UsernameFile, PasswordFile string

	usual              string // the name where none is given
	username, password files[string]
}

// RegisterAccount binds settings to --NAME-username and --NAME-password, and to the same with
// -file. Who gives no name has the usual one.
func RegisterAccount(f *Flags, name, server, usual string) *Account {
	a := &Account{Username: usual, usual: usual}
	a.register(f, name, server)
	return a
}

func (a *Account) register(f *Flags, name, server string) {
	f.String(&a.Username, name+"-username", "Who we tell "+server+" that we are.")
	f.Secret(&a.Password, name+"-password", "Our password.")
	f.String(&a.UsernameFile, name+"-username-file", "File that has the name instead; read again for each connection.")
	f.files = append(f.files, a.stale)
	f.String(&a.PasswordFile, name+"-password-file", "File that has the password instead; read again for each connection.")
}

func (a *Account) stale() error { return errors.Join(a.username.stale(), a.password.stale()) }

// Given reports whether anything says who we are.
func (a *Account) Given() bool {
	return a.Username != "" || a.Password != "" || a.UsernameFile != "" || a.PasswordFile != ""
}

// Validate reports what is wrong with the settings and the files that they name. It never
// shows a password.
func (a *Account) Validate() error {
	if a.Username != a.usual && a.UsernameFile != "" {
		return fmt.Errorf("a username and a username file %s: expected one of them", a.UsernameFile)
	}
	if a.Password != "" && a.PasswordFile != "" {
		return fmt.Errorf("a password and a password file %s: expected one of them", a.PasswordFile)
	}
	_, _, err := a.Credentials()
	return err
}

// Credentials are for a connection that is made now.
func (a *Account) Credentials() (username, password string, err error) {
	if username, err = lineOf(&a.username, a.Username, a.UsernameFile); err != nil {
		return "", "", fmt.Errorf("username file: %w", err)
	}
	if password, err = lineOf(&a.password, a.Password, a.PasswordFile); err != nil {
		return "", "", fmt.Errorf("password file: %w", err)
	}
	return username, password, nil
}

// lineOf is the one line of a file, or a setting where none is named.
func lineOf(f *files[string], setting, name string) (string, error) {
	if name == "" {
		return setting, nil
	}
	return f.read(func(content ...[]byte) (string, error) {
		line := strings.TrimSuffix(strings.TrimSuffix(string(content[0]), "\n"), "\r")
		switch {
		case line == "":
			return "", fmt.Errorf("%s is empty, expected one line", name)
		case strings.ContainsAny(line, "\r\n\x00"):
			return "", fmt.Errorf("%s has more than one line, expected one", name)
		}
		return line, nil
	}, name)
}
