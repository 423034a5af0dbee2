package consumers_test

import (
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/millrace-io/millrace/consumers"
)

// Whatever client has delivered the message, it is decoded in the same way.
func ExampleDecode() {
	msg := &nats.Msg{
		Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"00112233445566778899aabbccddeeff"},
			"ce-type": {"io.millrace.message.v1"}, "ce-source": {"/deepconverse/r3-218210/messages"},
		},
		Data: []byte(`{"sender":"user","text":"Good morning","mood":"sunny"}`),
	}
	event, err := consumers.Decode(msg)
	if err != nil {
		fmt.Println(err)
		return
	}
	switch data := event.Data.(type) {
	case *consumers.Message:
		fmt.Println(event.ID, data.Sender, data.Text)
	case *consumers.Usage:
		if data.TotalUsers != nil { // else it is not known
			fmt.Println(data.Month, *data.TotalUsers)
		}
	}
	// Output: 00112233445566778899aabbccddeeff user Good morning
}
