package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// A container's health check has an exit code to go by, and a reason to show.
func TestHealth(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			_, _ = w.Write([]byte("ok\nand more\n"))
		case "/full":
			http.Error(w, "the disk is full", http.StatusServiceUnavailable)
		case "/silent":
			w.WriteHeader(http.StatusTeapot)
		case "/hangs":
			<-r.Context().Done()
		}
	}))
	defer api.Close()
	if said := must(t, "health", "--url", api.URL+"/readyz"); said != "ok\n" {
		t.Errorf("it says %q", said)
	}
	fails(t, 1, []string{"not well", "503", "the disk is full"}, "health", "--url", api.URL+"/full")
	fails(t, 1, []string{"418", "does not say why"}, "health", "--url", api.URL+"/silent")
	fails(t, 1, []string{"nobody answers", "http.listen"}, "health", "--url", api.URL+"/hangs", "--timeout", "10ms")
	fails(t, 1, []string{"nobody answers"}, "health", "--url", "http://"+ports.Addr(t)+"/readyz")
	fails(t, 2, []string{"--url wants"}, "health", "--url", "127.0.0.1:8080")
	fails(t, 2, []string{"--url wants"}, "health", "--url", "ftp://127.0.0.1/readyz")
}
