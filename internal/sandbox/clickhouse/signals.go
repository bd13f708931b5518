package clickhouse

import (
	"fmt"
	"sync"
	"syscall"

	"github.com/ebitengine/purego"
)

// sigaction is a C struct sigaction, which is never looked into; that of every
// supported platform is smaller.
type sigaction [256]byte

// libcSigaction resolves sigaction(2) of the C library, which libchdb brought
// into the process.
var libcSigaction = sync.OnceValues(func() (func(sig int32, act, old *sigaction) int32, error) {
	symbol, err := purego.Dlsym(purego.RTLD_DEFAULT, "sigaction")
	if err != nil {
		return nil, fmt.Errorf("find sigaction: %w", err)
	}
	var fn func(sig int32, act, old *sigaction) int32
	purego.RegisterFunc(&fn, symbol)
	return fn, nil
})

// deadlySignals are those whose handlers libchdb replaces or, told to leave
// them alone, sets to the default at each connect.
var deadlySignals = []syscall.Signal{
	syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGILL, syscall.SIGBUS,
	syscall.SIGSYS, syscall.SIGFPE, syscall.SIGTSTP, syscall.SIGTRAP,
}

// signalsMutex keeps one keepSignals from saving what another has not yet put
// back.
var signalsMutex sync.Mutex

// keepSignals calls fn, which enters libchdb, and puts the handlers of the
// deadly signals back: the Go runtime needs its own, to turn a nil
// dereference (SIGSEGV) into a panic.
func keepSignals(fn func()) error {
	set, err := libcSigaction()
	if err != nil {
		return err
	}
	signalsMutex.Lock()
	defer signalsMutex.Unlock()
	before := make([]sigaction, len(deadlySignals))
	for i, sig := range deadlySignals {
		if set(int32(sig), nil, &before[i]) != 0 {
			return fmt.Errorf("read the handler of %v", sig)
		}
	}
	fn()
	for i, sig := range deadlySignals {
		if set(int32(sig), &before[i], nil) != 0 {
			return fmt.Errorf("restore the handler of %v", sig)
		}
	}
	return nil
}
