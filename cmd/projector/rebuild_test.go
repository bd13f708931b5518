package main

import (
	"net"
	"strings"
	"testing"
)

// TestRebuild_PortInUse begins no generation when nobody could see how far it is.
func TestRebuild_PortInUse(t *testing.T) {
	o := newOperator(t)
	o.mustRun("migrate")
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if _, _, err := o.run(0, "rebuild", "--admin-addr", taken.Addr().String()); err == nil || !strings.Contains(err.Error(), "--admin-addr") {
		t.Errorf("got %v, want it to name the flag", err)
	}
	r, err := o.server.Registry(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if g, begun, err := o.server.Unfinished(t.Context(), r); begun || err != nil {
		t.Errorf("begun is %+v, %v", g, err)
	}
}
