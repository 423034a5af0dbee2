package simulator

import (
	"net/http"
	"testing"
)

func BenchmarkBacklog(b *testing.B) {
	const messages = 50_000
	for b.Loop() {
		build(b, Options{Seed: 1, Backlog: messages})
	}
	b.ReportMetric(float64(b.N*messages)/b.Elapsed().Seconds(), "records/s")
}

// sink is a response that goes nowhere.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkPage(b *testing.B) {
	s := build(b, Options{Seed: 1, Backlog: 50_000})
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			r := request(messagesPath, always())
			r.Header.Set("Accept-Encoding", encoding)
			for b.Loop() {
				s.ServeHTTP(&sink{http.Header{}}, r)
			}
			b.ReportMetric(float64(b.N*1000)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
