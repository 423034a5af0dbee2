// Package topics is where events go: the contract that every broker fulfils.
//
// A broker does one thing that a plain publisher cannot: it commits a batch of
// events on many topics, the ledger entries that name them and the checkpoint
// that says where to continue, all or nothing, fenced against a second writer.
// The broker is also the only state that millrace has.
package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Message is one encoded event.
type Message struct {
	Topic      string             // its name behind the prefix: an event type, or what events are routed to
	Connector  string             // the connector's name: the last token of a NATS subject
	Key        string             // orders the message (partition key on Kafka)
	Attributes []events.Attribute // CloudEvents attributes without a prefix
	Data       []byte             // JSON
}

// maxAttributes is how many bytes all attributes of a message may take: NATS
// takes at most 64 KiB of headers, its own included.
const maxAttributes = 60_000

// Size bounds from above what a broker makes of the message; compare it with
// [Limits].Bytes. A message whose attributes alone are more than a broker takes
// has the largest int.
func (m *Message) Size() int {
	attributes := 0
	for i := range m.Attributes {
		a := &m.Attributes[i]
		attributes += len(a.Name) + len(a.Value) + len("ce-: \r\n")
		for _, c := range []byte(a.Value) {
			if c <= ' ' || c > '~' || c == '"' || c == '%' {
				attributes += len("%00") - 1
			}
		}
	}
	if attributes > maxAttributes {
		return math.MaxInt
	}
	return len("content-type: \r\n") + len(events.ContentType) + attributes + len(m.Key) + len(m.Data)
}

// Commit is what one transaction holds, in the order in which it is written.
// Implementations neither change nor keep any of its slices after they return.
type Commit struct {
	// ID is unique to this batch of this owner. It is stored with the
	// checkpoint, so that a late success of one's own is told from a fence.
	ID string
	// Messages may be empty.
	Messages []Message
	// Entries are new entries of the ledger.
	Entries []Entry
	// Checkpoint is never empty.
	Checkpoint []byte
}

// Entry is one named piece of a stream's ledger. Names are of [a-z0-9.-] and
// never used twice in one stream.
type Entry struct {
	Name string
	Data []byte
}

// Broker holds topics and state. All methods may be called concurrently.
type Broker interface {
	// Acquire waits until this process holds the stream, or ctx ends. On a
	// broker that several processes can reach it keeps a lease alive in the
	// background until Release; onWait (may be nil) is called once when the
	// stream is found in another's hands.
	Acquire(ctx context.Context, key events.StreamKey, owner string, onWait func(holder string)) (Stream, error)
	// Limits may change while the broker is open (a foreign server tells its
	// own only when it refuses), so ask before each batch.
	Limits() Limits
	// Checkpoints reads the checkpoint of every stream ever committed.
	Checkpoints(ctx context.Context) ([]Stored, error)
	// Ledger reads a stream's ledger, whoever holds the stream.
	Ledger(key events.StreamKey) Ledger
	// Tail calls fn for each committed message, in order, until ctx ends, fn
	// returns an error (which it returns) or, with opts.Stop, the topics' end
	// at the time of the call is reached. The message is valid during the call.
	Tail(ctx context.Context, opts TailOptions, fn func(Received) error) error
	// Ready returns nil when the broker can take commits.
	Ready(ctx context.Context) error
	// Serve answers operating requests of other processes until ctx ends, each
	// in a goroutine of its own, for which it waits. An answer may take its time:
	// who asks is told that it is being worked at.
	Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error
	// Ask sends an operating request to all processes that Serve, and returns
	// their answers; none when no process serves. It waits for each process that
	// gives signs of work, until ctx ends.
	Ask(ctx context.Context, request []byte) ([][]byte, error)
	// Close ends what the broker started and waits for it.
	Close() error
}

// Stream is one polled stream that this process holds. Its methods are not for
// concurrent use, but for Lost and Release.
type Stream interface {
	// Checkpoint reads the committed checkpoint from the broker (nil when there
	// is none yet). Commit and Advance succeed only while it is still the last
	// one, or followed by their own.
	Checkpoint(ctx context.Context) ([]byte, error)
	// Commit writes all of c or nothing. An acknowledgement that did not come
	// is resolved by reading the checkpoint. It returns nil when c is committed;
	// ErrFenced when another owner has written; ErrFull when the broker has no
	// room (commit the same again, under the same ID, when it has); a *TooLargeError when c must be cut smaller
	// (nothing is written). After any other error it is unknown whether c is
	// committed: call Checkpoint before anything else.
	Commit(ctx context.Context, c *Commit) error
	// Advance is Commit of a checkpoint alone, as one plain compare-and-swap.
	Advance(ctx context.Context, id string, checkpoint []byte) error
	Ledger
	// Forget deletes ledger entries; one that is gone already is no error.
	Forget(ctx context.Context, names []string) error
	// Lost is closed when another process took the stream or the lease could
	// not be renewed in time: stop reading.
	Lost() <-chan struct{}
	// Release gives the stream up and waits for its goroutine. Safe to call
	// more than once.
	Release()
}

// Ledger reads what the commits of one stream have left.
type Ledger interface {
	// Entries lists the names of the entries that are kept, sorted.
	Entries(ctx context.Context) ([]string, error)
	// Entry reads one entry; ErrNoEntry when there is none of the name.
	Entry(ctx context.Context, name string) ([]byte, error)
}

// Limits of one commit.
type Limits struct {
	Messages int // events, ledger entries and checkpoint together
	Bytes    int // one encoded message, as Message.Size counts
}

// Stored is a checkpoint as the broker keeps it.
type Stored struct {
	Key        events.StreamKey
	Checkpoint []byte
	Written    time.Time
}

// TailOptions choose what Tail reads.
type TailOptions struct {
	Topics    []string  // their names behind the prefix; empty: all
	From      time.Time // from the first message stored at or after it; zero: only new ones
	Beginning bool      // from the first message that is kept; From is ignored
	Stop      bool      // end at what was there when the call began
	Ready     func()    // called once when nothing published from now on is missed; may be nil
}

// Received is one message read from a topic.
type Received struct {
	Message
	FullTopic string    // as the broker names it, with the prefix
	Partition int       // of the topic; -1 on a broker without partitions
	Sequence  uint64    // position on the broker: the JetStream stream's, or that in a Kafka partition
	Stored    time.Time // when the broker stored it
}

// What calls can fail with; test with errors.Is.
var (
	// ErrFenced says that another owner has written the stream's checkpoint, or may
	// have: a Kafka broker that was killed and comes back does not know any more that
	// it gave an epoch to who has not heard of it yet. Release the stream and acquire
	// it again.
	ErrFenced = errors.New("another instance has taken the stream")
	// ErrFull says that the broker has no room; nothing was written.
	ErrFull = errors.New("the broker has no room")
	// ErrNoEntry says that a ledger entry is not there, or not any more.
	ErrNoEntry = errors.New("there is no entry of that name")
)

// TooLargeError says that a commit holds more than the broker takes at once.
type TooLargeError struct{ Limits Limits }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the broker takes at most %d messages in a batch and %d bytes in a message", e.Limits.Messages, e.Limits.Bytes)
}

// OpenError says that a broker cannot be used at all, and whose fault it is.
type OpenError struct {
	// Remote is true when a server that is not ours refused, stayed away or is
	// too old; false when our directory, port or disk is the cause.
	Remote bool
	Err    error // what failed, where, and what to do
}

func (e *OpenError) Error() string { return e.Err.Error() }
func (e *OpenError) Unwrap() error { return e.Err }
