// Package ports finds ports for servers on this machine.
package ports

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// The ports to choose from are below those that Linux gives to outgoing connections:
// one of these may be free now and not when a server is started again.
const lowest, count = 15000, 15000

// Find finds ports of the loopback interface that nobody listens on.
func Find(ctx context.Context, n int) ([]int, error) {
	var found []int
	for range 1000 {
		port := lowest + rand.IntN(count)
		if !slices.Contains(found, port) && Free(ctx, Local(port)) == nil {
			if found = append(found, port); len(found) == n {
				return found, nil
			}
		}
	}
	return nil, fmt.Errorf("found %d free ports, expected %d", len(found), n)
}

// Free says whether one can listen at an address.
func Free(ctx context.Context, addr string) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return listener.Close()
}

// Local is the address of a port of the loopback interface.
func Local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
