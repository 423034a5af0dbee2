package simulator

import (
	"fmt"
	"net/http"
	"time"
)

// vendor is one export API: it keeps what it shows of the world, and serves it.
// It is told of the world, and its endpoints answer, under the simulator's lock
// (answers for reading only), so it needs none for its records. What authorize
// uses is outside that lock.
type vendor interface {
	observer
	endpoints() []endpoint
}

// vendors makes all that there are, in the order of the account. A new vendor is
// a file of its own and a line here.
var vendors = []struct {
	name string
	make func(*Options) vendor
}{
	{"deepconverse", func(o *Options) vendor { return newDeepConverse(o) }},
	{"feedyou", func(o *Options) vendor { return newFeedyou(o) }},
	{"netcore", func(o *Options) vendor { return newNetcore(o) }},
	{"nativechat", func(o *Options) vendor { return newNativeChat(o) }},
}

// endpoint is one address of a vendor.
type endpoint struct {
	name    string // in the account, e.g. "deepconverse/messages"
	pattern string // for [http.ServeMux], e.g. "GET /export/messages"
	also    string // a second pattern of the same endpoint; "": none
	// authorize returns a refusal for a request without the right credentials,
	// nil for one with them. It comes before the limiter and the faults.
	authorize func(*http.Request) *answer
	// answer answers an authorized request.
	answer func(*http.Request, time.Time) answer
	// records returns all that can be seen; nil for an endpoint that has none.
	records func() []*record
	// put adds copies of a row with a time; nil for an endpoint that takes none.
	put func(at time.Time, raw []byte, copies int)
}

// port is an endpoint as it is served.
type port struct {
	endpoint
	limiter *limiter
	tally   tally
}

// serve returns the way of every request to an endpoint: credentials, limit,
// latency, fate, answer.
func (s *Simulator) serve(p *port) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer s.enter(p)()
		arrived := s.options.Now()
		// The clock of the answer is ours, also where it is not the machine's.
		w.Header().Set("Date", arrived.UTC().Format(http.TimeFormat))
		refusal := p.authorize(r)
		if refusal == nil {
			if wait, ok := p.limiter.accept(arrived); !ok {
				p.tally.refused()
				refusal = tooMany(wait)
			}
		}
		if pause(r.Context(), s.options.Latency) != nil {
			return
		}
		if refusal != nil {
			p.tally.count(refusal, refusal.send(w, r, refusal.size(), false))
			return
		}
		s.meet(w, r, p, s.fate.draw())
	}
}

// meet answers a request with what befalls it.
func (s *Simulator) meet(w http.ResponseWriter, r *http.Request, p *port, injury injury) {
	p.tally.injured(injury.fault)
	now := s.options.Now()
	switch {
	case injury.fault == TooMany:
		a := tooMany(time.Second)
		if injury.turn%2 == 1 {
			a.header["Retry-After"] = now.Add(2 * time.Second).UTC().Format(http.TimeFormat)
		}
		a.send(w, r, a.size(), false) // the client may be gone: it is a fault anyway
		return
	case injury.fault == Broken:
		a := brokenGateway(injury.turn)
		a.send(w, r, a.size(), false)
		return
	case injury.fault == Reset && injury.turn%2 == 0:
		tear(w)
		return
	case injury.fault == SignIn:
		a := signInPage(r, injury.turn)
		a.send(w, r, a.size(), false)
		return
	case injury.fault == Redirect:
		a := signInElsewhere(r, injury.turn)
		a.send(w, r, a.size(), false)
		return
	}
	a := s.ask(r, p, now)
	part := int(injury.depth * float64(a.size())) // less than all of it
	switch injury.fault {
	case Truncated:
		a.send(w, r, part, false)
	case Reset:
		s.sendTorn(w, r, &a, part)
	case Poison:
		a.spoil(mix(s.options.Seed^0x9015), injury.turn)
		fallthrough
	default:
		p.tally.count(&a, a.send(w, r, a.size(), injury.fault == Slow))
	}
}

// ask returns an endpoint's answer to a request at now.
func (s *Simulator) ask(r *http.Request, p *port, now time.Time) answer {
	s.catchUp(now)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return p.answer(r, now)
}

// sendTorn announces a whole answer, sends a part of it and tears the connection.
func (s *Simulator) sendTorn(w http.ResponseWriter, r *http.Request, a *answer, part int) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(a.size()))
	w.WriteHeader(a.code())
	if a.writeTo(w, part) == nil {
		http.NewResponseController(w).Flush() // fails only with the connection
	}
	tear(w)
}

// tooMany returns a refusal that asks to wait, in whole seconds.
func tooMany(wait time.Duration) *answer {
	a := refuse(http.StatusTooManyRequests, "Too many requests")
	seconds := (wait + time.Second - 1) / time.Second
	a.header = map[string]string{"Retry-After": fmt.Sprint(int(seconds))}
	return &a
}

// brokenGateway returns what a proxy says when the server behind it is gone.
func brokenGateway(turn int) answer {
	code := [...]int{http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable}[turn%3]
	title := fmt.Sprintf("%d %s", code, http.StatusText(code))
	page := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title +
		"</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
	return answer{status: code, contentType: "text/html", head: []byte(page)}
}
