package clickhouse

import (
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// Access says who may connect by the native protocol, and what they may do. The engine
// keeps roles as it finds them at start, and has no store in which others could be made.
type Access struct {
	// Roles are the grants of each role, as statements without whom they are for, such as
	// GRANT SELECT ON db.*.
	Roles map[string][]string
	// Accounts are by name.
	Accounts map[string]Account
}

// Account is somebody who may connect.
type Account struct {
	Password string
	// Role is the only one that the account has; "": it may do everything.
	Role string
}

// unbounded is the role of those who may do everything.
const unbounded = "sandbox_unbounded"

// grants is what the engine's configuration says of its only user, and of the roles that
// this one can take on. Without any it may do everything.
func (a *Access) grants() (user, roles string) {
	if a == nil {
		return "<access_management>1</access_management>", ""
	}
	var text strings.Builder
	role := func(name string, grants ...string) {
		fmt.Fprintf(&text, "<%s><grants>", name)
		for _, grant := range grants {
			text.WriteString("<query>")
			_ = xml.EscapeText(&text, []byte(grant)) // a builder takes everything
			text.WriteString("</query>")
		}
		fmt.Fprintf(&text, "</grants></%s>", name)
	}
	role(unbounded, "GRANT ALL ON *.* WITH GRANT OPTION")
	names := slices.Sorted(maps.Keys(a.Roles))
	for _, name := range names {
		role(name, a.Roles[name]...)
	}
	all := strings.Join(append(names, unbounded), ", ")
	return "<grants><query>GRANT " + all + "</query></grants>", "<roles>" + text.String() + "</roles>"
}

// SetAccounts says anew who may connect. Who is connected already stays so.
func (s *Server) SetAccounts(accounts map[string]Account) {
	s.accounts.Store(&accounts)
}

// SetProfile gives queries of an account, by the native protocol and from its next one on, these
// settings where they have none themselves, as a settings profile does.
func (s *Server) SetProfile(account string, settings map[string]string) {
	var profile []setting
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		profile = append(profile, setting{name, settings[name]})
	}
	s.profiles.Store(account, profile)
}

// profile is that of an account.
func (s *Server) profile(account string) []setting {
	profile, _ := s.profiles.Load(account)
	settings, _ := profile.([]setting)
	return settings
}

// authenticate gives the role of who says hello.
func (s *Server) authenticate(hello proto.ClientHello) (role string, err error) {
	if s.config.Access == nil {
		return "", nil
	}
	account, ok := (*s.accounts.Load())[hello.User]
	if !ok || account.Password != hello.Password {
		return "", raise(codeAuthenticationFailed, hello.User+": Authentication failed: password is incorrect, or there is no user with such name.")
	}
	if account.Role == "" {
		return unbounded, nil
	}
	return account.Role, nil
}
