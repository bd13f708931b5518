package lifecycle

import (
	"runtime/debug"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// build is what the process was built of.
var build = sync.OnceValue(func() (b struct{ version, revision, goVersion string }) {
	b.version, b.revision = "unknown", "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.version, b.goVersion = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = s.Value
		}
	}
	return b
})

// Version is the version of the module that the command was built of.
func Version() string { return build().version }

// newBuildInfo says what the process was built of.
func newBuildInfo() prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "convoview_build_info",
		Help:        "1, with what this process was built of.",
		ConstLabels: prometheus.Labels{"version": build().version, "revision": build().revision, "goversion": build().goVersion},
	})
	info.Set(1)
	return info
}
