package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
)

// wire stands between a broker under test and its cluster: its connections look
// at each request before it is sent, and do with it as they are told. Plain text
// only. It may be used concurrently.
type wire struct {
	ruling sync.Mutex // held while the rule judges

	mu    sync.Mutex
	rule  func(request) fate    // nil: all pass
	heard func(protocol.ApiKey) // when an answer begins; nil: nothing
	conns map[*wireConn]bool
	cut   bool // nothing passes
	gone  map[string]bool
}

// request is one that is about to be sent.
type request struct {
	key     protocol.ApiKey
	version int16
	address string // of the broker that it goes to
	body    []byte // with its header, and without its size
}

// fate is what becomes of a request.
type fate int

const (
	pass        fate = iota
	cutBefore        // the connection is cut and the broker never hears of it
	cutHalf          // the connection is cut in the middle of the request
	cutAfter         // the broker gets it, and the connection is cut before its answer
	cutInFlight      // it is sent and the connection cut at once
	hold             // it goes nowhere, and the connection stays
)

var errCut = errors.New("the connection was cut by the test")

// use has all requests from now on judged by a rule, which is called by one
// goroutine at a time, and may block.
func (w *wire) use(rule func(request) fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rule = rule
}

// once has one request of a kind meet its fate; the channel is closed then.
func (w *wire) once(key protocol.ApiKey, f fate) (met chan struct{}) {
	met = make(chan struct{})
	w.use(func(r request) fate {
		select {
		case <-met:
		default:
			if r.key == key {
				close(met)
				return f
			}
		}
		return pass
	})
	return met
}

// sever cuts all connections, and those to come too until mend is called.
func (w *wire) sever() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		c.Conn.Close()
	}
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// remove takes a broker away from this client.
func (w *wire) remove(address string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone == nil {
		w.gone = map[string]bool{}
	}
	w.gone[address] = true
	for c := range w.conns {
		if c.address == address {
			c.Conn.Close()
		}
	}
}

// dial is for [Options].
func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	cut := w.cut || w.gone[address]
	w.mu.Unlock()
	if cut {
		return nil, errCut
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &wireConn{Conn: conn, w: w, address: address}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conns == nil {
		w.conns = map[*wireConn]bool{}
	}
	w.conns[c] = true
	return c, nil
}

// listen has an answer's beginning told, of the kind of its request, before
// anybody else hears of it. fn may block.
func (w *wire) listen(fn func(protocol.ApiKey)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = fn
}

func (w *wire) judge(r request) fate {
	w.ruling.Lock()
	defer w.ruling.Unlock()
	w.mu.Lock()
	rule := w.rule
	w.mu.Unlock()
	if rule == nil {
		return pass
	}
	return rule(r)
}

// wireConn is a connection to one broker, on which kafka-go sends one request at
// a time.
type wireConn struct {
	net.Conn
	w       *wire
	address string
	written []byte // the beginning of a request that is not whole yet

	mu    sync.Mutex
	deaf  bool             // the next answer is lost, and the connection with it
	asked *protocol.ApiKey // whose answer has not begun
}

func (c *wireConn) Close() error {
	c.w.mu.Lock()
	delete(c.w.conns, c)
	c.w.mu.Unlock()
	return c.Conn.Close()
}

func (c *wireConn) Write(p []byte) (int, error) {
	c.written = append(c.written, p...)
	for len(c.written) >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(c.written))
		if len(c.written) < size {
			break
		}
		whole := c.written[:size]
		r := request{
			key: protocol.ApiKey(binary.BigEndian.Uint16(whole[4:])), version: int16(binary.BigEndian.Uint16(whole[6:])),
			address: c.address, body: whole[4:],
		}
		if err := c.send(whole, c.w.judge(r)); err != nil {
			return 0, err
		}
		c.written = c.written[:copy(c.written, c.written[size:])]
	}
	return len(p), nil
}

func (c *wireConn) send(whole []byte, f fate) error {
	switch f {
	case cutBefore:
		c.Close()
		return errCut
	case hold:
		return nil
	case cutHalf:
		_, _ = c.Conn.Write(whole[:len(whole)/2])
		c.Close()
		return errCut
	case cutAfter:
		c.mu.Lock()
		c.deaf = true
		c.mu.Unlock()
	}
	key := protocol.ApiKey(binary.BigEndian.Uint16(whole[4:]))
	c.mu.Lock()
	c.asked = &key
	c.mu.Unlock()
	if _, err := c.Conn.Write(whole); err != nil {
		return err
	}
	if f == cutInFlight {
		c.Close()
		return errCut
	}
	return nil
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	deaf, asked := c.deaf, c.asked
	if n > 0 {
		c.asked = nil
	}
	c.mu.Unlock()
	if deaf && n > 0 {
		c.Close()
		return 0, errCut
	}
	if n > 0 && asked != nil {
		c.w.mu.Lock()
		heard := c.w.heard
		c.w.mu.Unlock()
		if heard != nil {
			heard(*asked)
		}
	}
	return n, err
}

// parsed reads a request.
func parsed(t *testing.T, r request) protocol.Message {
	framed := binary.BigEndian.AppendUint32(nil, uint32(len(r.body)))
	_, _, _, m, err := protocol.ReadRequest(bytes.NewReader(append(framed, r.body...)))
	if err != nil {
		t.Errorf("a request of kind %v that cannot be read: %v", r.key, err)
	}
	return m
}
