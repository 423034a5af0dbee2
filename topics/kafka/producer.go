package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/addpartitionstotxn"
	"github.com/segmentio/kafka-go/protocol/endtxn"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"

	"github.com/millrace-io/millrace/topics"
)

// producer sends the requests of one transactional id. It is not for concurrent
// use.
type producer struct {
	*coordinator
	id      string
	timeout time.Duration // of a transaction
	stray   atomic.Bool   // a request whose answer did not come may still be read out of its buffers
	sure    func() bool   // whether nobody else can have the id just now

	pid   int64 // -1 before the first init
	epoch int16
	// doubt: a request has died on its way, or we may have been stopped for long.
	// Whoever begins a transaction then aborts what may be open first, which
	// harms nobody when the id is not ours any more.
	doubt bool
	// troubled: the cluster had to be asked again for other reasons than that the
	// transaction before was not quite at its end.
	troubled bool
	// committing: the transaction holds nothing, but its end is that of an older one
	// which was committed. It must never be aborted.
	committing bool
}

func newProducer(c *client, id string, timeout time.Duration) *producer {
	return &producer{coordinator: newCoordinator(c, kafkago.CoordinatorKeyTypeTransaction, id), id: id, timeout: timeout, pid: -1, epoch: -1}
}

// failed turns an error code into an error.
func failed(code int16) error {
	if code == 0 {
		return nil
	}
	return kafkago.Error(code)
}

// errUnsure says that another may have the transactional id: an abort, which is
// refused then, has to tell before the next epoch is asked for.
var errUnsure = errors.New("it is not sure any more whether the stream is ours")

// settleFor is how long the coordinator is asked for an epoch, or for the end of
// a transaction, whatever the time of a transaction is: a cluster that is new, or
// begins again, takes its time.
const settleFor = 30 * time.Second

// init takes a new epoch: with our own id and epoch only as long as nobody else
// took one, with -1 and -1 whoever has it. With a successor's transaction open
// the former does harm, so it is sent only if that cannot be: again only while
// the stream is surely ours, the first time also where proven says that it just
// was.
func (p *producer) init(ctx context.Context, pid int64, epoch int16, proven bool) error {
	return p.retry(ctx, settleFor, "taking the transactional id", func() error {
		if pid >= 0 && !proven && !p.sure() {
			return errUnsure
		}
		proven = false
		answer, err := p.ask(ctx, 4, &initproducerid.Request{
			TransactionalID: p.id, TransactionTimeoutMs: int32(p.timeout.Milliseconds()), ProducerID: pid, ProducerEpoch: epoch,
		})
		if err != nil {
			return err
		}
		r := answer.(*initproducerid.Response)
		if r.ErrorCode != 0 {
			return failed(r.ErrorCode)
		}
		p.pid, p.epoch, p.doubt = r.ProducerID, r.ProducerEpoch, false
		return nil
	})
}

// add makes partitions part of the transaction.
func (p *producer) add(ctx context.Context, parts []partition) error {
	byTopic := map[string][]int32{}
	for _, at := range parts {
		byTopic[at.topic] = append(byTopic[at.topic], at.id)
	}
	request := &addpartitionstotxn.Request{TransactionalID: p.id, ProducerID: p.pid, ProducerEpoch: p.epoch}
	for _, topic := range slices.Sorted(maps.Keys(byTopic)) {
		request.Topics = append(request.Topics, addpartitionstotxn.RequestTopic{Name: topic, Partitions: byTopic[topic]})
	}
	return p.retry(ctx, p.within(), "adding partitions to the transaction", func() error {
		answer, err := p.ask(ctx, 3, request)
		if err != nil {
			return err
		}
		for _, t := range answer.(*addpartitionstotxn.Response).Results {
			for _, r := range t.Results {
				if r.ErrorCode != 0 {
					err = worse(err, fmt.Errorf("%s/%d: %w", t.Name, r.PartitionIndex, failed(r.ErrorCode)))
				}
			}
		}
		return err
	})
}

// slowLink is how many bytes a second reach a broker at least: what is large may
// be longer on its way than other requests.
const slowLink = 1 << 20

// send writes all batches for these partitions, which have one leader, until
// something fails. A request takes one batch for each.
func (p *producer) send(ctx context.Context, parts []*part) error {
	for {
		request := &rawproduce.Request{TransactionalID: p.id, Acks: -1, Timeout: int32(p.client.wait.Milliseconds())}
		at, size := map[string]int{}, 0
		var sent []*part
		for _, to := range parts {
			if to.written == len(to.batches) {
				continue
			}
			sent = append(sent, to)
			i, ok := at[to.topic]
			if !ok {
				i = len(request.Topics)
				at[to.topic] = i
				request.Topics = append(request.Topics, rawproduce.RequestTopic{Topic: to.topic})
			}
			t, data := &request.Topics[i], to.batches[to.written].data
			t.Partitions = append(t.Partitions, rawproduce.RequestPartition{
				Partition: to.id, RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(data)},
			})
			size += len(data)
		}
		if len(sent) == 0 {
			return nil
		}
		answer, err := p.client.doWithin(ctx, p.client.wait+time.Duration(size/slowLink)*time.Second, request)
		if err != nil {
			p.stray.Store(true)
			return err
		}
		if err := wrote(sent, answer.(*produce.Response)); err != nil {
			return err
		}
	}
}

// wrote notes which partitions have taken their batch, and returns the worst
// error of the others.
func wrote(parts []*part, answer *produce.Response) (err error) {
	answers := map[partition]produce.ResponsePartition{}
	for _, t := range answer.Topics {
		for _, r := range t.Partitions {
			answers[partition{t.Topic, r.Partition}] = r
		}
	}
	for _, to := range parts {
		r, told := answers[to.partition]
		if told && (r.ErrorCode == 0 || kafkago.Error(r.ErrorCode) == kafkago.DuplicateSequenceNumber) {
			to.written, to.offset = to.written+1, r.BaseOffset
			continue
		}
		one := fmt.Errorf("%s/%d: %w", to.topic, to.id, failed(r.ErrorCode))
		if !told {
			one = fmt.Errorf("%s/%d: the answer does not tell", to.topic, to.id)
		}
		err = worse(err, one)
	}
	return err
}

// notAttempted is what Kafka says of a partition because of another one; in 3.9
// also in answer to a Produce, whose transaction the leader asks the coordinator
// about. kafka-go has another name for it.
const notAttempted = kafkago.Error(55)

// worse returns which of the errors of two partitions is told: one that waiting
// does not help against, if there is one, else the first that has a cause.
func worse(a, b error) error {
	if a == nil || errors.Is(a, notAttempted) || again(a) && !again(b) {
		return b
	}
	return a
}

// end ends the transaction.
func (p *producer) end(ctx context.Context, commit bool) error {
	return p.endOf(ctx, p.pid, p.epoch, commit)
}

func (p *producer) endOf(ctx context.Context, pid int64, epoch int16, commit bool) error {
	return p.retry(ctx, settleFor, "ending the transaction", func() error {
		answer, err := p.ask(ctx, 3, &endtxn.Request{TransactionalID: p.id, ProducerID: pid, ProducerEpoch: epoch, Committed: commit})
		if err != nil {
			return err
		}
		return failed(answer.(*endtxn.Response).ErrorCode)
	})
}

// What became of a transaction.
type decision int

const (
	undecided decision = iota
	decidedAbort
	decidedCommit
)

// abort ends what may be open of (pid, epoch). It tells what became of it: where
// nothing was open, whatever there was had been committed.
func (p *producer) abort(ctx context.Context, pid int64, epoch int16) (decision, error) {
	err := p.endOf(ctx, pid, epoch, false)
	switch {
	case err == nil:
		return decidedAbort, nil
	case errors.Is(err, kafkago.InvalidTransactionState):
		return decidedCommit, nil
	}
	return undecided, err
}

// recover makes sure that the id is still ours and nothing of it is open, and
// takes a new epoch. The abort comes first: it is refused, without harm to the
// successor, where we are a zombie; an init would end the successor's
// transaction.
func (p *producer) recover(ctx context.Context) (decision, error) {
	deadline := time.Now().Add(settleFor)
	for {
		d, err := p.settle(ctx)
		if err != nil {
			return d, err
		}
		err = p.init(ctx, p.pid, p.epoch, true)
		if !errors.Is(err, errUnsure) || time.Now().After(deadline) || !pause(ctx, 5*time.Millisecond) {
			return d, err
		}
	}
}

// settle ends what may be open.
func (p *producer) settle(ctx context.Context) (decision, error) {
	if !p.committing {
		return p.abort(ctx, p.pid, p.epoch)
	}
	err := p.end(ctx, true)
	if err != nil && !errors.Is(err, kafkago.InvalidTransactionState) { // nothing was begun
		return undecided, err
	}
	p.committing = false
	return decidedCommit, nil
}

// within is how long a step inside a transaction may take, so that the
// transaction does not outlast its time.
func (p *producer) within() time.Duration { return p.timeout / 2 }

// retry sends again until the answer is final. A fence is [topics.ErrFenced]: the
// coordinator knows a newer epoch of our producer id, or the transactional id
// has another one, or none any more after a week of silence.
func (p *producer) retry(ctx context.Context, within time.Duration, what string, send func() error) error {
	deadline := time.Now().Add(within)
	wait := time.Millisecond
	for {
		err := send()
		var k kafkago.Error
		_ = errors.As(err, &k) // 0: no answer, or none of a broker's
		switch {
		case err == nil:
			return nil
		case k == kafkago.ProducerFenced || k == kafkago.InvalidProducerEpoch || k == kafkago.InvalidProducerIDMapping:
			return fmt.Errorf("%s: %w (Kafka answers %q)", what, topics.ErrFenced, k.Title())
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errUnsure):
			return err
		case !again(err) || time.Now().After(deadline):
			return fmt.Errorf("%s: %w", what, err)
		}
		if k != kafkago.ConcurrentTransactions {
			p.troubled = true
			p.lookAgain()
			wait = max(wait, 20*time.Millisecond)
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			return ctx.Err()
		}
		wait = min(2*wait, time.Second/2)
	}
}
