package nativechat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/simulator"
)

// Some hours of the service: conversations change, and change back, while they are
// read, and some messages turn up more than an hour late. In the end what was read
// last of each is what it is, and changes came soon.
func TestLive(t *testing.T) {
	for _, name := range streams {
		synctest.Test(t, func(t *testing.T) {
			s, api := simulated(t, simulator.Options{
				Seed: 9, Backlog: 200, Rate: .05, ChangeBack: .3, LateShare: .05, LateBy: 90 * time.Minute,
			})
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan error)
			go func() { over <- s.Run(ctx) }()
			stream := streamOf(t, api, name, map[string]any{
				"rate": "5/s", "quiet": "2h", "poll": "5m", "sweep": map[string]any{"every": "1h", "back": "4h"},
			})
			sub := connectors.NewSubscriber(stream, connectors.SubscriberOptions{})
			out, err := sub.Subscribe(ctx, "")
			if err != nil {
				t.Fatal(err)
			}
			began, last, soon := time.Now(), map[string]string{}, 0
			for msg := range out {
				batch, _ := connectors.BatchOf(msg.Context())
				for _, record := range batch.Records {
					sum := sha256.Sum256(record.Raw)
					if hash := hex.EncodeToString(sum[:]); last[record.ID] != hash {
						last[record.ID] = hash
						if time.Since(record.Time) < 7*time.Minute {
							soon++
						}
					}
				}
				msg.Ack()
				if time.Since(began) > 4*time.Hour {
					s.Pause()
				}
				if time.Since(began) > 7*time.Hour {
					break
				}
			}
			_ = sub.Close()
			want := s.Account().Endpoints["nativechat/"+name].Records
			cancel()
			if err := <-over; err != nil {
				t.Error(err)
			}
			wrong := 0
			for _, record := range want {
				if last[record.ID] != record.SHA256 {
					wrong++
				}
			}
			if wrong > 0 || len(last) != len(want) || soon < len(want)/2 || len(want) < 100 {
				t.Errorf("%s: of %d records %d are missing or not the last version, %d came soon", name, len(want), wrong, soon)
			}
		})
	}
}
