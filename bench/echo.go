package main

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/convoview/convoview/internal/lifecycle"
)

// echoCommand is the argument that makes this command the echo.
const echoCommand = "echo"

// The echo's two endpoints.
const (
	echoSubject    = "bench.echo"
	prepareSubject = "bench.prepare"
)

// serveEcho answers with a prepared reply, whatever it is asked: the least that
// a NATS micro service can do.
func serveEcho(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	config := lifecycle.DefaultNATSConfig()
	f := lifecycle.NewFlags("bench echo", "The reference that requests are measured against.", getenv, stdout)
	config.Register(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	nc, err := nats.Connect(config.URL, nats.Name("bench echo"))
	if err != nil {
		return fmt.Errorf("connect to NATS at %s: %w", config.URL, err)
	}
	defer nc.Close()
	service, err := micro.AddService(nc, micro.Config{Name: "bench-echo", Version: "1.0.0"})
	if err != nil {
		return err
	}
	var prepared atomic.Pointer[[]byte]
	prepared.Store(new([]byte))
	for subject, answer := range map[string]micro.HandlerFunc{
		echoSubject: func(r micro.Request) { _ = r.Respond(*prepared.Load()) },
		prepareSubject: func(r micro.Request) {
			prepared.Store(new(r.Data()))
			_ = r.Respond(nil)
		},
	} {
		if err := service.AddEndpoint(subject[len("bench."):], answer, micro.WithEndpointSubject(subject)); err != nil {
			return err
		}
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, "ready"); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// prepareEcho says what the echo is to reply.
func prepareEcho(nc *nats.Conn, reply []byte) error {
	if _, err := nc.Request(prepareSubject, reply, time.Second); err != nil {
		return fmt.Errorf("prepare the echo: %w", err)
	}
	return nil
}
