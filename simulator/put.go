package simulator

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// maxPut is the largest row that the control endpoint takes, in bytes.
const maxPut = 256 << 20

// Put adds copies of a row to an endpoint of Feedyou other than userData, e.g.
// "feedyou/urlTracker". Windows filter the row by the time at, in milliseconds,
// whatever it shows itself; it can be long past. It can be seen at once, and is
// in the account like any other: without an id or a key, and hashed as it is,
// without masking. raw is served as it is, so it can be anything that the tests
// want to find in a list, but empty.
//
// "nativechat/messages" takes messages the same way. What a message says of its
// id, its Conversation and its User, if it is JSON, is what the account has and
// what queries find it by; its CreatedAt is at.
func (s *Simulator) Put(endpoint string, at time.Time, raw []byte, copies int) error {
	if len(raw) == 0 || copies < 1 {
		return fmt.Errorf("simulator: %d copies of a row of %d bytes; it takes one or more of each", copies, len(raw))
	}
	i := slices.IndexFunc(s.ports, func(p *port) bool { return p.name == endpoint && p.put != nil })
	if i < 0 {
		return fmt.Errorf("simulator: %q takes no rows; those of Feedyou do, but for userData, and nativechat/messages", endpoint)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports[i].put(at, raw, copies)
	return nil
}

// servePut puts the body: ?endpoint=feedyou/urlTracker&at=<UNIX milliseconds>,
// and &copies=3 for more than one.
func (s *Simulator) servePut(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	at, err := strconv.ParseInt(q.Get("at"), 10, 64)
	if err != nil {
		err = errors.New("at must be a UNIX time in milliseconds")
	}
	copies := 1
	if text := q.Get("copies"); text != "" && err == nil {
		if copies, err = strconv.Atoi(text); err != nil {
			err = errors.New("copies must be a number")
		}
	}
	if err == nil {
		var raw []byte
		if raw, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxPut)); err == nil {
			err = s.Put(q.Get("endpoint"), time.UnixMilli(at), raw, copies)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
