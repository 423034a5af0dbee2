package kafka

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/topics"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 1, "how often TestChaos runs")
	chaosSeed   = flag.Uint64("chaos.seed", 0, "seed of TestChaos; 0: another one each time")
)

const (
	chaosStreams = 4
	chaosPages   = 30 // of each stream
	chaosEvents  = 9  // of each page
	chaosKeeps   = 6  // ledger entries of the last pages that are kept
	// chaosPace is after how many requests the cluster gets another fault.
	chaosPace = 15
)

// TestChaos commits many pages of several streams while the cluster refuses,
// moves and forgets, and gives what is old, connections are cut, owners crash in the middle of
// transactions, and others write on after they have lost the stream.
func TestChaos(t *testing.T) {
	t.Parallel()
	for range *chaosRounds {
		seed := *chaosSeed
		if seed == 0 {
			seed = rand.Uint64()
		}
		runChaos(t, seed)
		if t.Failed() {
			t.Fatalf("with -chaos.seed=%d", seed)
		}
	}
}

// chaos is one round.
type chaos struct {
	t       *testing.T
	cluster *kfake.Cluster
	asker   *kgo.Client
	prefix  string

	mu       sync.Mutex
	rng      *rand.Rand
	requests int
	calm     bool // nothing goes wrong any more
	brokers  []*Broker
	zombies  []*stream
	guarded  map[string]int16           // the last epoch that was guarded in asking for the next, by transactional id
	read     map[events.StreamKey]int64 // how far owners had read the state
	counts   map[string]int

	faulty   chan struct{} // wakes whoever gives the cluster another fault
	zombying errgroup.Group
}

func runChaos(t *testing.T, seed uint64) {
	c := &chaos{
		t: t, cluster: fake(t), prefix: "chaos", rng: rand.New(rand.NewPCG(seed, 0)), guarded: map[string]int16{}, read: map[events.StreamKey]int64{}, counts: map[string]int{}, faulty: make(chan struct{}, 1),
	}
	c.asker = writer(t, c.cluster.ListenAddrs(), "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	open(t, c.options(nil)) // makes the topics, while all is well
	faults, stopFaults := context.WithCancel(ctx)
	var faulting sync.WaitGroup
	faulting.Go(func() { c.fault(faults) })
	var group errgroup.Group
	var want []result
	for _, key := range neighbours(chaosStreams) {
		want = append(want, result{key: key, commits: chaosPages, size: chaosEvents, forgotten: func(n int) bool { return n < chaosPages-chaosKeeps }})
		group.Go(func() error { return c.drive(ctx, key) })
	}
	err := errors.Join(group.Wait(), c.zombying.Wait())
	stopFaults()
	faulting.Wait()
	c.mu.Lock()
	c.calm = true
	c.mu.Unlock()
	if err != nil {
		t.Error(err)
	}
	// Whoever was overtaken is refused for ever.
	for _, s := range c.zombies {
		if _, err := s.Checkpoint(ctx); !errors.Is(err, topics.ErrFenced) {
			t.Errorf("an owner of %s that was overtaken may read on: %v", s.key, err)
		}
	}
	for _, b := range c.brokers {
		b.Close()
	}
	judge(t, c.prefix, c.cluster.ListenAddrs()[0], want...)
	if testing.Verbose() {
		t.Logf("seed %d: %v", seed, c.counts)
	}
}

// neighbours are streams whose state lies in one partition, where the open
// transaction of one hides what another has committed.
func neighbours(n int) (keys []events.StreamKey) {
	for i := 0; len(keys) < n; i++ {
		key := streamKey(fmt.Sprint("chaos", i))
		if statePartition(key) == statePartition(streamKey("chaos0")) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (c *chaos) options(w *wire) Options {
	o := Options{Brokers: c.cluster.ListenAddrs(), Partitions: 4, Prefix: c.prefix, session: 3 * time.Second / 2, requestWait: 3 * time.Second, TransactionTimeout: 5 * time.Second, metadataAge: 50 * time.Millisecond}
	if w != nil {
		o.dial = w.dial
	}
	return o
}

// chance says yes once in n times, and counts it.
func (c *chaos) chance(n int, what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calm || c.rng.IntN(n) != 0 {
		return false
	}
	c.counts[what]++
	return true
}

func (c *chaos) pick(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

func (c *chaos) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

// rule cuts connections now and then.
func (c *chaos) rule(r request) fate {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.key {
	case protocol.Metadata, protocol.ApiVersions, protocol.Heartbeat:
	default:
		if c.requests++; c.requests%chaosPace == 0 {
			select {
			case c.faulty <- struct{}{}:
			default:
			}
		}
	}
	if r.key == protocol.InitProducerId {
		c.fence(r)
	}
	if c.calm || r.key == protocol.ApiVersions || c.rng.IntN(50) != 0 {
		return pass
	}
	f := []fate{cutBefore, cutHalf, cutAfter, cutInFlight}[c.rng.IntN(4)]
	c.counts["cut"]++
	return f
}

// fence refuses what a real coordinator would: an epoch that follows one which
// is not the last any more, unless it was given for that very one.
func (c *chaos) fence(r request) {
	init := parsed(c.t, r).(*initproducerid.Request)
	id := init.TransactionalID
	if init.ProducerID < 0 {
		delete(c.guarded, id)
		return
	}
	pid, epoch, ok := c.epoch(id)
	asked, again := c.guarded[id]
	switch {
	case !ok:
	case pid == init.ProducerID && epoch == init.ProducerEpoch:
		c.guarded[id] = epoch
	case pid == init.ProducerID && epoch == init.ProducerEpoch+1 && again && asked == init.ProducerEpoch:
	default:
		c.counts["stale epochs"]++
		c.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: id, Err: kerr.ProducerFenced, When: func(r kmsg.Request) bool {
			i := r.(*kmsg.InitProducerIDRequest)
			return i.ProducerID == init.ProducerID && i.ProducerEpoch == init.ProducerEpoch
		}})
	}
}

// epoch asks the cluster who has a transactional id.
func (c *chaos) epoch(id string) (pid int64, epoch int16, ok bool) {
	request := kmsg.NewPtrDescribeTransactionsRequest()
	request.TransactionalIDs = []string{id}
	answer, err := request.RequestWith(c.t.Context(), c.asker)
	if err != nil || len(answer.TransactionStates) != 1 || answer.TransactionStates[0].ErrorCode != 0 {
		return 0, 0, false
	}
	return answer.TransactionStates[0].ProducerID, answer.TransactionStates[0].ProducerEpoch, true
}

// drive commits all pages of a stream, with as many owners as it takes.
func (c *chaos) drive(ctx context.Context, key events.StreamKey) error {
	for i := 0; ; i++ {
		done, err := c.own(ctx, key, fmt.Sprint("owner", i))
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if done {
			return nil
		}
		c.count("owners")
	}
}

// own takes the stream, and commits until all is done or something happens to
// this owner.
func (c *chaos) own(ctx context.Context, key events.StreamKey, owner string) (done bool, err error) {
	w := new(wire)
	w.use(c.rule)
	var b *Broker
	for b == nil {
		if b, _ = Open(ctx, c.options(w)); ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	c.mu.Lock()
	c.brokers = append(c.brokers, b)
	read := c.read[key]
	c.mu.Unlock()
	late := &behind{RoundTripper: b.client.trip, topic: b.names.state()}
	b.client.trip = late
	if read > 0 && c.chance(3, "old checkpoints") {
		late.stand(read, 2+c.pick(3))
	}
	held, err := b.Acquire(ctx, key, owner, nil)
	if err != nil {
		return false, err
	}
	s := held.(*stream)
	for {
		page, err := c.position(ctx, s)
		switch {
		case errors.Is(err, topics.ErrFenced):
			c.count("fenced")
			s.Release()
			return false, nil
		case err != nil:
			return false, err
		}
		for err == nil {
			select {
			case <-s.Lost():
				c.count("lost")
				return false, nil
			default:
			}
			c.mu.Lock()
			c.read[key] = s.state.next
			c.mu.Unlock()
			if c.chance(20, "old reads") {
				late.stand(s.state.next, 1+c.pick(4))
			}
			switch {
			case page == chaosPages:
				if err = c.forget(ctx, s, page); err == nil {
					s.Release()
					return true, nil
				}
				continue
			case c.chance(30, "crashes"):
				c.crash(ctx, w, s, page)
				return false, nil
			case c.chance(30, "zombies"):
				c.zombie(ctx, w, s, page)
				return false, nil
			case page%5 == 4 && c.chance(2, "forgets"):
				err = c.forget(ctx, s, page)
			}
			if err == nil {
				if err = s.Commit(ctx, c.page(s, page)); err == nil {
					page++
				}
			}
		}
		c.count("errors")
	}
}

// page is the nth commit of a stream.
func (c *chaos) page(s *stream, n int) *topics.Commit {
	commit := numbered(s.key, n, chaosEvents)
	commit.ID = fmt.Sprint(s.owner, "/", n)
	for i := range commit.Messages {
		m := &commit.Messages[i]
		m.Attributes = append(m.Attributes, events.Attribute{Name: "owner", Value: s.owner})
	}
	return commit
}

// position asks until it knows which page comes next.
func (c *chaos) position(ctx context.Context, s *stream) (int, error) {
	for {
		text, err := s.Checkpoint(ctx)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the checkpoint cannot be read: %w", err)
		}
		if errors.Is(err, topics.ErrFenced) {
			return 0, err
		}
		if err != nil {
			c.count("errors")
			continue
		}
		if text == nil {
			return 0, nil
		}
		var n int
		if _, err := fmt.Sscan(string(text), &n); err != nil {
			return 0, fmt.Errorf("the checkpoint is %q", text)
		}
		return n + 1, nil
	}
}

// forget deletes the entries of all but the last pages.
func (c *chaos) forget(ctx context.Context, s *stream, page int) error {
	var names []string
	for i := range page - chaosKeeps {
		names = append(names, fmt.Sprint("entry.", i))
	}
	return s.Forget(ctx, names)
}

// crash lets an owner vanish in the middle of a commit: its machine is gone from
// one request on, or after it.
func (c *chaos) crash(ctx context.Context, w *wire, s *stream, page int) {
	steps := []protocol.ApiKey{protocol.AddPartitionsToTxn, protocol.Produce, protocol.EndTxn, protocol.InitProducerId}
	at, last := steps[c.pick(len(steps))], []fate{cutBefore, cutInFlight}[c.pick(2)]
	dead := make(chan struct{})
	w.use(func(r request) fate {
		select {
		case <-dead:
			return cutBefore
		default:
		}
		if r.key != at {
			return pass
		}
		close(dead)
		return last
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-dead:
			cancel()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil && page < chaosPages {
		if err := s.Commit(ctx, c.page(s, page)); err != nil {
			break
		}
		page++
	}
	w.sever()
}

// zombie lets an owner commit on while its signs of life get lost.
func (c *chaos) zombie(ctx context.Context, w *wire, s *stream, page int) {
	w.use(func(r request) fate {
		switch r.key {
		case protocol.Heartbeat, protocol.JoinGroup, protocol.SyncGroup:
			return cutBefore
		}
		return c.rule(r)
	})
	c.zombying.Go(func() error {
		for {
			err := s.Commit(ctx, c.page(s, page))
			switch {
			case err == nil:
				page++
			case !errors.Is(err, topics.ErrFenced):
				page, err = c.position(ctx, s)
			}
			switch {
			case errors.Is(err, topics.ErrFenced):
				c.mu.Lock()
				c.zombies = append(c.zombies, s)
				c.mu.Unlock()
				c.count("zombies fenced")
				return nil
			case err != nil:
				return err
			case page == chaosPages:
				return nil
			}
		}
	})
}
