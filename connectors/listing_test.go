package connectors

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A key that cannot be kept in a cursor is an error, not a walk that cannot be
// resumed.
func TestKeysThatAreTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now().Add(-time.Hour)
		f := &fakeUsers{users: map[string][]fakeRecord{strings.Repeat("u", maxKey+1): {{since, "1", "{}"}}}, listed: 10, limit: 10}
		_, err := readOnce(t, f.stream(t, func(o *Options) { o.Since = since }), nil, nil)
		if KindOf(err) != Fail || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("%v", err)
		}
	})
}

// A listing that can never be read to its end fails, and is not begun again and
// again unseen.
func TestAListingThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		since := time.Now().Add(-time.Hour)
		f := &fakeUsers{users: someUsers(5, 1, since, 0), listed: 2, limit: 100}
		f.fail = func(n int, _ string) error {
			if n%2 == 0 { // the second page
				return &Error{Kind: Restart, Op: "listing", Status: 400, Err: errors.New("no such page")}
			}
			return nil
		}
		sub := NewSubscriber(f.stream(t, func(o *Options) { o.Since = since }), SubscriberOptions{})
		if _, err := sub.Subscribe(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if h := sub.Health(); h.State != StateFailing || len(f.asked) > 400 {
			t.Errorf("%+v after %d requests", h, len(f.asked))
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := readOnce(t, f.stream(t, func(o *Options) { o.Since = since }), nil, nil); KindOf(err) != Restart {
			t.Errorf("%v", err)
		}
	})
}

// Who acts while the keys are listed may be on none of the pages. A window that
// the next one does not read again lists them too.
func TestWhoActsWhileTheKeysAreListed(t *testing.T) {
	for back, step := range map[time.Duration]time.Duration{48 * time.Hour: time.Hour, 15 * time.Minute: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			since := now.Add(-back)
			f := &fakeUsers{users: someUsers(9, 3, since, step), listed: 3, limit: 100, latency: time.Second}
			mover := f.users["u00004"]
			delete(f.users, "u00004")
			f.fail = func(n int, _ string) error {
				if n == 4 { // the last page was answered
					f.mu.Lock()
					f.users["u00004"] = append(mover, fakeRecord{now.Add(2 * time.Second), "new", "{}"})
					f.mu.Unlock()
				}
				return nil
			}
			stream := f.stream(t, func(o *Options) { o.Since, o.Overlap = since, 10*time.Minute })
			batches, err := readOnce(t, stream, nil, nil)
			if got := distinct(batches); err != nil || len(got) != 9*3 {
				t.Errorf("since %s: %d records, want %d, %v", back, len(got), 9*3, err)
			}
		})
	}
}
