// Package ports gives tests ports that stay theirs while the servers behind them
// are dead. For tests only.
package ports

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken from above those that make kafka-up uses, and from below those that
// deploy/kafka/with.sh takes and those that the kernel gives to outgoing connections
// (from 32768 on Linux, from 49152 elsewhere).
const first, behind = 20_000, 28_000

// Keep returns the first of n TCP ports of loopback in a row that nobody listens
// on. No other caller gets one of them, in whatever process, until release is
// called or this process ends: who looks for a port and finds it free cannot
// know that a server is only away, and is to come back to it.
func Keep(n int) (port int, release func(), err error) {
	for range 1000 {
		port := first + rand.IntN(behind-first-n)
		if release, ok := keep(port, n); ok {
			return port, release, nil
		}
	}
	return 0, nil, errors.New("no free ports between " + strconv.Itoa(first) + " and " + strconv.Itoa(behind))
}

// keep holds the UDP ports of the same numbers, which nobody asks for: the
// kernel gives each to one, and takes it back when a process ends in any way.
func keep(port, n int) (release func(), ok bool) {
	var held []io.Closer
	release = func() {
		for _, c := range held {
			c.Close()
		}
	}
	for p := port; p < port+n; p++ {
		mark, err := net.ListenPacket("udp4", Loopback(p))
		if err != nil {
			release()
			return nil, false
		}
		held = append(held, mark)
	}
	for p := port; p < port+n; p++ {
		l, err := net.Listen("tcp4", Loopback(p))
		if err != nil {
			release()
			return nil, false
		}
		l.Close()
	}
	return release, true
}

// Addr returns an address, as host:port, whose port is the test's until it ends.
func Addr(t testing.TB) string {
	t.Helper()
	port, release, err := Keep(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return Loopback(port)
}

// Loopback is the address of a port, as host:port.
func Loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
