package ingest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/lifecycle"
)

// TestWriter_FailedCommitsAreRare has commits fail while nothing else happens: each attempt
// waits longer than the one before, up to MaxRetryInterval, however often the writer wakes.
func TestWriter_FailedCommitsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := DefaultConfig()
		c, err := New(config, newMemorySink(), events.NewDecoder(events.DefaultLimits()), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		commits := 0
		s := &session{done: make(chan struct{}), commit: func(map[string]map[int]int64) error {
			commits++
			return kafka.NotEnoughReplicas
		}}
		p := newPartition(messagesTopic, kafka.PartitionAssignment{Offset: -1}, s)
		p.reset(7) // which is to be committed
		s.partitions = []*partition{p}
		c.writer.session.Store(s)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.writer.run(ctx) }()
		const long = 10 * time.Minute
		for begin := time.Now(); time.Since(begin) < long; time.Sleep(100 * time.Millisecond) {
			c.writer.wake()
		}
		most := int(float64(long)/(0.8*float64(config.MaxRetryInterval))) + 10
		if commits < 10 || commits > most {
			t.Errorf("%d commits in %v, want no more than %d", commits, long, most)
		}

		// Another generation does not wait for the one before.
		next := &session{done: make(chan struct{}), commit: func(map[string]map[int]int64) error { return nil }, partitions: []*partition{p}}
		c.writer.session.Store(next)
		c.writer.wake()
		synctest.Wait()
		if _, news := p.committable(); news {
			t.Error("the next generation commits nothing")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestConsumer_StopsDespiteAHangingPartition stops while a decoder does not return: what
// others have folded is written and committed, and the stop takes no longer than it may.
func TestConsumer_StopsDespiteAHangingPartition(t *testing.T) {
	h := newEmbedded(t, 2)
	hanging, goOn := make(chan struct{}), make(chan struct{})
	defer close(goOn)
	config := h.config()
	config.StopTimeout = 2 * time.Second
	config.FlushInterval = time.Hour // only the stop writes
	r := h.runWith(config, h.sink, hangingAt{events.NewDecoder(events.DefaultLimits()), "hang", hanging, goOn})
	h.produce(messagesTopic, 1, kafka.Record{Value: kafka.NewBytes([]byte("hang"))})
	<-hanging
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.poll(func() bool { events, _ := r.accumulator.counts(); return events == 5 }, "5 events that are folded")
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if got := h.commits()[messagesTopic+"/0"]; got != 5 {
		t.Errorf("committed up to %d, want 5", got)
	}
	if h.logs.count("a partition is still being read; going on without what it has come to") == 0 {
		t.Error("nothing is said of the partition that hangs")
	}
}

// hangingAt is a decoder that does not return for a value.
type hangingAt struct {
	Decoder
	value         string
	hanging, goOn chan struct{}
}

func (d hangingAt) Decode(r events.Record) (events.Event, error) {
	if string(r.Value) == d.value {
		close(d.hanging)
		<-d.goOn
	}
	return d.Decoder.Decode(r)
}

// TestConsumer_FirstBrokerHangsUp has the first broker of the list take connections and end
// them, as a proxy does that has nothing behind it: the group is joined by way of the second.
func TestConsumer_FirstBrokerHangsUp(t *testing.T) {
	h := newEmbedded(t, 1)
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	go func() {
		for {
			conn, err := proxy.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	config := h.config()
	config.Brokers = []string{proxy.Addr().String(), h.addrs[0]}
	r := h.run(config, h.sink)
	h.produce(messagesTopic, 0, h.messages(5)...)
	h.awaitAll()
	h.checkModel()
	r.mustStop()
}

// TestCluster_SilentWhileItAuthenticates connects to a broker that takes connections and
// says nothing, which kafka-go would wait for without an end.
func TestCluster_SilentWhileItAuthenticates(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	config := DefaultConfig()
	config.RequestTimeout = 50 * time.Millisecond
	config.SASL = SASL{SASLPlain, &lifecycle.Account{Username: "projector", Password: "correct horse"}}
	conn, err := newCluster(config).dialer.DialContext(t.Context(), "tcp", silent.Addr().String())
	if err == nil {
		_ = conn.Close()
		t.Error("authenticated by nobody")
	}
}

// TestCluster_GivesUpConnecting has the leader of a partition be silent while we tell it who
// we are: whoever waits for that can be stopped.
func TestCluster_GivesUpConnecting(t *testing.T) {
	account := &lifecycle.Account{Username: "projector", Password: "correct horse"}
	h := newEmbedded(t, 1, kfake.EnableSASL(), kfake.Superuser(SASLPlain, account.Username, account.Password))
	h.client.Transport = &kafka.Transport{SASL: SASL{SASLPlain, account}.Client()}
	config := h.config()
	config.SASL, config.RequestTimeout = SASL{SASLPlain, account}, time.Hour
	c := newCluster(config)
	defer c.close()
	if _, err := c.topics(h.ctx, messagesTopic); err != nil { // which needs no more of it
		t.Fatal(err)
	}
	var asked atomic.Bool
	ctx, stop := context.WithCancel(h.ctx)
	h.cluster.ControlKey(int16(kmsg.SASLHandshake), func(kmsg.Request) (kmsg.Response, error, bool) {
		h.cluster.KeepControl()
		asked.Store(true)
		h.cluster.SleepControl(func() { stop(); <-h.ctx.Done() })
		return nil, nil, false
	})
	if _, _, err := c.dialLeader(ctx, events.Partition{Topic: messagesTopic}); err == nil || !asked.Load() {
		t.Errorf("dialled a leader that said nothing (asked: %t): %v", asked.Load(), err)
	}
}
