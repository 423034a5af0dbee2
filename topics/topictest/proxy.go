package topictest

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// Proxy is a [Cutter] for a backend at one TCP address: it forwards bytes, and
// cuts where they hold a marker.
type Proxy struct {
	target          string
	request, answer []byte
	listener        net.Listener
	wg              sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool
	before  bool // armed by CutBefore
	after   bool // armed by CutAfter
	severed bool
	cuts    int
}

// NewProxy listens on a port of its own, in front of target. A commit's last
// request holds the text request, and the answer to it the text answer.
func NewProxy(t *testing.T, target, request, answer string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("the proxy cannot listen: %v", err)
	}
	p := &Proxy{target: target, request: []byte(request), answer: []byte(answer), listener: l, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Addr is where the broker connects instead.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// CutBefore implements [Cutter].
func (p *Proxy) CutBefore() { p.set(func() { p.before = true }) }

// CutAfter implements [Cutter].
func (p *Proxy) CutAfter() { p.set(func() { p.after = true }) }

// Sever implements [Cutter].
func (p *Proxy) Sever() {
	p.set(func() { p.severed = true })
	p.drop()
}

// Cuts implements [Cutter].
func (p *Proxy) Cuts() (n int) {
	p.set(func() { n = p.cuts })
	return n
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *Proxy) close() {
	p.listener.Close()
	p.Sever()
	p.wg.Wait()
}

func (p *Proxy) drop() {
	p.set(func() {
		for c := range p.conns {
			c.Close()
		}
		clear(p.conns)
	})
}

// keep remembers a connection; false when it must not live.
func (p *Proxy) keep(c net.Conn) (ok bool) {
	p.set(func() {
		if ok = !p.severed; ok {
			p.conns[c] = true
		}
	})
	return ok
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client) || !p.keep(server) {
			client.Close()
			server.Close()
			continue
		}
		p.wg.Go(func() { p.copy(server, client, p.request, &p.before) })
		p.wg.Go(func() { p.copy(client, server, p.answer, &p.after) })
	}
}

// copy forwards until one side ends, or until it is armed and sees the marker:
// then the bytes that hold it are lost together with every connection.
func (p *Proxy) copy(dst, src net.Conn, marker []byte, armed *bool) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 64<<10)
	var tail []byte // what the last read ended with, in case the marker is split
	for {
		n, err := src.Read(buf)
		if n > 0 {
			seen := append(tail, buf[:n]...)
			if bytes.Contains(seen, marker) && p.fire(armed) {
				p.drop()
				return
			}
			tail = bytes.Clone(seen[max(0, len(seen)-len(marker)+1):])
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) fire(armed *bool) (fired bool) {
	p.set(func() {
		if fired = *armed; fired {
			*armed = false
			p.cuts++
		}
	})
	return fired
}
