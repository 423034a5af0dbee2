package simulator

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	o := Options{Seed: 7, Backlog: 3000, Span: 48 * time.Hour}
	a, b := build(t, o), build(t, o)
	o.Seed = 8
	c := build(t, o)
	for _, path := range []string{messagesPath, conversationsPath} {
		if !slices.Equal(all(t, a, path), all(t, b, path)) {
			t.Errorf("%s: two worlds of one seed differ", path)
		}
		if slices.Equal(all(t, a, path), all(t, c, path)) {
			t.Errorf("%s: two seeds give one world", path)
		}
	}
	if n := len(all(t, a, messagesPath)); n != o.Backlog {
		t.Errorf("%d messages, want %d", n, o.Backlog)
	}
}

func TestTheBacklogFillsItsSpan(t *testing.T) {
	for _, o := range []Options{
		{Seed: 1, Backlog: 1}, {Seed: 2, Backlog: 5000}, {Seed: 3, Backlog: 500, Span: time.Second},
		{Seed: 4, Backlog: 500, Span: time.Hour},
	} {
		s := build(t, o)
		records := s.Account().Endpoints["deepconverse/messages"].Records
		if len(records) != o.Backlog {
			t.Errorf("%+v: %d messages", o, len(records))
		}
		first, last := records[0].Time, records[len(records)-1].Time
		if from := noon.Add(-s.options.Span).Truncate(time.Second); first.Before(from) || !last.Before(noon) {
			t.Errorf("span %v: messages from %v to %v", s.options.Span, first, last)
		}
	}
}

// The world must not depend on how often somebody looked at the clock.
func TestLifeDoesNotDependOnTheTicks(t *testing.T) {
	grow := func(steps ...time.Duration) []string {
		c := newClock()
		s := live(t, Options{Seed: 3, Backlog: 50, Rate: 40, LateShare: 0.2, LateBy: 3 * time.Second, Now: c.Now})
		for _, step := range steps {
			c.add(step)
			s.catchUp(c.Now())
		}
		return append(all(t, s, messagesPath), all(t, s, conversationsPath)...)
	}
	fine := slices.Repeat([]time.Duration{10 * time.Millisecond}, 6000)
	if !slices.Equal(grow(time.Minute), grow(fine...)) {
		t.Error("one step and many small steps give different worlds")
	}
}

func TestConversationsGrowInOrder(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 5, Rate: 20, Now: c.Now})
	c.add(10 * time.Minute)
	account := s.Account()
	next := map[string]int{}
	for _, r := range account.Endpoints["deepconverse/messages"].Records {
		if r.Position != next[r.Key] {
			t.Fatalf("conversation %s: message %d comes where %d belongs", r.Key, r.Position, next[r.Key])
		}
		next[r.Key]++
	}
	if n := len(account.Endpoints["deepconverse/messages"].Records); n != 20*600 {
		t.Errorf("%d messages in 10 minutes at 20/s", n)
	}
	closed := 0
	for _, r := range account.Endpoints["deepconverse/conversations"].Records {
		// A version for each message, and one for the closing.
		if extra := len(r.Versions) - next[r.ID]; extra == 1 && strings.Contains(string(r.Raw), `"resolved"`) {
			closed++
		} else if extra != 0 {
			t.Errorf("conversation %s: %d messages, %d versions", r.ID, next[r.ID], len(r.Versions))
		}
		if r.Versions[len(r.Versions)-1] != r.SHA256 {
			t.Errorf("conversation %s: the last version is not the record's", r.ID)
		}
	}
	if closed == 0 {
		t.Error("no conversation was closed")
	}
}

func TestLateMessagesComeToLight(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 5, Rate: 20, LateShare: 0.5, LateBy: 10 * time.Second, Now: c.Now})
	c.add(30 * time.Second)
	before := len(all(t, s, messagesPath))
	if before >= 30*20 {
		t.Fatalf("all of %d messages can be seen at once", before)
	}
	produced := window(noon, c.Now())
	c.add(10 * time.Second)
	if after := len(walk(t, s, messagesPath, produced, nil)); after <= before {
		t.Errorf("of the first 30 s, %d messages could be seen at once and %d later", before, after)
	}
}

func TestPauseStopsTime(t *testing.T) {
	c := newClock()
	s := live(t, Options{Seed: 5, Rate: 10, Now: c.Now})
	c.add(time.Second)
	s.Pause()
	c.add(time.Hour)
	if n := len(all(t, s, messagesPath)); n != 10 {
		t.Errorf("%d messages at the pause, want 10", n)
	}
	s.Resume()
	c.add(2 * time.Second)
	if n := len(all(t, s, messagesPath)); n != 30 {
		t.Errorf("%d messages 2 s after the pause, want 30", n)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, Options{Seed: 1, Rate: 100, Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		second := make(chan error, 1)
		go func() {
			synctest.Wait() // the first one waits for its ticker
			second <- s.Run(ctx)
		}()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		if err := <-second; err == nil {
			t.Error("two Runs at once")
		}
		if n := s.Summary().Endpoints["deepconverse/messages"].Visible; n < 990 || n > 1000 {
			t.Errorf("%d messages in 10 s at 100/s", n)
		}
	})
}

// Readers and the account see whole records while conversations change.
func TestReadersWhileTheWorldGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := build(t, Options{Seed: 1, Backlog: 500, Rate: 200, LateShare: 0.1, ConversationsBy: ByActivity, Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var readers sync.WaitGroup
		for _, path := range []string{messagesPath, conversationsPath} {
			readers.Go(func() {
				for ctx.Err() == nil {
					ids(t, walk(t, s, path, always().with("end_time", "9999999999"), nil))
					<-time.After(300 * time.Millisecond)
				}
			})
		}
		readers.Go(func() {
			for ctx.Err() == nil {
				for _, r := range s.Account().Endpoints["deepconverse/conversations"].Records {
					if !json.Valid(r.Raw) || r.Versions[len(r.Versions)-1] != r.SHA256 {
						t.Errorf("a conversation is torn: %+v", r)
					}
				}
				<-time.After(500 * time.Millisecond)
			}
		})
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		readers.Wait()
	})
}
