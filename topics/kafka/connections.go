package kafka

import (
	"context"
	"net"
	"sync"
	"time"
)

// reach makes one connection.
type reach = func(ctx context.Context, network, address string) (net.Conn, error)

// connections makes connections and remembers them while they are open: kafka-go
// would let one that waits for an answer wait on when nobody wants it any more.
type connections struct {
	reach reach
	mu    sync.Mutex
	open  map[*connection]bool
	ended bool
}

type connection struct {
	net.Conn
	from  *connections
	since time.Time
}

func newConnections(timeout time.Duration, dial reach) *connections {
	if dial == nil {
		dial = (&net.Dialer{Timeout: timeout}).DialContext
	}
	return &connections{reach: dial, open: map[*connection]bool{}}
}

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.reach(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		conn.Close()
		return nil, net.ErrClosed
	}
	made := &connection{Conn: conn, from: c, since: time.Now()}
	c.open[made] = true
	return made, nil
}

// Close closes the connection.
func (c *connection) Close() error {
	c.from.mu.Lock()
	delete(c.from.open, c)
	c.from.mu.Unlock()
	return c.Conn.Close()
}

// end closes all connections, and those that are made later.
func (c *connections) end() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.endOlder(0)
}

// endOlder closes the connections that have been open for so long.
func (c *connections) endOlder(age time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		if time.Since(conn.since) >= age {
			conn.Conn.Close()
		}
	}
}
