package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-io/millrace/topics/kafka/kafkatest"
)

var (
	array = flag.Int("array", 50, "megabytes of the one array in the memory test")
	row   = flag.Int("row", 450, "bytes of a row of it, about")
)

// giant answers with one array of so many bytes for the windows that hold its
// moment, and with nothing for others.
type giant struct {
	at      time.Time
	bytes   int
	timed   bool // rows have a time; others are told apart by cells
	records atomic.Int64
}

func (g *giant) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.ParseInt(r.URL.Query().Get("fromTimestamp"), 10, 64)
	to, _ := strconv.ParseInt(r.URL.Query().Get("toTimestamp"), 10, 64)
	out := bufio.NewWriterSize(w, 64<<10)
	defer out.Flush()
	fmt.Fprint(out, "[")
	defer fmt.Fprint(out, "]")
	if at := g.at.Unix(); at < from || at >= to {
		return
	}
	timestamp := ""
	if g.timed {
		timestamp = fmt.Sprintf(`"timestamp":%d,`, g.at.Unix())
	}
	filler := strings.Repeat("x", *row-50)
	n := int64(0)
	for written := 0; written < g.bytes; n++ {
		if n > 0 {
			fmt.Fprint(out, ",")
		}
		k, err := fmt.Fprintf(out, `{%s"url":"https://example.com/%d","domain":"%s"}`, timestamp, n, filler)
		if err != nil {
			return
		}
		written += k
	}
	g.records.Store(n)
}

// built is the program as users have it: without the race detector, which takes
// memory of its own.
func built(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "millrace")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// most returns the most memory that a process ever had resident, in bytes; 0
// when it is gone.
func most(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kb, _ := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// watch runs the program to its end and returns the most memory it had.
func watch(t *testing.T, path string, args ...string) int64 {
	t.Helper()
	var said lockedBuffer
	c := exec.Command(path, args...)
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	peak := int64(0)
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatalf("millrace %v: %v\n%s", args, err, said.String())
			}
			return peak
		case <-look.C:
			peak = max(peak, most(c.Process.Pid))
		}
	}
}

// Invariant 11: one giant array, in one second, takes little memory, whether
// its rows have a time or are told apart by their quarter of an hour. What the
// embedded server holds of the last moments comes on top.
func TestMemoryForAGiantArray(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is measured with /proc")
	}
	path := built(t)
	server := startServer(t)
	awaitServer(t, server.addr)
	own := func(*testing.T) string { return fmt.Sprintf("{nats: {url: %q}}", server.url()) }
	embedded := func(t *testing.T) string {
		return fmt.Sprintf(`{nats: {dir: %q, listen: ""}}`, filepath.Join(t.TempDir(), "data"))
	}
	kafka := func(t *testing.T) string {
		return fmt.Sprintf("{kind: kafka, kafka: {brokers: [%q], partitions: 3}}", kafkatest.Addr(t))
	}
	for name, c := range map[string]struct {
		broker func(*testing.T) string
		timed  bool
		limit  int64 // MiB above idle
	}{
		"rows with a time":                     {own, true, 40},
		"rows without a time":                  {own, false, 40},
		"embedded server":                      {embedded, true, 54},
		"embedded server, rows without a time": {embedded, false, 54},
		"Kafka":                                {kafka, true, 54},
		"Kafka, rows without a time":           {kafka, false, 54},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			g := &giant{at: now.Add(-10 * time.Minute).Truncate(time.Second), timed: c.timed}
			api := httptest.NewServer(g)
			defer api.Close()
			broker := c.broker(t)
			configure := func(prefix string) string {
				file := filepath.Join(t.TempDir(), "millrace.yaml")
				text := fmt.Sprintf("broker: %s\ntopics: {prefix: %s}\nhttp: {listen: \"\"}\nconnectors:\n"+
					"  support: {type: feedyou, bot_id: acme, function_key: k, base_url: %q, since: %s, rate: 1000/s, streams: [urlTracker]}\n",
					broker, prefix, api.URL, now.Add(-20*time.Minute).UTC().Format(time.RFC3339))
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				return file
			}
			prefix := "p" + strconv.FormatInt(now.UnixNano(), 36)
			idle := watch(t, path, "run", "--once", "-c", configure(prefix+"idle"))
			g.bytes = *array << 20
			peak := watch(t, path, "run", "--once", "-c", configure(prefix))
			if n := g.records.Load(); n < int64(*array<<20 / *row)/2 {
				t.Fatalf("%d records", n)
			}
			above := (peak - idle) >> 20
			t.Logf("idle %d MiB, at most %d MiB above it with one array of %d MB (%d records)", idle>>20, above, *array, g.records.Load())
			if *array > 100 { // ids take more, and the array as a whole would take far more
				c.limit = 64
			}
			if above > c.limit {
				t.Errorf("%d MiB above idle, want %d at most", above, c.limit)
			}
		})
	}
}

func TestTheMemoryLimitFollowsWhatIsInUse(t *testing.T) {
	const beside = 10 << 20
	for _, c := range []struct {
		what          string
		live, scanned uint64
		want          int64
	}{
		{"little", 1 << 20, 1 << 20, memoryGoal},
		{"just fits", memoryGoal - memoryAhead - beside, 0, memoryGoal},
		{"much, in ids alone", 100 << 20, 0, 100<<20 + beside + memoryAhead},
		{"much, all of it to be looked at", 100 << 20, 100 << 20, 250<<20 + beside},
	} {
		if got := memoryLimit(c.live, c.scanned, beside); got != c.want {
			t.Errorf("%s: limit %d, want %d", c.what, got, c.want)
		}
	}
}
