package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/pipeline"
	"github.com/millrace-io/millrace/topics"
)

// oneUser is an API that gives its records for one user only, of half a day at once.
type oneUser struct{ *api }

func (o *oneUser) Keys(context.Context, connectors.KeysRequest) (*connectors.Keys, error) {
	return &connectors.Keys{Keys: []connectors.Key{{ID: "u"}}}, nil
}

func (o *oneUser) Page(ctx context.Context, r connectors.Request) (*connectors.Page, error) {
	if r.To.Sub(r.From) > 12*time.Hour {
		return nil, &connectors.Error{Kind: connectors.TooMuch, Op: "reading", Err: errors.New("too much")}
	}
	return o.api.Page(ctx, r)
}

// Invariant 12: what a backfill that is cancelled has published of a user is
// remembered, also where it came to the second half of the window.
func TestCancelledInHalfAWindow(t *testing.T) {
	h := &hooked{Broker: &limited{Broker: open(t, t.TempDir()), limits: topics.Limits{Messages: 1000, Bytes: 1 << 20}}}
	o := options(h)
	now := end
	o.Now = func() time.Time { return now }
	a := &api{}
	for n := range 1500 {
		a.more = append(a.more, moment{start.Add(-8*time.Hour + time.Duration(n)*time.Second), fmt.Sprintf(`{"id":"%d"}`, n)})
	}
	s := func() *connectors.Stream {
		s := streamAt(t, a, false, o.Now, brief)
		s.Whole, s.Walk, s.Pager = true, &oneUser{a}, &oneUser{a}
		return s
	}
	ingest(t, s(), o)
	from, to := start.Add(-24*time.Hour), start.Add(-2*time.Hour)
	begin(t, s(), o, from, to, false)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.commit = func(ctx context.Context, s topics.Stream, c *topics.Commit) error {
		cancel()
		if err := s.Commit(ctx, c); err != nil {
			return err
		}
		h.commit = func(context.Context, topics.Stream, *topics.Commit) error { return errors.New("stopped") }
		return nil
	}
	only := o
	only.Only = connectors.Backfill
	_ = pipeline.New(s(), only).Run(ctx)
	h.commit = nil
	if n := len(read(t, h)); n == 0 || n == 1500 {
		t.Fatalf("%d events: the test shows nothing", n)
	}
	if _, err := asks(t, s(), o, pipeline.BackfillRequest{Do: pipeline.BackfillCancel}); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		now = now.Add(15 * 24 * time.Hour)
		a.more = append(a.more, moment{now.Add(-time.Minute), fmt.Sprintf(`{"id":"new %d"}`, n)})
		ingest(t, s(), o)
	}
	begin(t, s(), o, from, to, false)
	fill(t, s(), o)
	unique(t, read(t, h), 1502)
}
