package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// The topic of operating requests has one partition. A request is a record with
// a key of its own; signs of work and answers are records with the same key.
const (
	headerOps = "millrace-ops"
	opsAsk    = "ask"
	opsWork   = "work"
	opsDone   = "done"
	// headerWork names the work in its signs and its answer.
	headerWork = "millrace-work"

	// askWait is how long the first sign may take, askMore how long others may
	// come after it.
	askWait = 3 * time.Second
	askMore = 500 * time.Millisecond
	// A process that works gives a sign every workSign, beginning at once. One
	// that was not heard for workSilent has gone.
	workSign   = time.Second
	workSilent = 6 * time.Second
	// askOld is how old a request may be, by the clocks of two machines. Who
	// asked has given up long before.
	askOld = time.Minute
	// answerLast is how long an answer may take to be written while the broker
	// or the service ends.
	answerLast = 2 * time.Second
)

// opsRecord is a record on the topic of operating requests.
type opsRecord struct {
	key, kind, work string
	data            []byte
}

// send writes a message, and again for a while where that fails: whoever reads it
// twice knows it by its key or its work.
func (m *opsRecord) send(ctx context.Context, c *client, topic string) error {
	err := c.patiently(ctx, func() error {
		request := &produce.Request{Acks: int16(kafkago.RequireAll), Timeout: int32(c.wait.Milliseconds())}
		request.Topics = []produce.RequestTopic{{Topic: topic, Partitions: []produce.RequestPartition{{RecordSet: protocol.RecordSet{
			Attributes: protocol.Zstd,
			Records: protocol.NewRecordReader(protocol.Record{
				Time: time.Now(), Key: protocol.NewBytes([]byte(m.key)), Value: protocol.NewBytes(m.data),
				Headers: []protocol.Header{{Key: headerOps, Value: []byte(m.kind)}, {Key: headerWork, Value: []byte(m.work)}},
			}),
		}}}}}
		answer, err := c.do(ctx, request)
		if err != nil {
			return err
		}
		for _, t := range answer.(*produce.Response).Topics {
			for _, p := range t.Partitions {
				return failed(p.ErrorCode)
			}
		}
		return errors.New("the answer is empty")
	})
	if err != nil {
		return fmt.Errorf("writing to %s: %w", topic, err)
	}
	return nil
}

// receive reads what send wrote; data is the record's.
func receive(r *record) opsRecord {
	m := opsRecord{key: string(r.key), data: r.value}
	for _, h := range r.headers {
		switch h.Key {
		case headerOps:
			m.kind = string(h.Value)
		case headerWork:
			m.work = string(h.Value)
		}
	}
	return m
}

// opsEnd is where the topic of operating requests ends now; false when there is
// none.
func (b *Broker) opsEnd(ctx context.Context, c *client) (end int64, exists bool, err error) {
	p := partition{b.names.ops(), 0}
	err = c.patiently(ctx, func() error {
		layout, err := c.layout(ctx)
		if err != nil {
			return err
		}
		if _, exists = layout[p]; !exists {
			return nil
		}
		ends, err := c.offsets(ctx, uncommitted, map[partition]int64{p: atEnd})
		end = ends[p]
		return err
	})
	return end, exists, err
}

// Ask sends an operating request to every process that serves.
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	answers, err := b.ask(ctx, request)
	switch {
	case b.ctx.Err() != nil:
		return answers, errClosed
	case ctx.Err() != nil:
		return answers, ctx.Err()
	case err != nil:
		return answers, b.explain(fmt.Errorf("ask the running processes: %w", err))
	}
	return answers, nil
}

func (b *Broker) ask(ctx context.Context, request []byte) ([][]byte, error) {
	c, err := newClient(&b.opts, b.names.ops())
	if err != nil {
		return nil, err
	}
	defer c.close()
	end, exists, err := b.opsEnd(ctx, c)
	if err != nil || !exists { // nobody has ever served
		return nil, err
	}
	m := opsRecord{key: rand.Text(), kind: opsAsk, data: request}
	if err := m.send(ctx, c, b.names.ops()); err != nil {
		return nil, err
	}
	r := newReader(ctx, c, b.log)
	defer r.close()
	r.add(partition{b.names.ops(), 0}, end)
	return collect(r, m.key)
}

// errSilent says that a process which was at work has not been heard of for long.
var errSilent = errors.New("a process that was at work has gone silent: what it was to do may be done, in part or not at all; look, and ask again")

// collect waits for the answers to one request.
func collect(r *reader, key string) (got [][]byte, err error) {
	heard := map[string]time.Time{} // who works, and when the last sign came
	done := map[string]bool{}
	until := time.Now().Add(askWait)
	first := true
	for len(heard) > 0 || time.Now().Before(until) {
		for _, at := range heard {
			if time.Since(at) > workSilent {
				return got, errSilent
			}
		}
		err := r.read(func(_ *cursor, rec *record) error {
			m := receive(rec)
			if m.key != key || m.kind == opsAsk || done[m.work] {
				return nil
			}
			if first {
				first, until = false, time.Now().Add(askMore)
			}
			if m.kind == opsWork {
				heard[m.work] = time.Now()
				return nil
			}
			delete(heard, m.work)
			done[m.work] = true
			got = append(got, bytes.Clone(m.data))
			return nil
		})
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

// Serve answers operating requests that are sent from now on, until ctx ends.
func (b *Broker) Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error {
	ctx, cancel := b.bound(ctx)
	s := &server{b: b, answer: answer, next: -1, seen: map[string]time.Time{}}
	defer s.work.Wait()
	defer cancel()
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := s.run(ctx)
		if b.ctx.Err() != nil {
			return errClosed
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Warn("operating requests cannot be read; it is tried again", "error", b.explain(err).Error())
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// server is one call of Serve.
type server struct {
	b      *Broker
	answer func(context.Context, []byte) []byte
	next   int64                // the offset to go on from; -1 before the first look
	seen   map[string]time.Time // requests, which may be there twice
	work   sync.WaitGroup
}

func (s *server) run(ctx context.Context) error {
	c, err := newClient(&s.b.opts, s.b.names.ops())
	if err != nil {
		return err
	}
	defer c.close()
	if s.next < 0 {
		end, _, err := s.b.opsEnd(ctx, c)
		if err != nil {
			return err
		}
		s.next = end // 0 where the topic is yet to be made: all of it will be new
	}
	r := newReader(ctx, c, s.b.log)
	defer r.close()
	at := r.add(partition{s.b.names.ops(), 0}, s.next)
	for {
		err := r.read(func(_ *cursor, rec *record) error {
			s.take(ctx, rec)
			return nil
		})
		s.next = at.next
		if err != nil {
			return err
		}
	}
}

// take begins to work on a request, if that is what a record holds.
func (s *server) take(ctx context.Context, rec *record) {
	m := receive(rec)
	if m.kind != opsAsk || m.key == "" {
		return
	}
	now := time.Now()
	for key, at := range s.seen {
		if now.Sub(at) > 2*askOld {
			delete(s.seen, key)
		}
	}
	if _, again := s.seen[m.key]; again {
		return
	}
	s.seen[m.key] = now
	if age := now.Sub(rec.time); age > askOld {
		s.b.log.Warn("an operating request is not carried out: it is too old, or the clock of the machine that sent it is wrong",
			"age", age.Round(time.Second).String())
		return
	}
	m.data = bytes.Clone(m.data)
	s.work.Go(func() {
		if err := s.reply(ctx, &m); err != nil {
			s.b.log.Warn("an operating request could not be answered", "error", err.Error())
		}
	})
}

// reply answers one request, and gives signs of work until then.
func (s *server) reply(ctx context.Context, m *opsRecord) error {
	topic := s.b.names.ops()
	sign := opsRecord{key: m.key, kind: opsWork, work: rand.Text()}
	if err := sign.send(ctx, s.b.client, topic); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	var signs sync.WaitGroup
	defer signs.Wait()
	defer stop()
	signs.Go(func() {
		tick := time.NewTicker(workSign)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = sign.send(working, s.b.client, topic)
			case <-working.Done():
				return
			}
		}
	})
	data := s.answer(ctx, m.data)
	stop()
	signs.Wait()
	done := opsRecord{key: m.key, kind: opsDone, work: sign.work, data: data}
	if ctx.Err() != nil { // the work is done, and who asked should know
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLast)
		defer cancel()
		ctx = last
	}
	return done.send(ctx, s.b.client, topic)
}
