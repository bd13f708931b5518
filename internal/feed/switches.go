package feed

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// SubjectSwitch is where is said that another generation of the read model is read.
// Followers of announcements, which have one token after the prefix, do not hear it.
const SubjectSwitch = SubjectPrefix + "generation.switched"

// TellSwitch says that another generation is read. Which one, the registry says. It
// returns once the server has taken it, or has refused to.
func TellSwitch(nc *nats.Conn, timeout time.Duration) error {
	err := nc.Publish(SubjectSwitch, nil)
	if err == nil {
		err = nc.FlushTimeout(timeout)
	}
	if err == nil && errors.Is(nc.LastError(), nats.ErrPermissionViolation) {
		err = nc.LastError()
	}
	if err != nil {
		return fmt.Errorf("tell of the switch on %s: %w", SubjectSwitch, err)
	}
	return nil
}

// HearSwitches has a function called whenever somebody says that another generation is
// read, until stop. A notice may be lost: who relies on it looks by itself, too.
func HearSwitches(nc *nats.Conn, hear func()) (stop func(), err error) {
	sub, err := nc.Subscribe(SubjectSwitch, func(*nats.Msg) { hear() })
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", SubjectSwitch, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil
}
