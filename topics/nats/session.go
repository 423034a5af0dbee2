package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readWait is how long the answer to a read may take.
const readWait = 5 * time.Second

// session is one connection to a server whose JetStream stream was checked.
// None of its calls needs a consumer: readers may have taken them all.
type session struct {
	nc       *natsgo.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	where    string         // the server, for people; holds no secret
	maxBatch int            // messages in one atomic batch
	srv      *server.Server // the embedded server; nil for another's
	single   bool           // no more than one process serves here

	// suspect is set when the embedded server may have stored half a batch: it
	// takes no commit until it was restarted and repaired.
	suspect atomic.Bool

	mu   sync.Mutex
	live context.Context // ends with the present connection
	end  context.CancelFunc
}

// errCut answers requests whose connection ended before the answer came.
var errCut = errors.New("the connection to NATS was cut")

func newSession(where string, maxBatch int) *session {
	s := &session{where: where, maxBatch: maxBatch}
	s.live, s.end = context.WithCancel(context.Background())
	return s
}

// cut ends the requests that wait for an answer: it will not come.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end()
	s.live, s.end = context.WithCancel(context.Background())
}

// waiting returns a context for one request. It ends with the connection too,
// which the client would not tell before the request's own time is over.
func (s *session) waiting(ctx context.Context, wait time.Duration) (context.Context, context.CancelFunc) {
	ctx, done := s.lasting(ctx)
	ctx, timeout := context.WithTimeout(ctx, wait)
	return ctx, func() {
		timeout()
		done()
	}
}

// lasting returns a context that ends with the connection.
func (s *session) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	stop := context.AfterFunc(s.live, func() { cancel(errCut) })
	s.mu.Unlock()
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// cause replaces an error that says little by what is behind it.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, natsgo.ErrReconnectBufExceeded) {
		return errCut // the client library would keep the message for later
	}
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errCut) {
		return errCut
	}
	return err
}

func (s *session) close() {
	if s.nc != nil {
		s.nc.Close()
	}
	s.cut()
	if s.srv != nil {
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}
}

func (s *session) maxPayload() int { return int(s.nc.MaxPayload()) }

// last returns the last message on a subject, nil when there is none. It asks
// the leader: a follower could answer with what was.
func (s *session) last(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := s.waiting(ctx, readWait)
	defer cancel()
	m, err := s.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return m, cause(ctx, err)
}

// subjects lists, sorted, the subjects that match a filter and hold a message.
func (s *session) subjects(ctx context.Context, filter string) ([]string, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, err
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		subjects = append(subjects, subject)
	}
	slices.Sort(subjects)
	return subjects, nil
}

// ack is what the server answers to a publish.
type ack struct {
	Sequence uint64              `json:"seq"`
	Count    int                 `json:"count"`
	Error    *jetstream.APIError `json:"error"`
}

// request publishes a message and reads the server's acknowledgement. A refusal
// is a [*jetstream.APIError].
func (s *session) request(ctx context.Context, m *natsgo.Msg, wait time.Duration) (ack, error) {
	ctx, cancel := s.waiting(ctx, wait)
	defer cancel()
	answer, err := s.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return ack{}, cause(ctx, err)
	}
	var a ack
	if err := json.Unmarshal(answer.Data, &a); err != nil {
		return ack{}, fmt.Errorf("NATS at %s sent an acknowledgement that is not JSON: %w", s.where, err)
	}
	if a.Error != nil {
		return ack{}, a.Error
	}
	if a.Sequence == 0 {
		return ack{}, fmt.Errorf("NATS at %s sent an acknowledgement without a sequence", s.where)
	}
	return a, nil
}

// Error codes of the server that decide what happens next.
const (
	codeInsufficient   = 10023 // insufficient resources
	codeAccountFull    = 10002 // the account's limits are reached
	codeMemoryFull     = 10028
	codeStorageFull    = 10047
	codeStoreFailed    = 10077 // a limit of the JetStream stream, or its disk
	codeWrongSequence  = 10071 // the compare-and-swap failed
	codeWrongSequence2 = 10164 // the same, without the sequence found
	codeIncomplete     = 10176 // a message of the batch is missing
	codeTooLarge       = 10199 // more messages than a batch may hold
	codeTooManyBatches = 10210
	codeTooLongHeader  = 10097
	codeTooLongMessage = 10054
)

// code returns the server's error code, 0 for an error that is not its own.
func code(err error) int {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return int(api.ErrorCode)
	}
	return 0
}
