package transforms_test

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/transforms"
)

// A handler of one's own behind the same steps that a configuration has: in a
// router, router.AddMiddleware(chain.Middleware).
func ExampleChain_Middleware() {
	list, _, err := config.ParseTransforms("steps.yaml", []byte(`
transforms:
  - filter: sender == "user"
    types: [message]
  - redact: {kinds: [email]}
`), transforms.Settings{}, nil)
	if err != nil {
		panic(err)
	}
	chain, err := transforms.New(list, transforms.Known{})
	if err != nil {
		panic(err)
	}
	handler := chain.Middleware(func(m *message.Message) ([]*message.Message, error) {
		fmt.Println(string(m.Payload))
		return nil, nil
	})
	// As the subscribers of topics/nats and topics/kafka deliver it.
	m := message.NewMessage("1", []byte(`{"sender":"user","text":"write to jane@example.com"}`))
	m.Metadata = message.Metadata{
		"ce_specversion": "1.0", "ce_id": "b3922885d230ee8d47af137926e72f58", "ce_source": "/deepconverse/bot/messages", "ce_type": "io.millrace.message.v1",
	}
	if _, err := handler(m); err != nil {
		panic(err)
	}
	// Output: {"sender":"user","text":"write to ***"}
}
