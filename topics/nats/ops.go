package nats

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

const (
	// askWait is how long the first answer may take, askMore how long others
	// may come after it.
	askWait = 3 * time.Second
	askMore = 300 * time.Millisecond
	// A process that works gives a sign every workSign, beginning at once. One
	// that was not heard for workSilent has gone.
	workSign   = time.Second
	workSilent = 6 * time.Second

	// headerAsk marks an operating request. A reader of the listener can have
	// the server deliver events to any subject, but none with this header.
	headerAsk = "Millrace-Ask"
	// askSigns is its value where the one who asks knows signs of work.
	askSigns = "2"
	// headerWork names the work in a sign of it, headerDone in its answer.
	headerWork = "Millrace-Work"
	headerDone = "Millrace-Done"
)

// Serve answers operating requests until ctx ends.
func (b *Broker) Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error {
	ctx, cancel := b.bound(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := b.serveSession(ctx, &work, answer)
		if b.ctx.Err() != nil {
			return errClosed
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.log.Debug("operating requests are taken again", "error", err.Error())
		if !pause(ctx, attempt) {
			return ctx.Err()
		}
	}
}

// serveSession answers while one session lasts.
func (b *Broker) serveSession(ctx context.Context, work *sync.WaitGroup, answer func(context.Context, []byte) []byte) error {
	s, done, err := b.use(ctx)
	if err != nil {
		return err
	}
	requests, err := s.nc.SubscribeSync(b.names.ops())
	done()
	if err != nil {
		return err
	}
	defer requests.Unsubscribe()
	for {
		m, err := requests.NextMsgWithContext(ctx)
		if err != nil {
			return err
		}
		if m.Header.Get(headerAsk) == "" || m.Reply == "" {
			continue
		}
		work.Go(func() {
			if err := reply(ctx, s.nc, m, answer); err != nil {
				b.log.Warn("an operating request could not be answered", "error", err.Error())
			}
		})
	}
}

// reply answers one request, and gives signs of work until then.
func reply(ctx context.Context, nc *natsgo.Conn, m *natsgo.Msg, answer func(context.Context, []byte) []byte) error {
	work := []string{nuid.Next()}
	sign := &natsgo.Msg{Subject: m.Reply, Header: natsgo.Header{headerWork: work}}
	ctx, cancel := context.WithCancel(ctx)
	var signs sync.WaitGroup
	defer signs.Wait()
	defer cancel()
	if m.Header.Get(headerAsk) == askSigns {
		if err := nc.PublishMsg(sign); err != nil {
			return err
		}
		signs.Go(func() {
			tick := time.NewTicker(workSign)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_ = nc.PublishMsg(sign)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	data := answer(ctx, m.Data)
	cancel()
	signs.Wait()
	return nc.PublishMsg(&natsgo.Msg{Subject: m.Reply, Header: natsgo.Header{headerDone: work}, Data: data})
}

// Ask sends an operating request to every process that serves. On the embedded
// server at most one does.
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	s, done, err := b.use(ctx)
	if err != nil {
		return nil, err
	}
	inbox := s.nc.NewInbox()
	answers, err := s.nc.SubscribeSync(inbox)
	if err == nil {
		defer answers.Unsubscribe()
		err = s.nc.PublishMsg(&natsgo.Msg{Subject: b.names.ops(), Reply: inbox, Data: request, Header: natsgo.Header{headerAsk: {askSigns}}})
	}
	done() // the answers may take long
	var got [][]byte
	if err == nil {
		got, err = collect(ctx, answers, s.single)
	}
	if err != nil {
		return got, fmt.Errorf("ask the running processes: %w", err)
	}
	return got, nil
}

// errSilent says that a process which was at work has not been heard of for long.
var errSilent = errors.New("a process that was at work has gone silent: what it was to do may be done, in part or not at all; look, and ask again")

// collect waits for the answers. With single there is one process at most.
func collect(ctx context.Context, answers *natsgo.Subscription, single bool) ([][]byte, error) {
	var got [][]byte
	heard := map[string]time.Time{} // who works, and when the last sign came
	until := time.Now().Add(askWait)
	first := true
	for {
		wait := until
		for _, at := range heard {
			wait = time.Now().Add(workSign)
			if time.Since(at) > workSilent {
				return got, errSilent
			}
		}
		m, err := next(ctx, answers, time.Until(wait))
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && len(heard) > 0:
			continue
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil, errors.Is(err, natsgo.ErrNoResponders):
			return got, nil
		case err != nil:
			return got, err
		}
		if first {
			first, until = false, time.Now().Add(askMore)
		}
		if work := m.Header.Get(headerWork); work != "" {
			heard[work] = time.Now()
			continue
		}
		delete(heard, m.Header.Get(headerDone))
		if got = append(got, m.Data); single {
			return got, nil
		}
	}
}

func next(ctx context.Context, sub *natsgo.Subscription, wait time.Duration) (*natsgo.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
