package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"
)

// repairDepth is how many messages behind a torn batch do not hide it. There
// are none when the server is ours alone; renewed leases and checkpoints
// without events are what could be there.
const repairDepth = 1000

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
	state := info.State
	for seq, n := state.LastSeq, 0; seq >= state.FirstSeq && seq > 0 && n < repairDepth; seq, n = seq-1, n+1 {
		m, err := s.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, err
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
		if err != nil || position == 0 || position > seq {
			continue
		}
		whole, err := b.followed(ctx, s, tag, seq)
		if err != nil || whole {
			return nil, err
		}
		return &tornBatch{id: id, first: seq - position + 1, last: seq}, nil
	}
	return nil, nil
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
