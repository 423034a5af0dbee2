package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// lease keeps other instances from reading the same stream, by the protocol of
// consumer groups: all who want a stream are members of a group of its own, and
// its leader leaves the stream with whom has it. It only saves requests and
// fences: what a late owner writes is refused by its epoch, whoever believes to
// hold the lease.
type lease struct {
	*coordinator
	s      *stream
	group  string
	member string // our id in the group, "" before the first join
	turn   int32  // the group's generation
	held   bool
	until  atomic.Int64 // when the group may give the stream to others, in Unix nanoseconds of our clock
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// claim is what a member tells the group's leader.
type claim struct {
	Owner string `json:"owner"`
	Term  string `json:"term"`
	Held  bool   `json:"held"` // it has the stream
}

// grant is what the leader tells all members.
type grant struct {
	Owner string `json:"owner"`
	Term  string `json:"term"`
}

const (
	groupProtocolType = "millrace"
	groupProtocol     = "hold"
	// These are the newest versions of requests that kafka-go and brokers understand
	// alike: it has the texts of newer joins wrong, and looks for the error of a newer
	// heartbeat in another place. With joins of version 4 we know our id in the group
	// before it waits for us, so we can always leave it.
	joinVersion, syncVersion, beatVersion = 4, 3, 0
)

// errGiven says that the group's leader has given the stream to another member.
var errGiven = errors.New("another instance has the stream")

// takeLease waits until the stream is ours and keeps it so.
func (b *Broker) takeLease(ctx context.Context, s *stream, wait func(string)) (*lease, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	group := b.names.hold(s.key)
	l := &lease{coordinator: newCoordinator(b.client, kafkago.CoordinatorKeyTypeConsumer, group), s: s, group: group}
	// A cluster that has just begun, or a group that is new, is not worth a warning.
	told, quiet := false, time.Now().Add(b.opts.session)
	for {
		g, err := l.join(ctx)
		switch {
		case err == nil && g.Term == s.term:
			l.held = true
			run, stop := context.WithCancel(b.ctx)
			l.stop = stop
			l.done.Go(func() { l.keep(run) })
			return l, nil
		case err == nil:
			wait(g.Owner)
			err = l.follow(ctx)
		}
		if ctx.Err() != nil {
			l.leave()
			if b.ctx.Err() != nil {
				return nil, errClosed
			}
			return nil, ctx.Err()
		}
		if final(err) && !regroup(err) {
			l.leave()
			return nil, b.explain(fmt.Errorf("hold the stream %s by the group %s: %w", s.key, l.group, err))
		}
		if !regroup(err) {
			// That the cluster is away is told once, and not for each stream.
			if !told && answered(err) && time.Now().After(quiet) {
				told = true
				b.log.Warn("the group that says who holds the stream cannot be asked; trying again until it can", "stream", s.key.String(), "error", err.Error())
			}
			pause(ctx, b.opts.session/8)
		}
	}
}

// regroup says whether an error asks to join again.
func regroup(err error) bool {
	return errors.Is(err, kafkago.RebalanceInProgress) || errors.Is(err, kafkago.UnknownMemberId) ||
		errors.Is(err, kafkago.IllegalGeneration) || errors.Is(err, kafkago.MemberIDRequired)
}

// join takes part in one generation, and says who has the stream in it.
func (l *lease) join(ctx context.Context) (grant, error) {
	joined, err := l.enter(ctx)
	if err != nil {
		return grant{}, err
	}
	var assignments []syncgroup.RequestAssignment
	if joined.LeaderID == joined.MemberID {
		assignments = assign(joined.Members)
	}
	sent := time.Now() // until now the group has waited for us
	answer, err := l.ask(ctx, syncVersion, &syncgroup.Request{
		GroupID: l.group, GenerationID: l.turn, MemberID: l.member, Assignments: assignments,
		ProtocolType: groupProtocolType, ProtocolName: groupProtocol,
	})
	if err != nil {
		return grant{}, err
	}
	synced := answer.(*syncgroup.Response)
	if err := failed(synced.ErrorCode); err != nil {
		l.expelled(err)
		return grant{}, err
	}
	var g grant
	if err := json.Unmarshal(synced.Assignments, &g); err != nil {
		return grant{}, fmt.Errorf("the leader of the group %s has told what this version cannot read: %w", l.group, err)
	}
	l.extend(sent)
	return g, nil
}

// enter joins the group, which answers when all have come.
func (l *lease) enter(ctx context.Context) (*joingroup.Response, error) {
	session := l.s.b.opts.session
	metadata, err := json.Marshal(claim{Owner: l.s.owner, Term: l.s.term, Held: l.held})
	if err != nil {
		return nil, err
	}
	for {
		answer, err := l.askWithin(ctx, 2*session, joinVersion, &joingroup.Request{
			GroupID: l.group, MemberID: l.member, ProtocolType: groupProtocolType,
			SessionTimeoutMS: int32(session.Milliseconds()), RebalanceTimeoutMS: int32(session.Milliseconds()),
			Protocols: []joingroup.RequestProtocol{{Name: groupProtocol, Metadata: metadata}},
		})
		if err != nil {
			return nil, err
		}
		joined := answer.(*joingroup.Response)
		err = failed(joined.ErrorCode)
		if errors.Is(err, kafkago.MemberIDRequired) {
			l.member = joined.MemberID
			continue
		}
		if err != nil {
			l.expelled(err)
			return nil, err
		}
		l.member, l.turn = joined.MemberID, joined.GenerationID
		return joined, nil
	}
}

// expelled forgets a membership that the group does not know any more, and where
// the group is kept when it is not there.
func (l *lease) expelled(err error) {
	if err != nil && !errors.Is(err, kafkago.RebalanceInProgress) {
		l.lookAgain()
	}
	if errors.Is(err, kafkago.UnknownMemberId) {
		l.member = ""
	}
}

// assign gives the stream to whom has it, else to the first who came.
func assign(members []joingroup.ResponseMember) []syncgroup.RequestAssignment {
	chosen := claim{}
	for i, m := range members {
		var c claim
		if json.Unmarshal(m.Metadata, &c) != nil {
			continue
		}
		if i == 0 || c.Held && !chosen.Held {
			chosen = c
		}
	}
	told, _ := json.Marshal(grant{Owner: chosen.Owner, Term: chosen.Term})
	all := make([]syncgroup.RequestAssignment, len(members))
	for i, m := range members {
		all[i] = syncgroup.RequestAssignment{MemberID: m.MemberID, Assignment: told}
	}
	return all
}

// follow gives signs of life until the group is to be joined again.
func (l *lease) follow(ctx context.Context) error {
	for {
		if !pause(ctx, l.s.b.opts.session/4) {
			return ctx.Err()
		}
		if err := l.beat(ctx); err != nil {
			return err
		}
	}
}

// beat gives one sign of life.
func (l *lease) beat(ctx context.Context) error {
	sent := time.Now()
	answer, err := l.askWithin(ctx, l.s.b.opts.session/2, beatVersion, &heartbeat.Request{GroupID: l.group, GenerationID: l.turn, MemberID: l.member})
	if err != nil {
		return err
	}
	err = failed(answer.(*heartbeat.Response).ErrorCode)
	if err == nil || errors.Is(err, kafkago.RebalanceInProgress) {
		l.extend(sent)
	}
	l.expelled(err)
	return err
}

// extend notes that the group has heard of us at a time.
func (l *lease) extend(sent time.Time) {
	l.until.Store(sent.Add(l.s.b.opts.session).UnixNano())
}

// left is for how long the group gives the stream to nobody else.
func (l *lease) left() time.Duration { return time.Until(time.Unix(0, l.until.Load())) }

// sure says whether the stream is ours for certain: no other can have got it in
// the time that a request takes.
func (l *lease) sure() bool {
	return l.left() > l.s.b.opts.session/4
}

// keep gives signs of life until the lease is released or lost.
func (l *lease) keep(ctx context.Context) {
	for {
		err := l.follow(ctx)
		for ctx.Err() == nil && err != nil && l.left() > 0 && !errors.Is(err, errGiven) {
			if regroup(err) {
				var g grant
				if g, err = l.join(ctx); err == nil && g.Term != l.s.term {
					err = errGiven
				}
				continue
			}
			pause(ctx, l.s.b.opts.session/16)
			err = l.beat(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.s.b.log.Debug("the stream is lost", "stream", l.s.key.String(), "cause", err.Error())
			l.until.Store(0)
			close(l.s.lost)
			return
		}
	}
}

// release gives the stream back and waits for the goroutine.
func (l *lease) release() {
	l.stop()
	l.done.Wait()
	l.leave()
}

// leave leaves the group; where that fails it notices by itself.
func (l *lease) leave() {
	if l.member == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.s.b.ctx), l.s.b.opts.session/4)
	defer cancel()
	request := &leavegroup.Request{GroupID: l.group, MemberID: l.member, Members: []leavegroup.RequestMember{{MemberID: l.member}}}
	if _, err := l.ask(ctx, beatVersion, request); err != nil {
		l.s.b.log.Debug("the stream is left to be noticed as free", "stream", l.s.key.String(), "error", err.Error())
	}
}
