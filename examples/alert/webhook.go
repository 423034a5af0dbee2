package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/millrace-io/millrace/examples/router"
)

// options say who reads.
var options = router.Reader("example-alert")

// arguments returns the URLs of the broker, and of the webhook where there is one.
func arguments() (broker, webhook string) {
	switch len(os.Args) {
	case 2:
		return os.Args[1], ""
	case 3:
		return os.Args[1], os.Args[2]
	}
	fmt.Fprintln(os.Stderr, "usage: alert nats://HOST:PORT|kafka://HOST:PORT[,HOST:PORT...] [WEBHOOK]")
	os.Exit(2)
	return "", ""
}

var client = http.Client{Timeout: 10 * time.Second}

// post sends a text as chat services take it; where there is no webhook it does
// nothing. Its errors do not show the address, which often is a secret.
func post(webhook, text string) error {
	if webhook == "" {
		return nil
	}
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	answer, err := client.Post(webhook, "application/json", bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook does not answer; the alert comes again")
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("the webhook says %s; the alert comes again", answer.Status)
	}
	return nil
}
