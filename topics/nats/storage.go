package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// maxConsumers bounds what readers of the embedded server can take.
const maxConsumers = 256

// openStream creates or checks the one JetStream stream.
func (b *Broker) openStream(ctx context.Context, s *session) error {
	name := b.names.stream()
	stream, err := s.js.Stream(ctx, name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		stream, err = s.js.CreateStream(ctx, b.streamConfig(s))
		if err != nil {
			return fmt.Errorf("create the JetStream stream %s on NATS at %s: %w", name, s.where, err)
		}
	case err != nil:
		return fmt.Errorf("find the JetStream stream %s on NATS at %s: %w", name, s.where, err)
	default:
		config, changed, err := b.fitConfig(stream.CachedInfo().Config)
		if err != nil {
			return fmt.Errorf("the JetStream stream %s on NATS at %s cannot be used: %w", name, s.where, err)
		}
		if changed {
			if stream, err = s.js.UpdateStream(ctx, config); err != nil {
				return fmt.Errorf("update the JetStream stream %s on NATS at %s: %w", name, s.where, err)
			}
		}
	}
	s.stream = stream
	return nil
}

func (b *Broker) streamConfig(s *session) jetstream.StreamConfig {
	config := jetstream.StreamConfig{
		Name:        b.names.stream(),
		Description: "millrace: topics and state. Do not delete messages by hand.",
		Subjects:    []string{b.names.all()},
		Storage:     jetstream.FileStorage,
		// Only with limits retention does the server find a half-written batch
		// when it starts.
		Retention: jetstream.LimitsPolicy,
		// A full stream refuses the batch; it never throws away a checkpoint.
		Discard:            jetstream.DiscardNew,
		Replicas:           max(b.opts.Replicas, 1),
		MaxAge:             b.opts.MaxAge,
		Duplicates:         duplicates(b.opts.MaxAge),
		AllowAtomicPublish: true,
		AllowMsgTTL:        true,
		AllowRollup:        true,
	}
	if s.srv != nil {
		config.MaxConsumers = maxConsumers
	}
	return config
}

// duplicates is the window for message ids, which millrace does not use; the
// server wants it no longer than the age of messages.
func duplicates(maxAge time.Duration) time.Duration {
	if maxAge > 0 {
		return min(maxAge, 2*time.Minute)
	}
	return 2 * time.Minute
}

// fitConfig returns the configuration that a stream which exists should have,
// and an error for one that cannot be changed to it.
func (b *Broker) fitConfig(c jetstream.StreamConfig) (fit jetstream.StreamConfig, changed bool, err error) {
	var wrong []string
	refuse := func(bad bool, what string) {
		if bad {
			wrong = append(wrong, what)
		}
	}
	refuse(!slices.Equal(c.Subjects, []string{b.names.all()}), fmt.Sprintf("its subjects are %q, not %q", c.Subjects, b.names.all()))
	refuse(c.Retention != jetstream.LimitsPolicy, "its retention is not limits")
	refuse(c.Storage != jetstream.FileStorage, "its storage is not file")
	refuse(c.Mirror != nil || len(c.Sources) > 0, "it has a mirror or sources")
	refuse(c.MaxMsgsPerSubject > 0, "it limits the messages of each subject, which evicts events")
	refuse(c.SubjectTransform != nil, "it transforms subjects")
	refuse(c.DenyDelete || c.DenyPurge, "it denies deleting or purging, which the ledger needs")
	refuse(c.Sealed, "it is sealed")
	refuse(c.NoAck, "it does not acknowledge")
	if len(wrong) > 0 {
		return c, false, fmt.Errorf("%s: give millrace another topics.prefix, or remove that stream", strings.Join(wrong, "; "))
	}
	fit = c
	if fit.MaxAge != b.opts.MaxAge {
		fit.MaxAge = b.opts.MaxAge
		fit.Duplicates = duplicates(fit.MaxAge)
		changed = true
	}
	if c.Discard != jetstream.DiscardNew || !c.AllowAtomicPublish || !c.AllowMsgTTL || !c.AllowRollup || c.AllowDirect {
		fit.Discard = jetstream.DiscardNew
		fit.AllowAtomicPublish, fit.AllowMsgTTL, fit.AllowRollup, fit.AllowDirect = true, true, true, false
		changed = true
	}
	return fit, changed, nil
}
