package kafka

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// handoutPart is how many bytes are asked for of one partition: they are kept
// until they are handled.
const handoutPart = 128 << 10

// handout delivers the messages of some partitions, for as long as they are ours.
type handout struct {
	*subscription
	reader  *reader
	stop    context.Context // nothing more is handed out
	given   context.Context // ends when handlers have had their time
	giveUp  context.CancelFunc
	keep    func(context.Context, *handout) // called while handlers have time; may be nil
	work    sync.WaitGroup
	mu      sync.Mutex // of workers
	workers map[partition]*worker
}

func newHandout(stop context.Context, b *subscription, keep func(context.Context, *handout)) *handout {
	h := &handout{subscription: b, stop: stop, keep: keep, workers: map[partition]*worker{}, reader: newReader(stop, b.client, b.s.log)}
	h.reader.share = handoutPart
	h.given, h.giveUp = context.WithCancel(context.Background())
	return h
}

// run delivers from these offsets on until stop ends, and waits for handlers.
// Without a group it looks for new partitions.
func (h *handout) run(start map[partition]int64) {
	defer h.giveUp()
	for p, offset := range start {
		h.add(p, offset)
	}
	looked, told := time.Now(), false
	for h.stop.Err() == nil {
		err := h.reader.read(h.take)
		h.mark()
		if err == nil && h.group == nil && time.Since(looked) > tailLook {
			looked = time.Now()
			err = h.look()
		}
		if err != nil && h.stop.Err() == nil {
			h.trouble(&told, "a topic cannot be read; it is tried again", err)
			pause(h.stop, retryMost)
		}
	}
	h.reader.close()
	h.wait()
}

func (h *handout) add(p partition, offset int64) {
	w := &worker{handout: h, cursor: h.reader.add(p, offset), filled: make(chan struct{}, 1), position: offset, acked: offset}
	h.mu.Lock()
	h.workers[p] = w
	h.mu.Unlock()
	h.work.Go(w.run)
}

func (h *handout) look() error {
	places, err := h.client.layout(h.stop)
	if err != nil {
		return err
	}
	for p := range places {
		if h.reader.cursors[p] == nil {
			h.add(p, 0)
		}
	}
	return nil
}

// take queues a record for its partition's worker.
func (h *handout) take(c *cursor, r *record) error {
	w := h.workers[c.partition]
	w.mu.Lock()
	w.queue = append(w.queue, newDelivery(r))
	c.held.Store(true) // until the queue is empty
	w.mu.Unlock()
	select {
	case w.filled <- struct{}{}:
	default:
	}
	return nil
}

// mark tells the workers how far their partitions are read.
func (h *handout) mark() {
	for p, c := range h.reader.cursors {
		w := h.workers[p]
		w.mu.Lock()
		w.position = c.next
		w.mu.Unlock()
	}
}

// wait gives handlers their time.
func (h *handout) wait() {
	done := make(chan struct{})
	go func() {
		h.work.Wait()
		close(done)
	}()
	timer := time.AfterFunc(h.s.how.CloseTimeout, h.giveUp)
	defer timer.Stop()
	if h.keep != nil {
		var keeping sync.WaitGroup
		ctx, end := context.WithCancel(h.given)
		keeping.Go(func() { h.keep(ctx, h) })
		defer keeping.Wait()
		defer end()
	}
	<-done
}

// places are the offsets to go on from: everything before is acknowledged.
func (h *handout) places() map[partition]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := make(map[partition]int64, len(h.workers))
	for p, w := range h.workers {
		at[p] = w.place()
	}
	return at
}

// worker delivers the messages of one partition, one at a time.
type worker struct {
	*handout
	cursor *cursor
	filled chan struct{} // something was queued

	mu       sync.Mutex
	queue    []*delivery
	out      bool  // a message is being handled
	acked    int64 // the offset behind the last message that was acknowledged
	position int64 // the offset behind all that was queued
}

// place is the offset to go on from.
func (w *worker) place() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 && !w.out {
		return max(w.acked, w.position) // behind what is no message, too
	}
	return w.acked
}

func (w *worker) run() {
	for w.handout.stop.Err() == nil {
		d := w.next()
		if d == nil {
			select {
			case <-w.filled:
			case <-w.handout.stop.Done():
			}
			continue
		}
		if !w.handle(d) {
			return // it counts as not read
		}
		w.mu.Lock()
		w.out, w.acked = false, d.at.Offset+1
		w.mu.Unlock()
	}
}

// next takes a message from the queue, and has more read when it is empty.
func (w *worker) next() *delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		if w.cursor.held.CompareAndSwap(true, false) {
			w.reader.wake()
		}
		return nil
	}
	d := w.queue[0]
	w.queue[0], w.queue = nil, w.queue[1:]
	w.out = true
	return d
}

// handle delivers a message until it is acknowledged; false when it was not.
func (w *worker) handle(d *delivery) bool {
	for deliveries := 1; ; deliveries++ {
		acked, over := w.deliver(d)
		if acked || over {
			return acked
		}
		if !pause(w.handout.stop, w.backoff(deliveries)) {
			return false
		}
	}
}

// deliver delivers a message once. Over says that there is no time for more.
func (w *worker) deliver(d *delivery) (acked, over bool) {
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	m := d.message(ctx)
	var out chan<- *message.Message = w.handout.out
	stop := w.handout.stop.Done()
	for {
		select {
		case out <- m:
			out = nil
		case <-m.Acked():
			return true, false
		case <-m.Nacked():
			return false, false
		case <-stop:
			if out != nil {
				return false, true
			}
			stop = nil
		case <-w.given.Done():
			w.s.log.Warn("a message was not acknowledged in time when its subscription ended or its partition went to another member, and will come again",
				"topic", w.topic, "message", m.UUID)
			return false, true
		}
	}
}
