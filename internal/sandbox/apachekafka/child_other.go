//go:build !linux

package apachekafka

import "syscall"

// childAttributes has a child not hear of a Ctrl-C, which is for us alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
