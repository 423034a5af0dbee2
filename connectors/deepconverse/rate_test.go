package deepconverse

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// limitedAPI serves messages at a steady rate of records for all time, in pages
// of 1000, each answer after a latency, and refuses the request that is one too
// many in any second.
type limitedAPI struct {
	perSecond int
	latency   time.Duration

	mu       sync.Mutex
	accepted []time.Time
	refused  int
}

func (a *limitedAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	now := time.Now()
	a.mu.Lock()
	if n := len(a.accepted); n >= defaultRate && now.Sub(a.accepted[n-defaultRate]) < time.Second {
		a.refused++
		a.mu.Unlock()
		return response(r, 429, []byte("{}")), nil
	}
	a.accepted = append(a.accepted, now)
	a.mu.Unlock()
	select {
	case <-time.After(a.latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("start_time"))
	to, _ := strconv.Atoi(q.Get("end_time"))
	first, _ := strconv.Atoi(q.Get("cursor"))
	first = max(first, from*a.perSecond)
	last := min(first+perPage, to*a.perSecond)
	var body bytes.Buffer
	body.WriteString(`{"data":[`)
	for n := first; n < last; n++ {
		if n > first {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"_id":"%d","time":%d,"conversationId":"c"}`, n, n/a.perSecond)
	}
	cursor := "null"
	if last < to*a.perSecond {
		cursor = `"` + strconv.Itoa(last) + `"`
	}
	body.WriteString(`],"cursor":` + cursor + `}`)
	return response(r, 200, body.Bytes()), nil
}

func response(r *http.Request, status int, body []byte) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}
}

// At 3 requests a second for each endpoint with a backlog and answers that take
// 0.8 s, at least 97 % of the allowed requests are used and none is refused; nor
// are they used for pages that are almost empty.
func TestTheRateIsUsedAndNeverExceeded(t *testing.T) {
	for _, perSecond := range []int{2, 300} {
		synctest.Test(t, func(t *testing.T) {
			api := &limitedAPI{perSecond: perSecond, latency: 800 * time.Millisecond}
			section := connectors.Section{Name: "c", Raw: map[string]any{
				"api_key": "k", "bot_name": "b", "since": time.Now().Add(-time.Second * 800_000 / time.Duration(perSecond)),
			}, Streams: map[string]map[string]any{"messages": nil}}
			c, err := Type.New(section, connectors.Env{Budgets: connectors.NewBudgets(), Transport: api})
			if err != nil {
				t.Fatal(err)
			}
			sub := connectors.NewSubscriber(c.Streams[0], connectors.SubscriberOptions{})
			out, err := sub.Subscribe(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			const measured = 2 * time.Minute
			var began time.Time
			var first, records int
			for msg := range out {
				b, _ := connectors.BatchOf(msg.Context())
				time.Sleep(20 * time.Millisecond) // the commit
				msg.Ack()
				api.mu.Lock()
				requests := len(api.accepted)
				api.mu.Unlock()
				if began.IsZero() && b.Progress.Live.Window.To.IsZero() { // the first window
					began, first = time.Now(), requests
				}
				if records += len(b.Records); !began.IsZero() && time.Since(began) > measured {
					break
				}
			}
			requests := len(api.accepted) - first
			sub.Close()
			allowed := time.Since(began).Seconds() * defaultRate
			used := float64(requests) / allowed
			filled := float64(records) / float64(len(api.accepted)) / perPage
			t.Logf("%d records/s: %.2f %% of the allowed requests are used, their pages %.0f %% full, %d refused", perSecond, 100*used, 100*filled, api.refused)
			if used < .97 || api.refused > 0 || filled < .7 {
				t.Error("that is not enough")
			}
		})
	}
}
