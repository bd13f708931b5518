package chaos

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/convoview/convoview/internal/events"
	"github.com/convoview/convoview/internal/ingest"
	"github.com/convoview/convoview/internal/projection/projectiontest"
)

// client is a client without faults.
func (r *run) client(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(r.config.Brokers...), kgo.Dialer(r.dial),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		panic(err)
	}
	return client
}

func (r *run) dial(ctx context.Context, _, address string) (net.Conn, error) {
	return r.network.dial(ctx, address, func(c net.Conn) net.Conn { return c })
}

// sent is a record with what it is to become.
type sent struct {
	kgo.Record
	entry
}

var (
	drawn = rapid.Custom(func(t *rapid.T) []events.Event { return projectiontest.Events(t, 60) })
	tied  = rapid.Custom(func(t *rapid.T) []events.Event { return projectiontest.Tied(t, 60) })
)

// produce sends everything, portion by portion.
func (r *run) produce() {
	draw := []*rapid.Generator[[]events.Event]{drawn, drawn, tied}[r.rng.IntN(3)]
	list := draw.Example(int(r.seed))
	var all []sent
	for _, e := range list {
		all = append(all, r.record(e))
	}
	for range len(list) / 5 {
		all = append(all, r.record(list[r.rng.IntN(len(list))]))
	}
	if r.rng.IntN(2) == 0 {
		for range 1 + r.rng.IntN(6) {
			all = append(all, r.useless())
		}
	}
	r.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		n := min(1+r.rng.IntN(15), len(all))
		r.send(all[:n])
		all = all[n:]
		time.Sleep(between(r.rng, time.Millisecond, 4*time.Second))
	}
}

// record is that of an event.
func (r *run) record(e events.Event) sent {
	s := sent{entry: entry{event: &e}}
	var err error
	if r.rng.IntN(2) == 0 {
		s.Value, err = events.AppendJSON(nil, e)
	} else {
		s.Headers = []kgo.RecordHeader{{Key: events.HeaderContentType, Value: []byte(events.ContentTypeProtobuf)}}
		s.Value, err = events.AppendProtobuf(nil, e)
	}
	if err != nil {
		panic(err)
	}
	s.Key = []byte(events.Key(e))
	return s
}

// valid is an event of our own.
func (r *run) valid(at events.Micros) sent {
	return r.record(events.Event{ID: "last", App: "last", Time: at, Body: &events.UserErased{UserID: "eve"}})
}

// useless is a record that holds no valid event.
func (r *run) useless() sent {
	if r.rng.IntN(3) == 0 {
		return sent{Record: kgo.Record{Key: []byte("k")}} // compaction's, to be skipped
	}
	return sent{Record: kgo.Record{Key: []byte("k"), Value: []byte("{")}, entry: entry{bad: true}}
}

// send writes a portion to some partition, perhaps in a transaction, perhaps in one that is aborted before.
func (r *run) send(portion []sent) {
	topic := []string{messagesTopic, messagesTopic, stateTopic}[r.rng.IntN(3)]
	at := events.Partition{Topic: topic, ID: r.rng.IntN(len(r.cluster.PartitionInfos(topic)))}
	switch r.rng.IntN(6) {
	case 0:
		r.transact(at, portion, kgo.TryCommit)
	case 1:
		// kfake forgets to say what was aborted in a response that MaxBytes has cut off.
		if portion[0].event != nil && r.config.FetchMaxBytes == ingest.DefaultConfig().FetchMaxBytes {
			e := *portion[0].event
			e.ID, e.App = "aborted", "aborted"
			r.transact(at, []sent{{Record: r.record(e).Record}, {Record: kgo.Record{Value: []byte("{")}}}, kgo.TryAbort)
		}
		fallthrough
	default:
		client := r.client()
		defer client.Close()
		r.write(client, at, portion)
	}
}

func (r *run) transact(at events.Partition, portion []sent, how kgo.TransactionEndTry) {
	client := r.client(kgo.TransactionalID("producer"))
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		panic(err)
	}
	r.write(client, at, portion)
	if err := client.EndTransaction(r.ctx, how); err != nil {
		panic(err)
	}
	r.mu.Lock()
	r.log[at] = append(r.log[at], entry{}) // the marker
	r.mu.Unlock()
	r.count(map[kgo.TransactionEndTry]string{kgo.TryAbort: "a transaction is aborted", kgo.TryCommit: "a transaction is committed"}[how])
}

func (r *run) write(client *kgo.Client, at events.Partition, portion []sent) {
	records := make([]*kgo.Record, len(portion))
	r.mu.Lock()
	next := int64(len(r.log[at]))
	for i := range portion {
		records[i] = &portion[i].Record
		records[i].Topic, records[i].Partition = at.Topic, int32(at.ID)
		r.log[at] = append(r.log[at], portion[i].entry)
		if e := portion[i].event; e != nil {
			r.want.Fold(*e)
		}
	}
	r.mu.Unlock()
	if err := client.ProduceSync(r.ctx, records...).FirstErr(); err != nil {
		panic(err)
	}
	for i := range records {
		if records[i].Offset != next+int64(i) {
			panic(fmt.Sprintf("%v: record at %d, want %d", at, records[i].Offset, next+int64(i)))
		}
	}
}
