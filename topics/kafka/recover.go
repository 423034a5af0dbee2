package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-io/millrace/topics"
)

// Invariant 3: whoever takes a stream, or has lost an answer, first makes the
// broker end what is open under its transactional id, and then reads what there
// is.

// identity is one transaction as the coordinator and the log name it. (Each has
// an epoch of its own.)
type identity struct {
	producer int64
	epoch    int16
}

// take takes the transactional id from whoever has it.
func (s *stream) take(ctx context.Context) error {
	if err := s.state.catchUp(ctx); err != nil {
		return err
	}
	// What a predecessor has left open is ended under its own name, to learn how:
	// nobody could tell afterwards.
	for pid, t := range s.state.open {
		d, err := s.producer.abort(ctx, pid, t.epoch)
		if err != nil && !errors.Is(err, topics.ErrFenced) && again(err) {
			return err // else nobody knows any more
		}
		s.note(identity{pid, t.epoch}, d)
	}
	if err := s.producer.init(ctx, -1, -1, true); err != nil {
		return err
	}
	return s.resolve(ctx)
}

// retake makes certain that the transactional id is ours still, that nothing of
// it is open, and reads what there is.
func (s *stream) retake(ctx context.Context) error {
	last := identity{s.producer.pid, s.producer.epoch}
	d, err := s.producer.recover(ctx)
	s.note(last, d)
	if err != nil {
		return err
	}
	return s.resolve(ctx)
}

// note remembers how a transaction ended, for as long as the log may not show it.
func (s *stream) note(t identity, d decision) {
	if d != undecided {
		s.decided[t] = d
	}
}

// HangingError says that a broker has lost the end of a transaction, as Kafka
// 4.3.1 and 4.4.0 do after an unclean restart (KAFKA-20734).
type HangingError struct {
	Topic     string
	Partition int32
	Producer  int64
	Brokers   string // as kafka-transactions.sh wants them
}

func (e *HangingError) Error() string {
	return fmt.Sprintf("a transaction of this stream hangs in %s/%d (producer id %d): the broker has lost its end, which is bug KAFKA-20734 of Kafka 4.3.1 and 4.4.0, "+
		"and nobody can tell any more how it was decided. Abort it with kafka-transactions.sh --bootstrap-server %s abort --topic %s --partition %d, which may publish its page again, "+
		"and run a version without the bug", e.Topic, e.Partition, e.Producer, e.Brokers, e.Topic, e.Partition)
}

// resolve reads the state. After an init nothing of the id is open: what the log
// shows to be is a transaction whose end the broker has lost. Writing on would
// give it the end of the next one. It is given the end that was decided, by an
// empty transaction over all that the stream can write to.
func (s *stream) resolve(ctx context.Context) error {
	if err := s.state.catchUp(ctx); err != nil {
		return err
	}
	for pid, t := range s.state.open {
		if err := s.endAgain(ctx, identity{pid, t.epoch}); err != nil {
			return err
		}
		if err := s.state.catchUp(ctx); err != nil {
			return err
		}
		if s.state.open[pid] != nil {
			return &HangingError{s.home.topic, s.home.id, pid, s.b.client.where}
		}
	}
	clear(s.decided)
	s.proven, s.producer.troubled = false, false
	return nil
}

// prove makes sure, before a transaction ends, that what was read of the state is
// all there was: a broker that is cut off from the others, and does not know that
// it leads a partition no more, gives what is old. It takes nothing new, so where
// the transaction has written to the state its records must be found.
func (s *stream) prove(ctx context.Context) error {
	if s.proven {
		return nil
	}
	if err := s.state.catchUp(ctx); err != nil {
		return err
	}
	wrote := s.page.index[s.home].offset
	if wrote < 0 {
		return fmt.Errorf("%s/%d does not tell where it was written to", s.home.topic, s.home.id)
	}
	if s.state.next <= wrote {
		return fmt.Errorf("%s/%d ends at %d for who reads it, and was written to at %d: its leader has changed", s.home.topic, s.home.id, s.state.next, wrote)
	}
	if now := s.state.checkpoint.stamp; now != s.last {
		return s.unlike(now)
	}
	return nil
}

// endAgain writes the lost end of a transaction.
func (s *stream) endAgain(ctx context.Context, t identity) error {
	d := s.decided[t]
	if t.producer != s.producer.pid || d == undecided {
		return &HangingError{s.home.topic, s.home.id, t.producer, s.b.client.where}
	}
	s.b.log.Warn("the broker has lost the end of a transaction (KAFKA-20734); it is written again", "stream", s.key.String(), "producer", t.producer, "committed", d == decidedCommit)
	all, err := s.b.everywhere(ctx)
	if err != nil {
		return err
	}
	s.producer.doubt, s.producer.committing = true, d == decidedCommit // until all is known
	if err := s.producer.add(ctx, append(all, s.home)); err != nil {
		return err
	}
	if err := s.producer.end(ctx, d == decidedCommit); err != nil {
		return err
	}
	s.producer.committing = false
	return s.producer.init(ctx, s.producer.pid, s.producer.epoch, true)
}

// everywhere are all partitions of all topics of events.
func (b *Broker) everywhere(ctx context.Context) ([]partition, error) {
	var all []partition
	for _, topic := range b.names.events() {
		leaders, err := b.client.partitions(ctx, topic)
		if err != nil {
			return nil, err
		}
		for id := range leaders {
			all = append(all, partition{topic, int32(id)})
		}
	}
	return all, nil
}
