package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace-io/millrace/topics"
)

// readyWait bounds how long the broker is asked whether it can take commits; for
// metrics less, as Prometheus waits for all of them.
const (
	readyWait       = 5 * time.Second
	readyScrapeWait = 3 * time.Second
)

// RegisterReady registers the metric that says what /readyz says. The broker is asked
// whenever the metrics are.
func RegisterReady(reg prometheus.Registerer, ready func(context.Context) error) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "millrace_broker_ready", Help: "1 when the broker can be reached and take commits, as /readyz says; else 0.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), readyScrapeWait)
		defer cancel()
		if ready(ctx) != nil {
			return 0
		}
		return 1
	}))
}

// httpServer serves /metrics, /healthz and /readyz; nil serves nothing.
type httpServer struct {
	listener net.Listener
	registry *prometheus.Registry
}

func listenHTTP(address string, registry *prometheus.Registry) (*httpServer, error) {
	if address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &topics.OpenError{Err: fmt.Errorf("listening on http.listen %s: %w: free the port, set http.listen to another one, or to \"\" for none", address, err)}
	}
	return &httpServer{listener: l, registry: registry}, nil
}

func (s *httpServer) addr() string {
	if s == nil {
		return ""
	}
	return s.listener.Addr().String()
}

func (s *httpServer) close() error {
	if s == nil {
		return nil
	}
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// serve serves until ctx ends.
func (s *httpServer) serve(ctx context.Context, broker topics.Broker) error {
	if s == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	// Ready is about the broker and our own state: a vendor that is away is not
	// a reason to restart or to take the service out.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWait)
		defer cancel()
		if err := broker.Ready(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("serving %s: %w", s.addr(), err)
	}
	return nil
}
