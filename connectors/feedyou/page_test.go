package feedyou

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/events/eventtest"
)

// Whatever an answer holds: it is an error, or each element comes out once, in
// order and with its bytes, as a record whose data are what the catalogue
// promises, or as a dead letter. An array that is well formed is no error, and
// one that is cut is.
func FuzzPage(f *testing.F) {
	all := "["
	for i, c := range recordCases {
		f.Add([]byte("["+c.raw+"]"), uint16(i))
		all += c.raw + ","
	}
	f.Add([]byte(all+"5]"), uint16(0))
	for i, c := range headerCases {
		f.Add([]byte(`[{"url":"https://a:b@c","requestHeaders":`+strings.NewReplacer("<", "", ">", "").Replace(c)+`}]`), uint16(i))
	}
	for _, seed := range []string{"null", "[]", "{}", "<html>", "[{}", "[1,]", `[{"a":1,"a":2},"\ud800",nul]`, `[{"status":1e999999999}]`} {
		f.Add([]byte(seed), uint16(1))
	}
	validate := eventtest.Schemas(f)
	f.Fuzz(func(t *testing.T, body []byte, cut uint16) {
		var list []json.RawMessage
		whole := json.Unmarshal(body, &list) == nil
		for _, name := range streams {
			n, err := read(t, name, body, func(i int, record events.Record) {
				if !bytes.Contains(body, record.Raw) || whole && string(list[i]) != string(record.Raw) {
					t.Fatalf("element %d of %q is %q", i, body, record.Raw)
				}
				value := jsontext.Value(record.Raw)
				if alive := value.IsValid() && value.Kind() == '{' && events.Depth(value) <= events.MaxDepth; alive != (record.Dead == nil) {
					t.Fatalf("%q: %+v", record.Raw, record.Dead)
				}
				if record.Dead == nil {
					validate(t, &events.Event{Type: record.Type, Members: record.Members, Raw: shown(record)})
				}
			})
			if whole && (err != nil || n != len(list)) {
				t.Fatalf("%q has %d elements, %d were given, %v", body, len(list), n, err)
			}
		}
		if text := bytes.TrimSpace(body); whole && len(text) > 0 && text[0] == '[' {
			part := text[:int(cut)%len(text)]
			if _, err := read(t, "nlpLog", part, func(int, events.Record) {}); err == nil {
				t.Fatalf("%q is cut, and no error", part)
			}
		}
	})
}

// read reads one answer.
func read(t testing.TB, name string, body []byte, each func(int, events.Record)) (n int, failed error) {
	t.Helper()
	c, err := connect(&api{body: string(body)}, map[string]any{"max_record": "1MiB"}, map[string]map[string]any{name: nil})
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.Streams[0].Pager.Page(t.Context(), connectors.Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	for record, err := range page.Records {
		if err != nil {
			return n, err
		}
		each(n, record)
		n++
	}
	return n, nil
}

var typical = map[string]string{
	"integrationLog": `{"userId":"u-8c1f2e7b","timestamp":"2026-03-04T12:00:00.123Z","url":"https://crm.example.com/v2/contacts?lang=cs&page=4","method":"POST",` +
		`"requestBody":{"contact":{"name":"Jana Nováková","phone":"+420600000042","note":"` + strings.Repeat("some words, ", 20) + `"}},` +
		`"requestHeaders":{"Content-Type":"application/json","Authorization":"Bearer abcdefghijklmnopqrstuvwxyz","X-Request-Id":"0123456789abcdef","Accept":"*/*"},` +
		`"responseStatus":200,"responseBody":"{\"ok\":true,\"id\":\"` + strings.Repeat("0123456789", 20) + `\"}","duration":182.4}`,
	userData: `{"userId":"u-8c1f2e7b","timestamp":1772625600,"name":"Jana Nováková","phone":"+420600000042","email":"jana@example.net","gender":"female","lastText":"` +
		strings.Repeat("some words to read, ", 20) + `","messageCount":12,"address":{"street":"Mill Lane","number":"12/3","geo":{"lat":50.088,"lon":14.4208},"note":null},"orders":[{"id":9007199254740993,"total":1.250e3}],"consentGiven":true}`,
}

// BenchmarkMap maps one record: validates it, takes its fields, masks it.
func BenchmarkMap(b *testing.B) {
	for _, name := range []string{"integrationLog", userData} {
		raw, m := []byte(typical[name]), mappings[name]
		b.Run(name, func(b *testing.B) {
			var f connectors.Fields
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				f.Members = f.Members[:0]
				if r := m(raw, &f, "bot"); r.Dead != nil {
					b.Fatal(r.Dead)
				}
			}
		})
	}
}

// BenchmarkPage reads answers of 1000 records: splits, validates, maps, masks,
// identifies, batches.
func BenchmarkPage(b *testing.B) {
	for _, name := range []string{"integrationLog", userData} {
		b.Run(name, func(b *testing.B) {
			const records = 1000
			var list bytes.Buffer
			for i := range records {
				fmt.Fprintf(&list, ",%s,\"n\":%d}", strings.TrimSuffix(typical[name], "}"), i)
			}
			body := "[" + list.String()[1:] + "]"
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			read := 0
			for b.Loop() {
				c, err := connect(&api{body: body}, nil, map[string]map[string]any{name: nil})
				if err != nil {
					b.Fatal(err)
				}
				c.Streams[0].Options.Since = time.Now().Add(-time.Minute)
				sub := connectors.NewSubscriber(c.Streams[0], connectors.SubscriberOptions{Once: true})
				out, err := sub.Subscribe(b.Context(), "")
				if err != nil {
					b.Fatal(err)
				}
				for msg := range out {
					batch, _ := connectors.BatchOf(msg.Context())
					read += len(batch.Records)
					msg.Ack()
				}
				if err := sub.Err(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(read), "ns/record")
		})
	}
}
