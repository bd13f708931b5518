package lifecycle_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/convoview/convoview/internal/lifecycle"
)

func TestNewLogger(t *testing.T) {
	var out strings.Builder
	logger := lifecycle.NewLogger(lifecycle.LogConfig{Format: "json", Level: "warn"}, &out)
	logger.Info("quiet")
	logger.Warn("loud", "rows", 3, "took", 90*time.Second)
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil || line["msg"] != "loud" || line["rows"] != 3.0 || line["took"] != "1m30s" {
		t.Errorf("%v: %s", err, out.String())
	}
	out.Reset()
	lifecycle.NewLogger(lifecycle.LogConfig{Format: "text", Level: "debug"}, &out).Debug("all")
	if !strings.Contains(out.String(), "level=DEBUG msg=all") {
		t.Errorf("%s", out.String())
	}
}
