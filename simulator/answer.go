package simulator

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is what an endpoint says: head, the records with commas between them,
// tail. The records are not copied until they are written.
type answer struct {
	status      int    // 0: 200
	contentType string // "": JSON
	header      map[string]string
	head, tail  []byte
	records     []*record // with the poison
	poison      [][]byte  // those of the records that are none
	list        bool      // there are records, or could be
}

// refuse returns an answer that says what is wrong with a request.
func refuse(status int, message string) answer {
	w := jsonWriter{}
	w.open('{')
	w.memberNumber("statusCode", int64(status))
	w.member("error", http.StatusText(status))
	w.member("message", message)
	w.close('}')
	return answer{status: status, head: w.buf}
}

func (a *answer) code() int { return cmp.Or(a.status, http.StatusOK) }

func (a *answer) size() int {
	size := len(a.head) + len(a.tail) + max(0, len(a.records)-1)
	for _, r := range a.records {
		size += len(r.raw)
	}
	return size
}

const (
	// writeSize is how much is gathered before it is written to a connection.
	writeSize = 128 << 10
	// minGzip is the smallest body that is worth compressing.
	minGzip = 1 << 10
)

var (
	buffers = sync.Pool{New: func() any { b := make([]byte, 0, writeSize); return &b }}
	gzips   = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}
)

// writeTo writes the first limit bytes of the body.
func (a *answer) writeTo(w io.Writer, limit int) error {
	pooled := buffers.Get().(*[]byte)
	buf := (*pooled)[:0]
	defer func() { *pooled = buf[:0]; buffers.Put(pooled) }()
	put := func(b []byte) error {
		b = b[:min(limit, len(b))]
		limit -= len(b)
		for len(b) > 0 {
			n := min(len(b), writeSize-len(buf))
			buf, b = append(buf, b[:n]...), b[n:]
			if len(buf) < writeSize {
				break
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
		return nil
	}
	err := put(a.head)
	for i := 0; i < len(a.records) && err == nil && limit > 0; i++ {
		if i > 0 {
			err = put(comma)
		}
		if err == nil {
			err = put(a.records[i].raw)
		}
	}
	if err == nil {
		err = put(a.tail)
	}
	if err == nil && len(buf) > 0 {
		_, err = w.Write(buf)
	}
	return err
}

var comma = []byte{','}

// send writes the first limit bytes of an answer's body as an answer that HTTP
// finds nothing wrong with.
func (a *answer) send(w http.ResponseWriter, r *http.Request, limit int, slow bool) error {
	h := w.Header()
	h.Set("Content-Type", cmp.Or(a.contentType, "application/json; charset=utf-8"))
	for name, value := range a.header {
		h.Set(name, value)
	}
	zip := limit >= minGzip && acceptsGzip(r)
	h.Set("Vary", "Accept-Encoding")
	if zip {
		h.Set("Content-Encoding", "gzip")
	} else {
		h.Set("Content-Length", strconv.Itoa(limit))
	}
	w.WriteHeader(a.code())
	if r.Method == http.MethodHead {
		return nil
	}
	var out io.Writer = w
	if slow {
		out = &dribble{w: w, flush: http.NewResponseController(w).Flush, ctx: r.Context()}
	}
	if !zip {
		return a.writeTo(out, limit)
	}
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(out)
	return errors.Join(a.writeTo(z, limit), z.Close())
}

// acceptsGzip reports whether a client asks for gzip.
func acceptsGzip(r *http.Request) bool {
	for item := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, params, _ := strings.Cut(item, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		q, isWeight := strings.CutPrefix(strings.TrimSpace(params), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		return !isWeight || err == nil && weight > 0
	}
	return false
}

// How an answer dribbles.
const (
	dribblePieces = 6
	dribbleSize   = 64
	dribblePause  = 50 * time.Millisecond
)

// dribble writes a few small pieces with pauses, then the rest.
type dribble struct {
	w     io.Writer
	flush func() error
	ctx   context.Context
	done  int
}

func (d *dribble) Write(b []byte) (int, error) {
	written := 0
	for ; d.done < dribblePieces && written < len(b); d.done++ {
		if err := pause(d.ctx, dribblePause); err != nil {
			return written, err
		}
		n, err := d.w.Write(b[written:min(len(b), written+dribbleSize)])
		if written += n; err != nil {
			return written, err
		}
		if err := d.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return written, err
		}
	}
	n, err := d.w.Write(b[written:])
	return written + n, err
}

// pause waits, or returns why the caller need not wait any longer.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tear resets the connection of a request. Where that cannot be (HTTP/2, a
// recorder), the server ends the request without an answer.
func tear(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	under := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		under = t.NetConn()
	}
	if t, ok := under.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0) // an error means that it is torn already
	}
	under.Close()
}
