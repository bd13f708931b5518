//go:build kafka

package apachekafka_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/convoview/convoview/internal/sandbox/apachekafka"
)

// asParent makes the test binary a process that starts a broker, in the directory
// that it names, and waits to be killed.
const asParent = "CONVOVIEW_TEST_AS_KAFKAS_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asParent); dir != "" {
		parent(dir)
	}
	os.Exit(m.Run())
}

func parent(dir string) {
	jars, err := apachekafka.FindJars(os.Getenv)
	if err == nil {
		var c *apachekafka.Cluster
		if c, err = apachekafka.Start(context.Background(), apachekafka.Config{Jars: jars, Dir: dir}); err == nil {
			fmt.Println(c.PID(1))
			select {}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}
