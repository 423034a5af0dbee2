package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// repairDepth is how many messages behind a torn batch do not hide it. There
// are none when the server is ours alone; renewed leases and checkpoints
// without events are what could be there.
const repairDepth = 1000

// repairWidth is how many of them are asked for at the same time, and so how many
// messages are in memory.
const repairWidth = 16

// tornBatch is the beginning of a batch whose end, the checkpoint, is missing.
type tornBatch struct {
	id          string
	first, last uint64
}

// repair deletes the beginning of a batch that a power loss or a full disk has
// cut off. Its checkpoint was the last message of the same log, so it is gone as
// well: the events will be read and published again.
func (b *Broker) repair(ctx context.Context, s *session) error {
	t, err := b.findTorn(ctx, s)
	if err != nil {
		return fmt.Errorf("look for a half-written batch: %w", err)
	}
	if t == nil {
		return nil
	}
	b.log.Warn("a batch was half-written: its messages are deleted, they will be published again",
		"messages", t.last-t.first+1, "first", t.first, "last", t.last)
	for seq := t.last; seq >= t.first; seq-- {
		m, err := s.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err == nil && m.Header.Get(headerBatchID) == t.id {
			err = s.stream.DeleteMsg(ctx, seq)
		}
		if err != nil {
			return fmt.Errorf("delete message %d of a half-written batch: %w", seq, err)
		}
	}
	return nil
}

// findTorn walks back from the end of the log to the last batch and says
// whether it is torn; nil when it is whole.
//
// A missing commit marker alone proves nothing: the marker is on the checkpoint,
// and the next checkpoint replaces that. But a stream whose batch is torn has no
// checkpoint behind it, because it writes none before the repair.
func (b *Broker) findTorn(ctx context.Context, s *session) (*tornBatch, error) {
	info, err := s.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	first, end := max(info.State.FirstSeq, 1), info.State.LastSeq
	if end > repairDepth {
		first = max(first, end-repairDepth+1)
	}
	// Mostly the last message is the one; behind it may be hundreds that were
	// replaced, which should not take a round trip each.
	for width := uint64(1); end >= first; width = min(2*width, repairWidth) {
		from := max(first, end-min(width, end)+1)
		messages, err := s.messages(ctx, from, end)
		if err != nil {
			return nil, err
		}
		for _, m := range slices.Backward(messages) {
			if m == nil {
				continue
			}
			id := m.Header.Get(headerBatchID)
			tag, ours := tagOf(id)
			if !ours {
				continue
			}
			if m.Header.Get(headerBatchCommit) != "" {
				return nil, nil
			}
			position, err := strconv.ParseUint(m.Header.Get(headerBatchSeq), 10, 64)
			if err != nil || position == 0 || position > m.Sequence {
				continue
			}
			whole, err := b.followed(ctx, s, tag, m.Sequence)
			if err != nil || whole {
				return nil, err
			}
			return &tornBatch{id: id, first: m.Sequence - position + 1, last: m.Sequence}, nil
		}
		end = from - 1
	}
	return nil, nil
}

// messages are those of a range, in its order, nil where one is not there any more.
// They are asked for at the same time.
func (s *session) messages(ctx context.Context, first, last uint64) ([]*jetstream.RawStreamMsg, error) {
	all := make([]*jetstream.RawStreamMsg, last-first+1)
	group, ctx := errgroup.WithContext(ctx)
	for n := range all {
		group.Go(func() (err error) {
			if all[n], err = s.stream.GetMsg(ctx, first+uint64(n)); errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			return err
		})
	}
	return all, group.Wait()
}

// followed says whether the stream of a tag has a checkpoint behind seq.
func (b *Broker) followed(ctx context.Context, s *session, tag string, seq uint64) (bool, error) {
	subjects, err := s.subjects(ctx, b.names.checkpoints())
	if err != nil {
		return false, err
	}
	for _, subject := range subjects {
		if batchTag(subject) != tag {
			continue
		}
		m, err := s.last(ctx, subject)
		return m != nil && m.Sequence > seq, err
	}
	return false, nil
}
