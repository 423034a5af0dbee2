package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-io/millrace/connectors"
)

// unheard listens to what the endpoints of quarters answer, for the one failure
// there that nobody may have heard of: the first row of an answer can show that
// quarters are needed, and the answer is read no further. That it is cut behind
// that row is never seen, and the same is never asked for again.
type unheard struct {
	mu   sync.Mutex
	last map[string]map[string]bool // by endpoint and query: the latest answer is such a one
}

// listen puts what it returns between a world and who reads it from now on.
func listen(t *testing.T, w *world) *unheard {
	t.Helper()
	u := &unheard{last: map[string]map[string]bool{}}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		endpoint := "feedyou/" + r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if !slices.Contains(quarters, endpoint) {
			w.ServeHTTP(out, r)
			return
		}
		heard := &recorded{ResponseWriter: out}
		defer func() { // a torn answer ends with a panic
			u.mu.Lock()
			defer u.mu.Unlock()
			if u.last[endpoint] == nil {
				u.last[endpoint] = map[string]bool{}
			}
			u.last[endpoint][r.URL.RawQuery] = heard.cutBehindRow()
		}()
		w.ServeHTTP(heard, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return u
}

// of returns how many failures of an endpoint nobody may have heard of.
func (u *unheard) of(endpoint string) (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, cut := range u.last[endpoint] {
		if cut {
			n++
		}
	}
	return n
}

// recorded keeps what is answered.
type recorded struct {
	http.ResponseWriter
	body bytes.Buffer
	torn bool // the connection is: another fault
}

func (r *recorded) Write(b []byte) (int, error) {
	r.body.Write(b)
	return r.ResponseWriter.Write(b)
}

func (r *recorded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.torn = true
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

func (r *recorded) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// cutBehindRow says whether what was answered is a list that is cut, with at least
// one whole row.
func (r *recorded) cutBehindRow() bool {
	var text io.Reader = &r.body
	if r.Header().Get("Content-Encoding") == "gzip" {
		zipped, err := gzip.NewReader(text)
		if err != nil {
			return false
		}
		text = zipped
	}
	rows := connectors.ReadArray(text, 1<<20)
	for n := 0; ; n++ {
		if _, err := rows.Next(); err != nil {
			return err != io.EOF && n > 0 && !r.torn
		}
	}
}
