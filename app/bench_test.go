package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/topics"
)

// The benchmark of the whole way, from HTTP page to commit, against what the
// broker by itself can take of the same messages. Its source is another process,
// as an API is.

const (
	benchRecords = 200_000
	benchPage    = 1000
	benchDensity = 10 // records a second of their own time
	sourceEnv    = "MILLRACE_BENCH_SOURCE"
)

var benchStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	if os.Getenv(sourceEnv) != "" {
		serveSource()
	}
	os.Exit(m.Run())
}

// serveSource serves records of a kilobyte, a third of it text, all made before the first request.
func serveSource() {
	text := strings.Repeat("Was the delivery there on time? Yes, thank you! ", 20)
	var more string
	for i := range 13 {
		more += fmt.Sprintf(`"parameter.of.the.flow.%02d":"with a value",`, i)
	}
	pages := make([][]byte, benchRecords)
	for i := range pages {
		pages[i] = fmt.Appendf(nil, `{"_id":"%024x","time":%d,"conversationId":"c%07d","type":"UserInput","userActionType":"text","userInput":"%s","context":{%s"x":1}}`,
			i, benchStart.Unix()+int64(i/benchDensity), i/20, text[:350], more)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		index := func(name string) int {
			seconds, _ := strconv.ParseInt(q.Get(name), 10, 64)
			return int(min(max(0, seconds-benchStart.Unix()), benchRecords/benchDensity)) * benchDensity
		}
		from, to := index("start_time"), index("end_time")
		if c := q.Get("cursor"); c != "" {
			from, _ = strconv.Atoi(c)
		}
		if strings.Contains(r.URL.Path, "/conversations/export/v1/conversations") {
			from = to
		}
		end := min(from+benchPage, to)
		body := append(bytes.Join(pages[from:end], []byte(",")), `],"cursor":`...)
		next := "null"
		if end < to {
			next = strconv.Quote(strconv.Itoa(end))
		}
		_, _ = fmt.Fprintf(w, `{"data":[%s%s}`, body, next)
	}))
}

func startSource(b *testing.B) string {
	b.Helper()
	source := exec.Command(os.Args[0])
	source.Env = append(os.Environ(), sourceEnv+"=1")
	out, err := source.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := source.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = source.Process.Kill(); _ = source.Wait() })
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr
}

func BenchmarkIngest(b *testing.B) {
	addr := startSource(b)
	var ingest, broker time.Duration
	var cpu time.Duration
	var allocs uint64
	for b.Loop() {
		took, used, made, sample := benchIngest(b, addr, fmt.Sprintf(`broker: {nats: {dir: %q, listen: ""}}`, b.TempDir()))
		ingest, cpu, allocs = ingest+took, cpu+used, allocs+made
		broker += benchBroker(b, sample)
	}
	records := float64(b.N * benchRecords)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(records/ingest.Seconds(), "ingest-records/s")
	b.ReportMetric(records/broker.Seconds(), "broker-messages/s")
	b.ReportMetric(broker.Seconds()/ingest.Seconds(), "ratio")
	b.ReportMetric(float64(cpu.Microseconds())/records, "cpu-us/record")
	b.ReportMetric(float64(allocs)/records, "allocs/record")
}

// benchIngest reads everything once, to the broker that a part of a configuration
// names, and returns what it cost and a sample of what the topics hold.
func benchIngest(b *testing.B, addr, broker string) (took, cpu time.Duration, allocs uint64, sample []topics.Message) {
	b.Helper()
	file, err := config.Parse("benchmark", fmt.Appendf(nil, `
%s
http: {listen: ""}
connectors:
  bench: {type: deepconverse, base_url: "http://%s", api_key: x, bot_name: bench, since: %s, rate: 100000/s, streams: [messages]}
`, broker, addr, benchStart.Format(time.RFC3339)), Plugins(), nil)
	if err != nil {
		b.Fatal(err)
	}
	now := func() time.Time { return benchStart.Add(benchRecords/benchDensity*time.Second + time.Hour) }
	a, err := New(b.Context(), Options{Config: file, Once: true, Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began, used := time.Now(), cpuTime()
	if err := a.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	took, cpu = time.Since(began), cpuTime()-used
	runtime.ReadMemStats(&after)
	n := 0
	err = a.broker.Tail(b.Context(), topics.TailOptions{Beginning: true, Stop: true}, func(m topics.Received) error {
		if n++; n <= benchPage-2 {
			m.Attributes, m.Data = append(m.Attributes[:0:0], m.Attributes...), bytes.Clone(m.Data)
			sample = append(sample, m.Message)
		}
		return nil
	})
	if dead := a.ingests[0].Status().Checkpoint.Counts.DeadLetters; err != nil || n != benchRecords || dead > 0 {
		b.Fatalf("%d events of %d records (%v)", n, benchRecords, err)
	}
	return took, cpu, after.Mallocs - before.Mallocs, sample
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchBroker publishes as many messages of the same bytes, as atomic batches,
// with nothing but the client library, and returns how long it took.
func benchBroker(b *testing.B, sample []topics.Message) time.Duration {
	b.Helper()
	s, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: b.TempDir(), DontListen: true, NoSigs: true, SyncAlways: true, MaxPayload: 8 << 20,
		JetStreamLimits: server.JSLimitOpts{MaxBatchSize: 10_000},
	})
	if err != nil {
		b.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	nc, err := natsgo.Connect("", natsgo.InProcessServer(s))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(b.Context(), jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}, AllowAtomicPublish: true, AllowMsgTTL: true, AllowRollup: true}); err != nil {
		b.Fatal(err)
	}
	msgs := make([]*natsgo.Msg, len(sample))
	for i, m := range sample {
		msgs[i] = &natsgo.Msg{Subject: "raw.message.bench", Data: m.Data, Header: natsgo.Header{
			"content-type": {"application/json"}, "Nats-Batch-Id": {""}, "Nats-Batch-Sequence": {strconv.Itoa(i + 1)},
		}}
		for _, a := range m.Attributes {
			msgs[i].Header["ce-"+a.Name] = []string{a.Value}
		}
	}
	began := time.Now()
	for sent, batch := 0, 0; sent < benchRecords; sent, batch = sent+len(msgs), batch+1 {
		rawBatch(b, nc, msgs, fmt.Sprint("batch", batch))
	}
	return time.Since(began)
}

func rawBatch(b *testing.B, nc *natsgo.Conn, msgs []*natsgo.Msg, id string) {
	b.Helper()
	for _, m := range msgs {
		m.Header["Nats-Batch-Id"][0] = id
		if err := nc.PublishMsg(m); err != nil {
			b.Fatal(err)
		}
	}
	last := &natsgo.Msg{Subject: "raw._checkpoint", Data: make([]byte, 600), Header: natsgo.Header{
		"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {strconv.Itoa(len(msgs) + 1)}, "Nats-Batch-Commit": {"1"},
	}}
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	reply, err := nc.RequestMsgWithContext(ctx, last)
	if err != nil {
		b.Fatal(err)
	}
	var ack struct {
		Error json.RawMessage
		Count int
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil || ack.Error != nil || ack.Count != len(msgs)+1 {
		b.Fatalf("%s (%v)", reply.Data, err)
	}
}
