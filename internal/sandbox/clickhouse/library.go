package clickhouse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// LibraryEnv names the environment variable that holds the path of libchdb.so
// where it is not to be looked for in node_modules.
const LibraryEnv = "CONVOVIEW_LIBCHDB"

// errLibraryMissing is returned when libchdb.so is in none of the places
// where findLibrary looks.
var errLibraryMissing = errors.New("the ClickHouse engine (libchdb.so) is missing: run `npm ci` in the project's root (`make` does it), or set " + LibraryEnv)

// findLibrary returns the path of libchdb.so: the value of LibraryEnv, else
// node_modules/@chdb/lib-…/libchdb.so in the working directory, the directory
// of the executable, or the nearest parent of either that has it.
func findLibrary(getenv func(string) string) (string, error) {
	if path := getenv(LibraryEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%w (%s=%s does not exist)", errLibraryMissing, LibraryEnv, path)
		}
		return path, nil
	}
	tail := filepath.Join("node_modules", "@chdb", libraryPackage(), "libchdb.so")
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			path := filepath.Join(dir, tail)
			if _, err := os.Stat(path); err == nil {
				return path, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", errLibraryMissing
}

// libraryPackage is the npm package's name in Node's words for this platform.
func libraryPackage() string {
	arch := runtime.GOARCH
	if arch == "amd64" {
		arch = "x64"
	}
	if runtime.GOOS == "linux" {
		return "lib-linux-" + arch + "-gnu"
	}
	return "lib-" + runtime.GOOS + "-" + arch
}

// analysis is chdb_query_analysis_v1: what the engine's parser makes of a text.
type analysis struct {
	size, statements, _, class uint32
}

// classReadOnly is the class of a statement that changes nothing.
const classReadOnly = 0

// queryFunc is one of the functions that take a statement with a format and
// parameters, the latter as parallel arrays.
type queryFunc = func(conn unsafe.Pointer, sql *byte, size uintptr, format *byte, formatSize uintptr, names **byte, nameSizes *uintptr, values **byte, valueSizes *uintptr, count uintptr) unsafe.Pointer

// library is the C interface of libchdb. Every pointer to a result is the
// library's, and is given back with destroyResult or destroyInsert.
type library struct {
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv **byte) *unsafe.Pointer
	closeConn         func(conn *unsafe.Pointer)
	classify          func(conn unsafe.Pointer, sql *byte, size uintptr, db *byte, dbSize uintptr, out *analysis) int32
	query             queryFunc
	stream            queryFunc
	fetch             func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancelStream      func(conn, stream unsafe.Pointer)
	resultBuffer      func(result unsafe.Pointer) *byte
	resultLength      func(result unsafe.Pointer) uintptr
	resultError       func(result unsafe.Pointer) string
	destroyResult     func(result unsafe.Pointer)
	insert            queryFunc
	appendInsert      func(stream unsafe.Pointer, data *byte, size uintptr) int32
	finishInsert      func(stream unsafe.Pointer) unsafe.Pointer
	cancelInsert      func(stream unsafe.Pointer)
	insertError       func(stream unsafe.Pointer) string
	destroyInsert     func(stream unsafe.Pointer)
}

// loadLibrary opens libchdb.so and keeps the Go runtime's signal handlers.
func loadLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	lib := &library{}
	for _, f := range []struct {
		name string
		fn   any
	}{
		{"chdb_set_signal_handlers_enabled", &lib.setSignalHandlers},
		{"chdb_connect", &lib.connect},
		{"chdb_close_conn", &lib.closeConn},
		{"chdb_classify_query_n", &lib.classify},
		{"chdb_query_with_params_n", &lib.query},
		{"chdb_stream_query_with_params_n", &lib.stream},
		{"chdb_stream_fetch_result", &lib.fetch},
		{"chdb_stream_cancel_query", &lib.cancelStream},
		{"chdb_result_buffer", &lib.resultBuffer},
		{"chdb_result_length", &lib.resultLength},
		{"chdb_result_error", &lib.resultError},
		{"chdb_destroy_query_result", &lib.destroyResult},
		{"chdb_stream_insert_with_params_n", &lib.insert},
		{"chdb_stream_append", &lib.appendInsert},
		{"chdb_stream_done", &lib.finishInsert},
		{"chdb_stream_cancel_insert", &lib.cancelInsert},
		{"chdb_stream_insert_error", &lib.insertError},
		{"chdb_destroy_insert_stream", &lib.destroyInsert},
	} {
		symbol, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("load %s: it has no %s: another version is needed: %w", path, f.name, err)
		}
		purego.RegisterFunc(f.fn, symbol)
	}
	return lib, keepSignals(func() { lib.setSignalHandlers(0) })
}

// cString is a copy of s as C wants it.
func cString(s string) *byte {
	return unsafe.SliceData(append([]byte(s), 0))
}
