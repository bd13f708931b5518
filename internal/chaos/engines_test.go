package chaos

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/feed"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection"
	"github.com/convoview/convoview/internal/projection/projectiontest"
	"github.com/convoview/convoview/internal/readmodel"
	"github.com/convoview/convoview/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

var engineRuns = flag.Int("engine-runs", 1, "how many runs to play on the real engines")

// TestChaos_RealEngines has projectors write to ClickHouse and announce over NATS through
// proxies that delay, slice, silence and cut their links, those to the brokers too; some are
// cut off for good, as if killed. In the end the generation is, row by row, the one that is
// written at once, and who follows has heard of every partition's end.
func TestChaos_RealEngines(t *testing.T) {
	for n := range *engineRuns {
		seed := *seed + uint64(n) // not negative
		t.Run(fmt.Sprint(seed), func(t *testing.T) { newSite(t, seed).play() })
	}
}

// poisons are what links suffer, in the words of toxiproxy.
var poisons = []string{
	`{"type": "latency", "stream": "downstream", "attributes": {"latency": 40, "jitter": 20}}`,
	`{"type": "latency", "stream": "upstream", "attributes": {"latency": 40, "jitter": 20}}`,
	`{"type": "bandwidth", "stream": "upstream", "attributes": {"rate": 4}}`,
	`{"type": "slicer", "stream": "downstream", "attributes": {"average_size": 40, "size_variation": 20, "delay": 100}}`,
	`{"type": "limit_data", "stream": "upstream", "attributes": {"bytes": 2000}}`,  // an insert half sent
	`{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 100}}`, // its acknowledgement lost
	`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 60}}`,
	`{"type": "reset_peer", "stream": "downstream", "attributes": {"timeout": 0}}`,
}

// link is a way to a server through a proxy.
type link struct {
	proxies  *toxiproxy.ApiServer
	upstream string
	addr     string // where it listens

	mu    sync.Mutex
	proxy *toxiproxy.Proxy
	down  bool // for good
}

// renew cuts all connections and takes new ones, without what they suffered. (A toxic is
// taken off a proxy only with it: taking it off its connections may never end.)
func (l *link) renew() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil
	}
	if l.proxy != nil {
		l.proxy.Stop()
	}
	l.proxy = toxiproxy.NewProxy(l.proxies, l.upstream, l.addr, l.upstream)
	return l.proxy.Start()
}

func (l *link) poison(toxic string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil
	}
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic))
	return err
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.down {
		l.down = true
		l.proxy.Stop()
	}
}

// site is a run on the real engines.
type site struct {
	*testing.T
	ctx     context.Context
	seed    uint64
	rng     *rand.Rand
	proxies *toxiproxy.ApiServer
	cluster *kfake.Cluster
	config  ingest.Config
	db      string
	running []*projector
	ends    map[events.Partition]int64
	want    *projection.Model
}

// projector is one with links of its own.
type projector struct {
	site   *site
	cancel context.CancelFunc
	done   chan error

	mu    sync.Mutex
	links map[string]*link // by the address of the server
	dead  bool
}

func newSite(t *testing.T, seed uint64) *site {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	s := &site{
		T: t, ctx: ctx, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), // no secret
		proxies: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()),
		db:      sandboxtest.Database(t),
		ends:    map[events.Partition]int64{}, want: projection.NewModel(),
	}
	var err error
	s.cluster, err = kfake.NewCluster(kfake.NumBrokers(2), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cluster.Close)
	for name, maxBytes := range map[string]string{messagesTopic: "1048588", stateTopic: "1048588", deadTopic: "1114124"} {
		if err := s.cluster.CreateTopic(name, 2, map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": maxBytes}); err != nil {
			t.Fatal(err)
		}
	}
	c := ingest.DefaultConfig()
	c.Brokers, c.GroupID = s.cluster.ListenAddrs(), group
	c.MaxBatchEvents, c.MaxPieceEvents, c.FlushInterval = 20, 10, 20*time.Millisecond
	// A silent link is one that is away sooner than in production.
	c.RequestTimeout, c.SessionTimeout, c.StopTimeout = time.Second, time.Second, time.Second
	c.RebalanceTimeout, c.MetadataInterval, c.MaxRetryInterval = 3*time.Second, 200*time.Millisecond, 200*time.Millisecond
	c.AnnounceInterval = 100 * time.Millisecond
	s.config = c
	return s
}

// server connects to a read model in ClickHouse, and takes a link that is silent for so long
// for one that is away.
func (s *site) server(address, database string, silent time.Duration) *readmodel.Server {
	s.Helper()
	c := readmodel.DefaultConfig()
	c.Addresses, c.Database = []string{address}, database
	c.ReadTimeout, c.WriteTimeout = silent, silent
	server, err := readmodel.Open(c)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = server.Close() })
	return server
}

// model gives the one generation of a new read model.
func (s *site) model(database string) *readmodel.Store {
	s.Helper()
	server := s.server(sandboxtest.Start(s).ClickHouseAddr(), database, patience)
	s.Cleanup(func() {
		if err := server.DropAll(context.WithoutCancel(s.ctx)); err != nil {
			s.Error(err)
		}
	})
	if err := server.Migrate(s.ctx); err != nil {
		s.Fatal(err)
	}
	return server.Generation(1)
}

func (s *site) play() {
	got, want := s.model(s.db), s.model(sandboxtest.Database(s))
	follower := s.follow()
	s.start()
	s.start()
	list := drawn.Example(s.rng.IntN(1 << 30))
	shift := events.MicrosOf(time.Now()) - projectiontest.Now
	for i := range list {
		list[i].Time += shift
		s.want.Fold(list[i])
	}
	list = append(list, list[:len(list)/3]...)
	s.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for len(list) > 0 {
		n := min(1+s.rng.IntN(10), len(list))
		s.send(list[:n])
		list = list[n:]
		s.suffer()
	}
	for _, p := range s.running {
		p.recover()
	}

	sound := s.config
	sound.RequestTimeout = patience
	offsets, err := ingest.NewOffsets(sound)
	if err != nil {
		s.Fatal(err)
	}
	defer offsets.Close()
	for n := 1; ; n++ {
		behind, err := offsets.Behind(s.ctx, s.ends)
		if err != nil {
			s.Fatal(err)
		}
		if len(behind) == 0 {
			break
		}
		if n%250 == 0 {
			s.dismiss()
		}
		time.Sleep(20 * time.Millisecond)
	}
	for p, end := range s.ends {
		if err := follower.Await(s.ctx, events.Partition{Topic: p.Topic, ID: p.ID}, end-1); err != nil {
			s.Errorf("%v was not heard of to its end: %v", p, err)
		}
	}
	for _, p := range s.running {
		p.cancel()
		if err := <-p.done; err != nil {
			s.Error(err)
		}
	}
	if err := want.Write(s.ctx, s.want); err != nil {
		s.Fatal(err)
	}
	for _, d := range s.compare(got, want) {
		s.Errorf("%s: %s is %s, want %s; again: make chaos SEED=%d RUNS=0 ENGINE_RUNS=1", d.Table, d.Key, d.Ours, d.Theirs, s.seed)
	}
	// It would have been seen.
	one := projection.NewModel()
	one.Fold(events.Event{ID: "one", App: "more", Time: projectiontest.Now, Body: &events.UserErased{UserID: "eve"}})
	if err := got.Write(s.ctx, one); err != nil {
		s.Fatal(err)
	}
	if len(s.compare(got, want)) != 1 {
		s.Error("a row more is no difference")
	}
}

// compare gives all rows that differ, and not only those that replies show.
func (s *site) compare(got, want *readmodel.Store) (list []readmodel.Difference) {
	s.Helper()
	tell := func(d readmodel.Difference) error { list = append(list, d); return nil }
	if err := got.Compare(s.ctx, want, time.Time{}, tell, func(readmodel.Compared) {}); err != nil {
		s.Fatal(err)
	}
	return list
}

// send writes events to some partition.
func (s *site) send(list []events.Event) {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.config.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	at := events.Partition{Topic: []string{messagesTopic, stateTopic}[s.rng.IntN(2)], ID: s.rng.IntN(2)}
	var records []*kgo.Record
	for _, e := range list {
		value, err := events.AppendJSON(nil, e)
		if err != nil {
			s.Fatal(err)
		}
		records = append(records, &kgo.Record{Topic: at.Topic, Partition: int32(at.ID), Key: []byte(events.Key(e)), Value: value})
	}
	if err := client.ProduceSync(s.ctx, records...).FirstErr(); err != nil {
		s.Fatal(err)
	}
	s.ends[at] += int64(len(records))
}

// suffer has something happen to some projector, for a while.
func (s *site) suffer() {
	s.Helper()
	i := s.rng.IntN(len(s.running))
	p := s.running[i]
	if s.rng.IntN(6) == 0 {
		p.kill()
		s.running = slices.Delete(s.running, i, i+1)
		s.start()
		return
	}
	p.suffer(poisons[s.rng.IntN(len(poisons))], s.rng)
	time.Sleep(between(s.rng, 20*time.Millisecond, 300*time.Millisecond))
	if s.rng.IntN(2) == 0 {
		p.recover()
	}
}

// dismiss removes all members from the group. Those that live join again; those that kfake
// has forgotten do not, see [run.bury].
func (s *site) dismiss() {
	s.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.config.Brokers...))
	if err != nil {
		s.Fatal(err)
	}
	defer client.Close()
	for _, m := range s.cluster.GroupInfo(group).Members {
		if err := leave(s.ctx, client, m.MemberID); err != nil {
			s.Fatal(err)
		}
	}
}

// follow follows the feed.
func (s *site) follow() *feed.Follower {
	f := feed.NewFollower(feed.DefaultConfig(), sandboxtest.NATS(s), deaf{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(s.ctx)
	go func() { defer close(done); _ = f.Run(ctx) }()
	s.Cleanup(func() { cancel(); <-done })
	return f
}

// deaf makes nothing of what it hears.
type deaf struct{}

func (deaf) Apply(*projection.Model, []events.Event) {}
func (deaf) Lost()                                   {}

// start starts a projector.
func (s *site) start() {
	s.Helper()
	p := &projector{site: s, done: make(chan error, 1), links: map[string]*link{}}
	sandbox := sandboxtest.Start(s)
	clickhouse, err := p.link(sandbox.ClickHouseAddr())
	if err != nil {
		s.Fatal(err)
	}
	natsAddr, err := p.link(strings.TrimPrefix(sandbox.NATSURL(), "nats://"))
	if err != nil {
		s.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+natsAddr, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(nc.Close)
	config := s.config
	config.Dialer = p
	consumer, err := ingest.New(config, readmodel.NewLive(s.server(clickhouse, s.db, config.RequestTimeout)), events.NewDecoder(events.DefaultLimits()).Sharing(),
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		s.Fatal(err)
	}
	consumer.AnnounceTo(feed.NewPublisher(nc))
	ctx, cancel := context.WithCancel(s.ctx)
	p.cancel = cancel
	go func() { p.done <- consumer.Run(ctx) }()
	s.Cleanup(func() { p.kill() })
	s.running = append(s.running, p)
}

// link gives the address of the projector's way to a server.
func (p *projector) link(upstream string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return "", errDead
	}
	l := p.links[upstream]
	if l == nil {
		l = &link{proxies: p.site.proxies, upstream: upstream, addr: "127.0.0.1:0"}
		if err := l.renew(); err != nil {
			return "", err
		}
		l.addr = l.proxy.Listen
		p.links[upstream] = l
	}
	return l.addr, nil
}

// Dial connects to a broker.
func (p *projector) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	addr, err := p.link(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// Validate has nothing to complain of.
func (p *projector) Validate() error { return nil }

func (p *projector) all() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*link
	for _, upstream := range slices.Sorted(maps.Keys(p.links)) {
		list = append(list, p.links[upstream])
	}
	return list
}

// suffer poisons one of the links.
func (p *projector) suffer(toxic string, rng *rand.Rand) {
	p.site.Helper()
	list := p.all()
	l := list[rng.IntN(len(list))]
	if err := l.renew(); err != nil {
		p.site.Fatal(err)
	}
	if err := l.poison(toxic); err != nil {
		p.site.Fatal(err)
	}
}

// recover makes all links sound.
func (p *projector) recover() {
	p.site.Helper()
	for _, l := range p.all() {
		if err := l.renew(); err != nil {
			p.site.Fatal(err)
		}
	}
}

// kill cuts the projector off for good.
func (p *projector) kill() {
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	for _, l := range p.all() {
		l.cut()
	}
	p.cancel()
}
