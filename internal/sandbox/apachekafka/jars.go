package apachekafka

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// JarsEnv names the environment variable that holds the directory of Apache
// Kafka's jars where it is not to be looked for.
const JarsEnv = "CONVOVIEW_KAFKA_JARS"

// ErrJarsMissing is returned when Apache Kafka's jars are in none of the places
// where FindJars looks.
var ErrJarsMissing = errors.New("the jars of Apache Kafka are missing: run `make kafka` in the project's root, or set " + JarsEnv)

// complete is in a directory of jars when all of them are: `make kafka` writes it.
const complete = ".complete"

// FindJars returns the directory of the jars: the value of JarsEnv, else
// tools/kafka/jars in the working directory, the directory of the executable,
// or the nearest parent of either that has it.
func FindJars(getenv func(string) string) (string, error) {
	if dir := getenv(JarsEnv); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return "", fmt.Errorf("%w (%s=%s does not exist)", ErrJarsMissing, JarsEnv, dir)
		}
		return dir, nil
	}
	var starts []string
	if dir, err := os.Getwd(); err == nil {
		starts = append(starts, dir)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for {
			jars := filepath.Join(dir, "tools", "kafka", "jars")
			if _, err := os.Stat(filepath.Join(jars, complete)); err == nil {
				return jars, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return "", ErrJarsMissing
}
