package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-io/millrace/app"
)

// health asks a running service how it is, for containers that hold nothing but
// this program to ask with.
func (p *program) health() *cobra.Command {
	var address string
	var timeout time.Duration
	c := &cobra.Command{
		Use: "health", Short: "Ask a running service whether it is ready, for a container's health check", Args: cobra.NoArgs,
		Long: `Ask a running service whether it is ready: exit code 0 when it is, 1 when it is
not, or when nobody answers. It needs no configuration.`,
		RunE: func(c *cobra.Command, _ []string) error {
			said, err := askHealth(c.Context(), address, timeout)
			if err == nil {
				fmt.Fprintln(p.out, said)
			}
			return err
		},
	}
	c.Flags().StringVar(&address, "url", "http://127.0.0.1:8080/readyz", "the `address` to ask; /healthz says that the process lives, /readyz that the broker takes commits")
	c.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long the answer may take")
	return c
}

// askHealth returns the first line of the answer, or why it is not a good one.
func askHealth(ctx context.Context, address string, timeout time.Duration) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", &app.UsageError{Err: fmt.Errorf("--url wants an address such as http://127.0.0.1:8080/readyz")}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", &app.UsageError{Err: fmt.Errorf("--url cannot be asked: %w", err)}
	}
	// No proxy of the environment's: it is this machine that is asked.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("nobody answers for the service: %w: is it running, with http.listen at this address?", err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10)) // what came of it will do
	line, _, _ := strings.Cut(string(said), "\n")
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s is not well: %s: %s", u.Redacted(), answer.Status, cmp.Or(line, "it does not say why"))
	}
	return line, nil
}
