package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// The bounds of what a conversation takes in memory: its registers and its head
// alone, and with the item as replies have it.
const (
	registerBytes = 512
	encodedBytes  = 2048
)

// The scan over everybody: so much memory is to be used, and so many requests
// are in flight. They are loaded by hundreds, so that it ends within the hour.
const (
	scanMemory   = 512 << 20
	scanInFlight = 1024
)

var scanFlags = []string{
	"--cache-bytes", fmt.Sprint(scanMemory),
	"--batch-inboxes", fmt.Sprint(scanInFlight), "--batch-keys", "16384",
}

// cacheBytes measures what conversations take in memory, and whether the whole
// process keeps to what it was told.
func cacheBytes(ctx context.Context, b *bench, f *figures) error {
	worlds, err := b.seeded(ctx, hot[0])
	if err != nil {
		return err
	}
	if err := b.perConversation(ctx, worlds[0], f); err != nil {
		return err
	}
	if worlds, err = b.seeded(ctx, cold); err != nil {
		return err
	}
	return b.scan(ctx, worlds[0], f)
}

// perConversation measures by how much the heap grows with more and more users
// in memory. A total loads and judges a list and encodes nothing of it.
func (b *bench) perConversation(ctx context.Context, w *world, f *figures) error {
	if err := b.serve(ctx, hotMemory...); err != nil {
		return err
	}
	portion := w.shape.people / b.config.rounds
	var registers, encoded []float64
	for users := range slices.Chunk(w.people[:portion*b.config.rounds], portion) {
		before, err := b.heap(ctx)
		if err != nil {
			return err
		}
		if err := b.askAll(ctx, w, "unread", users, 64); err != nil {
			return err
		}
		judged, err := b.heap(ctx)
		if err != nil {
			return err
		}
		if err := b.askAll(ctx, w, "list", users, 64); err != nil {
			return err
		}
		shown, err := b.heap(ctx)
		if err != nil {
			return err
		}
		n := float64(len(users) * w.conversations)
		registers, encoded = append(registers, (judged-before)/n), append(encoded, (shown-before)/n)
		b.note("cache_bytes: %d more users take %.0f bytes a conversation, and %.0f when they were shown", len(users), (judged-before)/n, (shown-before)/n)
	}
	itself := func(x float64) float64 { return x }
	if err := f.compare("registers", median(registers, itself), registerBytes); err != nil {
		return err
	}
	return f.compare("encoded", median(encoded, itself), encodedBytes)
}

// scan asks for the list of everybody once, in the order of their names, as a
// job that walks over all users would.
func (b *bench) scan(ctx context.Context, w *world, f *figures) error {
	if err := b.serve(ctx, scanFlags...); err != nil {
		return err
	}
	everybody := slices.Sorted(slices.Values(w.people))
	const portions = 20
	for users := range slices.Chunk(everybody, len(everybody)/portions) {
		begin := time.Now()
		if err := b.askAll(ctx, w, "list", users, scanInFlight); err != nil {
			return err
		}
		resident, err := b.queryMetric(ctx, "process_resident_memory_bytes")
		if err != nil {
			return err
		}
		b.note("cache_bytes: %d more users in %v, %.0f MiB resident", len(users), time.Since(begin).Round(time.Second), resident/(1<<20))
	}
	resident, err := b.queryMetric(ctx, "process_resident_memory_bytes")
	if err != nil {
		return err
	}
	return f.compare("resident", resident/(1<<20), scanMemory/(1<<20))
}

// askAll asks something of each of some users once.
func (b *bench) askAll(ctx context.Context, w *world, operation string, users []string, inFlight int) error {
	_, err := closedLoop(ctx, b.conns, inFlight, time.Hour, len(users), patient(func(nc *nats.Conn, n int) error {
		body, err := json.Marshal(map[string]any{"userID": users[n]})
		if err != nil {
			return err
		}
		reply, err := request(nc, subjectOf(w.app, operation), body)
		if err == nil && operation == "list" && !bytes.Contains(reply.Data, item) { // nothing would be measured
			err = fmt.Errorf("the list of %s in %s has no conversation, expected some", users[n], w.app)
		}
		return err
	}))
	return err
}

// heap is how much of the query worker's heap is in use, after all garbage was
// collected: twice, since what is pooled survives the first time.
func (b *bench) heap(ctx context.Context) (float64, error) {
	for range 2 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.stack.Ports.QueryAdminAddr()+"/debug/pprof/heap?gc=1", nil)
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, fmt.Errorf("collect the query worker's garbage: %w", err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if err != nil {
			return 0, err
		}
	}
	return b.queryMetric(ctx, "go_memstats_heap_alloc_bytes")
}
