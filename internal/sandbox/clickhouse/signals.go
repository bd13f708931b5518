package clickhouse

import (
	"fmt"
	"sync"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// lastSignal is the greatest of the classic signals, on Linux and macOS.
const lastSignal = 31

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

// keepSignals calls fn and puts back whatever it did to the process's signal
// handlers. libchdb, told to leave signals alone, sets the deadly ones to
// their default at each connect; the Go runtime needs its own (a nil
// dereference is a SIGSEGV that becomes a panic).
func keepSignals(fn func()) error {
	set, err := libcSigaction()
	if err != nil {
		return err
	}
	var before [lastSignal + 1]sigaction
	var known [lastSignal + 1]bool
	for sig := int32(1); sig <= lastSignal; sig++ {
		if catchable(sig) {
			known[sig] = set(sig, nil, &before[sig]) == 0
		}
	}
	fn()
	for sig := int32(1); sig <= lastSignal; sig++ {
		if known[sig] && set(sig, &before[sig], nil) != 0 {
			return fmt.Errorf("restore the handler of signal %d", sig)
		}
	}
	return nil
}

func catchable(sig int32) bool {
	return sig != int32(syscall.SIGKILL) && sig != int32(syscall.SIGSTOP)
}

// cString is a copy of s as C wants it.
func cString(s string) *byte {
	return unsafe.SliceData(append([]byte(s), 0))
}
