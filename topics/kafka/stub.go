package kafka

import (
	"context"
	"errors"

	"github.com/millrace-io/millrace/topics"
)

var errUnbuilt = errors.New("not built yet")

const (
	attributePrefix   = "ce_"
	headerContentType = "content-type"
)

func (b *Broker) Tail(ctx context.Context, opts topics.TailOptions, fn func(topics.Received) error) error {
	return errUnbuilt
}
func (b *Broker) Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error {
	return errUnbuilt
}
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) { return nil, errUnbuilt }
