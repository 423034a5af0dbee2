package kafka

import (
	"context"
	"errors"
)

var errUnbuilt = errors.New("not built yet")

func (b *Broker) Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error {
	return errUnbuilt
}
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) { return nil, errUnbuilt }
