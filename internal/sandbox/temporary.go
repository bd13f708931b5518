package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	temporaryPrefix = "convoview-sandbox-"
	// lockName is the file in a temporary directory that is locked as long as its
	// process runs.
	lockName = "lock"
	// abandonedAge keeps sweep from a directory that is just being made.
	abandonedAge = 10 * time.Minute
)

// temporary is a directory that is removed when the sandbox stops or, when its
// process was killed, by a later one.
type temporary struct {
	dir  string
	lock *os.File
}

func newTemporary() (*temporary, error) {
	sweep(os.TempDir())
	dir, err := os.MkdirTemp("", temporaryPrefix)
	if err != nil {
		return nil, err
	}
	lock, err := os.Create(filepath.Join(dir, lockName))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	return &temporary{dir, lock}, err
}

func (t *temporary) remove() error { return errors.Join(t.lock.Close(), os.RemoveAll(t.dir)) }

// sweep removes the temporary directories of processes that were killed. It is
// a courtesy, and errors are ignored.
func sweep(dir string) {
	found, _ := filepath.Glob(filepath.Join(dir, temporaryPrefix+"*", lockName))
	for _, lock := range found {
		f, err := os.OpenFile(lock, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		if err == nil && time.Since(info.ModTime()) > abandonedAge && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(lock))
		}
		_ = f.Close()
	}
}
