package connectortest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"testing"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// compare compares what was read with the account: each record with an id has the
// bytes of its last version, the others are as many of each as there are, and none
// shows a credential. What was read twice has one identity, and counts once.
func (h Harness) compare(t *testing.T, want simulator.Endpoint, readings ...*reading) {
	t.Helper()
	last := map[string]connectors.Prepared{} // by id
	rest := map[events.Identity]connectors.Prepared{}
	ids := map[events.Identity]string{}
	there := map[string]bool{}
	for _, w := range want.Records {
		there[w.ID] = true
	}
	for _, r := range readings {
		for _, b := range r.batches {
			for _, record := range b.Records {
				switch {
				case record.Dead != nil && len(want.Poison) > 0:
					continue
				case record.Dead != nil || !events.KnownType(record.Type):
					t.Fatalf("%s: %+v, %+v", record.Raw, record, record.Dead)
				case record.ID == "":
					if other, ok := rest[record.Identity]; ok && !bytes.Equal(other.Raw, record.Raw) {
						t.Fatalf("%s and %s have one identity", other.Raw, record.Raw)
					}
					rest[record.Identity] = record
					continue
				}
				if other, ok := ids[record.Identity]; ok && other != record.ID {
					t.Fatalf("%s and %s have one identity", other, record.ID)
				}
				if h.blank(record.Raw) && !there[record.ID] {
					continue
				}
				ids[record.Identity] = record.ID
				last[record.ID] = record
			}
		}
	}
	missing, wrong := 0, 0
	counts := map[row]int{}
	for _, w := range want.Records {
		if w.ID == "" {
			counts[row{w.SHA256, w.Key}]++
			continue
		}
		if record, ok := last[w.ID]; !ok {
			missing++
		} else if hashOf(record.Raw) != w.SHA256 || record.Key != w.Key || record.Time.IsZero() != slices.Contains(h.Timeless, record.Type) {
			wrong++
		}
	}
	for _, record := range rest {
		if record.Time.IsZero() != (record.Key == "") { // the simulator's rows have both or neither
			wrong++
		}
		counts[row{hashOf(record.Raw), record.Key}]--
	}
	maps.DeleteFunc(counts, func(_ row, more int) bool { return more == 0 })
	if missing > 0 || wrong > 0 || len(counts) > 0 || len(last)+len(rest) != len(want.Records) {
		t.Errorf("of %d records %d are missing and %d are not what the API gave; %d were read; rows without an id differ in %d", len(want.Records), missing, wrong, len(last)+len(rest), len(counts))
	}
	hidden(t, want, readings)
}

// blank says whether a record only says that there is nothing.
func (h Harness) blank(raw []byte) bool { return h.Blank != "" && string(raw) == h.Blank }

// row is what tells a record without an id.
type row struct{ hash, key string }

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// hidden looks for the account's credentials in everything that was read.
func hidden(t *testing.T, want simulator.Endpoint, readings []*reading) {
	t.Helper()
	const head = 8 // bytes by which a credential is looked up
	secrets := map[string][]string{}
	for _, record := range want.Records {
		for _, secret := range record.Secrets {
			if len(secret) < head {
				t.Fatalf("a credential of %d bytes is too short to be looked for", len(secret))
			}
			secrets[secret[:head]] = append(secrets[secret[:head]], secret)
		}
	}
	if len(secrets) == 0 {
		return
	}
	for _, r := range readings {
		for _, b := range r.batches {
			for _, record := range b.Records {
				for _, text := range [][]byte{record.Raw, record.Members, record.Masked} {
					for i := 0; i+head <= len(text); i++ {
						for _, secret := range secrets[string(text[i:i+head])] {
							if bytes.HasPrefix(text[i:], []byte(secret)) {
								t.Fatalf("a credential is shown: %s", text)
							}
						}
					}
				}
			}
		}
	}
}
