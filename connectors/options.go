package connectors

import (
	"errors"
	"fmt"
	"time"

	"github.com/millrace-io/millrace/config"
)

// Settings are the keys that every connector has. A stream's own map may have
// all of them but account.
type Settings struct {
	Account       string `mapstructure:"account" doc:"The account's name in stream keys and event ids, where it shall not be the one that the vendor's settings give."`
	StreamOptions `mapstructure:",squash"`
}

// StreamOptions are the keys that a connector and each of its streams have.
type StreamOptions struct {
	BaseURL   *string        `mapstructure:"base_url" doc:"Scheme, host and path prefix of the API; the vendor's paths are appended." default:"(the vendor's)"`
	Since     *time.Time     `mapstructure:"since" doc:"Where a stream begins, e.g. 2026-01-01T00:00:00Z. Moving it after the first start changes nothing; millrace backfill reads what lies before." default:"(the moment of the first start)"`
	Poll      *time.Duration `mapstructure:"poll" doc:"How often new records are asked for." default:"(60s)"`
	Settle    *time.Duration `mapstructure:"settle" doc:"How old a record has to be before it is read: a read ends so long ago." default:"(30s)"`
	Overlap   *time.Duration `mapstructure:"overlap" doc:"How far back each poll reads again, for records that turn up late." default:"(10m)"`
	Sweep     SweepOptions   `mapstructure:"sweep" doc:"The recent past is read again now and then, for records that turn up later than overlap."`
	Quiet     *time.Duration `mapstructure:"quiet" doc:"How long a record that changes is read again." default:"(24h)"`
	Rate      *config.Rate   `mapstructure:"rate" doc:"Requests allowed for each endpoint, e.g. 3/s, 90/m or 1000/h." default:"(the vendor's limit)"`
	Timeout   *time.Duration `mapstructure:"timeout" doc:"How long the API may send nothing while an answer is awaited." default:"(60s)"`
	Requests  *int           `mapstructure:"requests" doc:"Requests that one stream may have under way at once." default:"(4)"`
	MaxRecord *config.Bytes  `mapstructure:"max_record" doc:"The longest single record, e.g. 64MiB; a longer one stops its stream." default:"(32MiB)"`
}

// SweepOptions say when a sweep runs and how far back it reads.
type SweepOptions struct {
	Every *time.Duration `mapstructure:"every" doc:"How often; the first is due so long after the start." default:"(24h, or the stream's)"`
	Back  *time.Duration `mapstructure:"back" doc:"How far back." default:"(24h, or the stream's)"`
}

// Options are a stream's settings with every default filled in.
type Options struct {
	BaseURL string
	Rate    config.Rate // requests a second for each endpoint; 0: no limit
	Since   time.Time   // zero: the moment of the first start
	Poll    time.Duration
	Settle  time.Duration
	Overlap time.Duration
	SweepEvery,
	SweepBack time.Duration
	Quiet     time.Duration
	Timeout   time.Duration
	Requests  int
	MaxRecord int
}

// Defaults are the options of a stream whose API sheet says nothing else.
func Defaults() Options {
	return Options{
		Poll: 60 * time.Second, Settle: 30 * time.Second, Overlap: 10 * time.Minute,
		SweepEvery: 24 * time.Hour, SweepBack: 24 * time.Hour, Quiet: 24 * time.Hour,
		Timeout: 60 * time.Second, Requests: 4, MaxRecord: 32 << 20,
	}
}

// Apply lays settings over options: a key that is not set leaves what was there.
func (o Options) Apply(s StreamOptions) (Options, error) {
	set(&o.BaseURL, s.BaseURL)
	set(&o.Rate, s.Rate)
	set(&o.Since, s.Since)
	set(&o.Poll, s.Poll)
	set(&o.Settle, s.Settle)
	set(&o.Overlap, s.Overlap)
	set(&o.Quiet, s.Quiet)
	set(&o.Timeout, s.Timeout)
	set(&o.Requests, s.Requests)
	set(&o.SweepEvery, s.Sweep.Every)
	set(&o.SweepBack, s.Sweep.Back)
	if s.MaxRecord != nil {
		o.MaxRecord = int(*s.MaxRecord)
	}
	var errs []error
	for _, d := range []struct {
		key   string
		value time.Duration
		least time.Duration
	}{
		{"poll", o.Poll, 10 * time.Millisecond}, {"settle", o.Settle, 0}, {"overlap", o.Overlap, 0}, {"quiet", o.Quiet, 0},
		{"sweep.every", o.SweepEvery, 10 * time.Millisecond}, {"sweep.back", o.SweepBack, 0}, {"timeout", o.Timeout, time.Millisecond},
	} {
		if d.value < d.least {
			errs = append(errs, fmt.Errorf("%s must be at least %s", d.key, d.least))
		}
	}
	if o.Requests < 1 || o.Requests > 64 {
		errs = append(errs, errors.New("requests must be 1 to 64"))
	}
	if o.MaxRecord < 1<<10 {
		errs = append(errs, errors.New("max_record must be at least 1024 bytes"))
	}
	return o, errors.Join(errs...)
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
