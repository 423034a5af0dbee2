package app

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// benchSteps is a chain as people have it: of all messages none is dropped, so that
// as much is published as without it.
const benchSteps = `
transforms:
  - filter: sender != "agent"
    types: [message]
  - set: {length: len(text), urgent: 'text contains "refund"'}
    types: [message]
  - redact: {kinds: [email, phone, card, ip, credentials]}
  - rename: {conversation_id: dialog}
    types: [message]
`

// BenchmarkIngestTransformed tells what a typical chain costs on the whole way: the
// rate with it, as a share of the rate without. The two take turns, and each counts
// with its median.
func BenchmarkIngestTransformed(b *testing.B) {
	addr := startSource(b)
	var plain, transformed []time.Duration
	for b.Loop() {
		for range 3 {
			section := func() string { return fmt.Sprintf(`broker: {nats: {dir: %q, listen: ""}}`, b.TempDir()) }
			took, _, _, _ := benchIngest(b, addr, section())
			plain = append(plain, took)
			took, _, _, _ = benchIngest(b, addr, section()+benchSteps)
			transformed = append(transformed, took)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(benchRecords/median(plain).Seconds(), "plain-records/s")
	b.ReportMetric(benchRecords/median(transformed).Seconds(), "transformed-records/s")
	b.ReportMetric(median(plain).Seconds()/median(transformed).Seconds(), "ratio")
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
