package kafka

import (
	"context"
)


func (b *Broker) Serve(ctx context.Context, answer func(ctx context.Context, request []byte) []byte) error {
	<-ctx.Done()
	return ctx.Err()
}
func (b *Broker) Ask(ctx context.Context, request []byte) ([][]byte, error) { return nil, nil }
