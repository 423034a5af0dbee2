package pipeline_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/ledger"
	"github.com/millrace-io/millrace/topics"
)

// inMemory is a broker of one stream that lives in virtual time.
type inMemory struct {
	topics.Broker // nil: nothing else is asked of it
	limits        topics.Limits
	// commit is called before each commit, from 1: it may take its time, and have it
	// fail, before or after it is made. Nil: all are made at once.
	commit func(n int, c *topics.Commit) (make bool, err error)

	mu         sync.Mutex
	commits    int
	checkpoint []byte
	entries    map[string][]byte
	messages   []topics.Message
}

func newInMemory() *inMemory {
	return &inMemory{limits: topics.Limits{Messages: 10_000, Bytes: 1 << 20}, entries: map[string][]byte{}}
}

func (m *inMemory) Limits() topics.Limits { return m.limits }

func (m *inMemory) Acquire(context.Context, events.StreamKey, string, func(string)) (topics.Stream, error) {
	return inMemoryStream{m: m}, nil
}

// ids returns the record ids of what was published, in order.
func (m *inMemory) ids() (ids []string) {
	for i := range m.messages {
		e, err := events.FromAttributes(m.messages[i].Attributes)
		if err != nil {
			panic(err)
		}
		ids = append(ids, e.RecordID)
	}
	return ids
}

type inMemoryStream struct {
	topics.Stream
	m *inMemory
}

func (s inMemoryStream) Checkpoint(context.Context) ([]byte, error) { return s.m.checkpoint, nil }

func (s inMemoryStream) Entries(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s.m.entries)), nil
}

func (s inMemoryStream) Entry(_ context.Context, name string) ([]byte, error) {
	return s.m.entries[name], nil
}

func (s inMemoryStream) Commit(_ context.Context, c *topics.Commit) error {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(c.Messages)+2 > m.limits.Messages {
		return &topics.TooLargeError{Limits: m.limits}
	}
	m.commits++
	made, err := true, error(nil)
	if m.commit != nil {
		made, err = m.commit(m.commits, c)
	}
	if !made {
		return err
	}
	for _, message := range c.Messages { // what it holds is the caller's again
		message.Attributes, message.Data = slices.Clone(message.Attributes), bytes.Clone(message.Data)
		m.messages = append(m.messages, message)
	}
	for _, e := range c.Entries {
		m.entries[e.Name] = bytes.Clone(e.Data)
	}
	m.checkpoint = bytes.Clone(c.Checkpoint)
	return err
}

func (s inMemoryStream) Advance(_ context.Context, _ string, checkpoint []byte) error {
	s.m.checkpoint = bytes.Clone(checkpoint)
	return nil
}

func (s inMemoryStream) Forget(context.Context, []string) error { return nil }

func (s inMemoryStream) Lost() <-chan struct{} { return nil }

func (s inMemoryStream) Release() {}

// stands is the committed checkpoint.
func (m *inMemory) stands() *ledger.Checkpoint {
	c, err := ledger.DecodeCheckpoint(m.checkpoint)
	if err != nil {
		panic(err)
	}
	return c
}
