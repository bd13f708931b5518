package lifecycle

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// MaxFileBytes is the greatest file that settings may name: certificates, keys, secrets.
const MaxFileBytes = 1 << 20

// files are what is in files that may be replaced at any time.
type files[T any] struct {
	mu    sync.Mutex
	is    bool
	last  T
	again func() error // reads the same ones, and keeps nothing; nil: none were read yet
}

// read reads the files and parses what is in them. While that fails, as when they are
// being replaced, what was read last is still right.
func (f *files[T]) read(parse func(content ...[]byte) (T, error), names ...string) (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	value, err := readFiles(parse, names)
	f.again = func() error {
		_, err := readFiles(parse, names)
		return err
	}
	if err == nil {
		f.last, f.is = value, true
	} else if f.is {
		err = nil
	}
	return f.last, err
}

// held is what was read last.
func (f *files[T]) held() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// stale tells why the files could not be read now. Nobody need have tried since they are so:
// a connection that is there may last.
func (f *files[T]) stale() error {
	f.mu.Lock()
	again := f.again
	f.mu.Unlock()
	if again == nil {
		return nil
	}
	return again()
}

func readFiles[T any](parse func(content ...[]byte) (T, error), names []string) (value T, err error) {
	content := make([][]byte, len(names))
	for i, name := range names {
		if content[i], err = readFile(name); err != nil {
			return value, err
		}
	}
	return parse(content...)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err == nil && len(content) > MaxFileBytes {
		err = fmt.Errorf("%s is larger than %d bytes", name, MaxFileBytes)
	}
	return content, err
}
