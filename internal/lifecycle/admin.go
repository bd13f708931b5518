package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// The bounds of the admin server.
const (
	checkTimeout  = 2 * time.Second
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 5 * time.Minute // and so the longest profile
	idleTimeout   = 2 * time.Minute
	headerBytes   = 16 << 10
	bodyBytes     = 64 << 10
	adminConns    = 64
	adminStop     = time.Second
	readyTimeout  = 4 * time.Second // above checkTimeout
)

// AdminConfig is where the admin server listens.
type AdminConfig struct {
	// Addr is the host and port to listen on, such as ":8080". It is not for
	// the public: it serves profiles and has no authentication.
	Addr string
	// AskReady has the command ask the server of the one that runs (Ready), and exit.
	AskReady bool
	// StuckAfter is how long a loop that has to move may stand still before the process
	// counts as not alive.
	StuckAfter time.Duration
}

// DefaultAdminConfig listens on a port of every interface.
func DefaultAdminConfig(port int) AdminConfig {
	return AdminConfig{Addr: fmt.Sprintf(":%d", port), StuckAfter: 5 * time.Minute}
}

// Register binds the settings to --admin-addr, --stuck-after and --ready.
func (c *AdminConfig) Register(f *Flags) {
	f.String(&c.Addr, "admin-addr", "Where health, readiness, metrics and profiles are served (host:port).")
	f.Duration(&c.StuckAfter, "stuck-after", "How long a loop that has to move may stand still before /healthz says so, and whoever watches it starts the process again.")
	f.Bool(&c.AskReady, "ready", "Ask the process that runs on this machine with this --admin-addr whether it is ready, say what it says, and exit: with 1 if it is not.")
}

// Ready asks the admin server of a process that runs on this machine, and writes its reply
// to output. It returns an error when the process does not answer or is not ready.
func (c AdminConfig) Ready(ctx context.Context, output io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	url := "http://" + net.JoinHostPort(host, port) + "/readyz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	defer func() { _ = reply.Body.Close() }()
	if _, err := io.Copy(output, reply.Body); err != nil {
		return fmt.Errorf("read whether it is ready: %w", err)
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s says %s", url, reply.Status)
	}
	return nil
}

// Validate reports what is wrong with the configuration.
func (c AdminConfig) Validate() error {
	var errs []error
	_, port, err := net.SplitHostPort(c.Addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16) // 0: any that is free
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("admin address %q: expected host:port: %w", c.Addr, err))
	}
	if c.StuckAfter <= 0 {
		errs = append(errs, fmt.Errorf("stuck after %v: expected more than 0", c.StuckAfter))
	}
	return errors.Join(errs...)
}

// NewRegistry makes a metrics registry with those of the process and of Go.
func NewRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newBuildInfo(),
	)
	return r
}

// Admin is the admin HTTP server: /healthz (the process works, and need not be started
// again), /readyz (it can do what it is for), both with the reasons of checks that fail,
// /metrics and /debug/pprof/.
type Admin struct {
	config  AdminConfig
	logger  *slog.Logger
	handler http.Handler
	started chan struct{}

	mu       sync.Mutex
	liveness []check
	checks   []check // of readiness
	addr     string
}

type check struct {
	name string
	run  func(context.Context) error
	warn bool // it is told of, and the others decide
}

// NewAdmin makes an admin server that shows the metrics of a registry, and adds those of
// its checks to it.
func NewAdmin(config AdminConfig, metrics *prometheus.Registry, logger *slog.Logger) *Admin {
	a := &Admin{config: config, logger: logger, started: make(chan struct{})}
	metrics.MustRegister(a)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		results, alive := a.run(r.Context(), &a.liveness)
		answer(w, alive, health{Alive: &alive, Checks: reasons(results)})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		results, ready := a.run(r.Context(), &a.checks)
		answer(w, ready, health{Ready: &ready, Checks: reasons(results)})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	a.handler = http.MaxBytesHandler(mux, bodyBytes) // not pprof's cmdline: there may be a password in it
	return a
}

// AddLiveness adds a check that fails when only another start of the process can help. So
// it must ask nobody: to start a process again brings back no other that is away.
func (a *Admin) AddLiveness(name string, run func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.liveness = append(a.liveness, check{name: name, run: func(context.Context) error { return run() }})
}

// AddCheck adds a check that must pass for the command to be ready. Its error
// is shown as the reason. It must return soon after its context ends.
func (a *Admin) AddCheck(name string, run func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks = append(a.checks, check{name: name, run: run})
}

// AddWarning adds a check that is shown like the others, but does not keep the
// command from being ready.
func (a *Admin) AddWarning(name string, run func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.checks = append(a.checks, check{name: name, run: run, warn: true})
}

// Handler is what the server serves.
func (a *Admin) Handler() http.Handler { return a.handler }

// Component is the server as a component of a group.
func (a *Admin) Component() Component {
	return Component{Name: "admin server", Run: a.Run, Started: a.started}
}

// Addr is where the server listens, once it has started.
func (a *Admin) Addr() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.addr
}

// Run serves until ctx is cancelled.
func (a *Admin) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", a.config.Addr)
	if err != nil {
		return fmt.Errorf("listen for admin requests (--admin-addr): %w", err)
	}
	a.mu.Lock()
	a.addr = listener.Addr().String()
	a.mu.Unlock()
	a.logger.Info("admin server listens", "addr", a.Addr())
	close(a.started)

	server := &http.Server{
		Handler: a.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytes,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(netutil.LimitListener(listener, adminConns)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve admin requests: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminStop)
	defer cancel()
	if err := server.Shutdown(stop); errors.Is(err, context.DeadlineExceeded) {
		return server.Close() // a profile that takes longer is of no use to a stopped process
	} else if err != nil {
		return fmt.Errorf("stop the admin server: %w", err)
	}
	return nil
}

// result is what came of a check.
type result struct {
	check
	err error
}

// run runs checks, and reports whether those passed that must.
func (a *Admin) run(ctx context.Context, list *[]check) (results []result, pass bool) {
	a.mu.Lock()
	checks := slices.Clone(*list)
	a.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results = make([]result, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { results[i] = result{c, c.run(ctx)} })
	}
	wg.Wait()
	return results, !slices.ContainsFunc(results, func(r result) bool { return r.err != nil && !r.warn })
}

// health is the body of /healthz and of /readyz, each of which has its own word.
type health struct {
	Alive  *bool             `json:"alive,omitempty"`
	Ready  *bool             `json:"ready,omitempty"`
	Checks map[string]string `json:"checks"`
}

// reasons are why checks fail, by their names; "ok" for those that pass.
func reasons(results []result) map[string]string {
	all := map[string]string{}
	for _, r := range results {
		all[r.name] = "ok"
		if r.err != nil {
			all[r.name] = r.err.Error()
		}
	}
	return all
}

func answer(w http.ResponseWriter, pass bool, body health) {
	w.Header().Set("Content-Type", "application/json")
	if !pass {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body)
}

// What is exported of the checks.
var (
	aliveDesc = prometheus.NewDesc("convoview_alive", "1 while the process works, as /healthz says; 0: only another start can help.", nil, nil)
	readyDesc = prometheus.NewDesc("convoview_ready", "1 when every check passes that must, as /readyz says.", nil, nil)
	checkDesc = prometheus.NewDesc("convoview_check_ok", "1 when the check passes; /readyz has the reason when it does not. A failed check of feed, files or subscriptions does not keep a process from being ready.", []string{"check"}, nil)
)

// Describe implements prometheus.Collector.
func (a *Admin) Describe(to chan<- *prometheus.Desc) {
	to <- aliveDesc
	to <- readyDesc
	to <- checkDesc
}

// Collect implements prometheus.Collector: it runs the checks.
func (a *Admin) Collect(to chan<- prometheus.Metric) {
	number := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	_, alive := a.run(context.Background(), &a.liveness)
	to <- prometheus.MustNewConstMetric(aliveDesc, prometheus.GaugeValue, number(alive))
	results, ready := a.run(context.Background(), &a.checks)
	to <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, number(ready))
	for _, r := range results {
		to <- prometheus.MustNewConstMetric(checkDesc, prometheus.GaugeValue, number(r.err == nil), r.name)
	}
}
