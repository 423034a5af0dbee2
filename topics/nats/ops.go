package nats

import (
	"context"
	"errors"
	"fmt"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

const (
	// askWait is how long the first answer may take, askMore how long others
	// may come after it.
	askWait = 3 * time.Second
	askMore = 300 * time.Millisecond

	// headerAsk marks an operating request. A reader of the listener can have
	// the server deliver events to any subject, but none with this header.
	headerAsk = "Millrace-Ask"
)

// Serve answers operating requests until ctx ends.
func (b *Broker) Serve(ctx context.Context, answer func(request []byte) []byte) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := b.serveSession(ctx, answer)
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
func (b *Broker) serveSession(ctx context.Context, answer func([]byte) []byte) error {
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
		if m.Header.Get(headerAsk) == "" {
			continue
		}
		if err := m.Respond(answer(m.Data)); err != nil && !errors.Is(err, natsgo.ErrMsgNoReply) {
			b.log.Warn("an operating request could not be answered", "error", err.Error())
		}
	}
}

// Ask sends an operating request to every process that serves. On the embedded
// server at most one does.
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) {
	s, done, err := b.use(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	inbox := s.nc.NewInbox()
	answers, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the running processes: %w", err)
	}
	defer answers.Unsubscribe()
	m := &natsgo.Msg{Subject: b.names.ops(), Reply: inbox, Data: request, Header: natsgo.Header{headerAsk: {"1"}}}
	if err := s.nc.PublishMsg(m); err != nil {
		return nil, fmt.Errorf("ask the running processes: %w", err)
	}
	var got [][]byte
	for wait := askWait; ; wait = askMore {
		m, err := next(ctx, answers, wait)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil, errors.Is(err, natsgo.ErrNoResponders):
			return got, nil
		case err != nil:
			return got, fmt.Errorf("ask the running processes: %w", err)
		}
		if got = append(got, m.Data); s.single {
			return got, nil
		}
	}
}

func next(ctx context.Context, sub *natsgo.Subscription, wait time.Duration) (*natsgo.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}
