// Command alert tells of each integration call that failed, on a line and to a webhook.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/consumers"
	"github.com/millrace-io/millrace/examples/router"
)

func main() {
	broker, webhook := arguments()
	log.Fatal(router.Run(context.Background(), broker, options, []string{"integration_call"}, func(m *message.Message) error {
		event, err := consumers.Decode(m)
		if err != nil {
			log.Print(err)
			return nil // it would not be another one the next time
		}
		call, ok := event.Data.(*consumers.IntegrationCall)
		if !ok || call.OK == nil || *call.OK {
			return nil
		}
		status, _ := json.Marshal(call.Status)
		text := fmt.Sprintf("%s to %s failed with status %s (event %s)", call.Method, call.Host, status, event.ID)
		fmt.Println(text)
		return post(webhook, text)
	}))
}
