package simulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Simulator serves the vendors' export APIs. It is an [http.Handler] and safe
// for concurrent use.
type Simulator struct {
	options Options
	mux     *http.ServeMux
	ports   []*port
	fate    *fate
	load    gauge // requests at once, of all endpoints

	mu      sync.RWMutex // guards the world and what the vendors keep of it
	world   world
	running bool // Run runs
	paused  bool
}

// New makes up the world with its backlog. Time stands still in it until
// [Simulator.Run].
func New(options Options) (*Simulator, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Simulator{options: options, mux: http.NewServeMux(), fate: newFate(options.Seed, options.Faults)}
	s.world = world{
		options: &s.options,
		dice:    dice{mix(options.Seed)},
		ongoing: make([]*conversation, slotsFor(options.Rate)),
	}
	if options.Corpus == "" {
		s.world.dialogues = ownDialogues()
	} else if s.world.dialogues, err = loadCorpus(options.Corpus); err != nil {
		return nil, err
	}
	for _, known := range vendors {
		if options.Vendors != nil && !slices.Contains(options.Vendors, known.name) {
			continue
		}
		v := known.make(&s.options)
		s.world.observers = append(s.world.observers, v)
		for _, e := range v.endpoints() {
			p := &port{endpoint: e, limiter: newLimiter(options.Limit)}
			s.ports = append(s.ports, p)
			s.mux.HandleFunc(e.pattern, s.serve(p))
			if e.also != "" {
				s.mux.HandleFunc(e.also, s.serve(p))
			}
		}
	}
	s.mux.HandleFunc("GET /_sim/account", s.serveAccount)
	s.mux.HandleFunc("POST /_sim/faults", s.serveFaults)
	s.mux.HandleFunc("POST /_sim/put", s.servePut)
	s.mux.HandleFunc("POST /_sim/pause", func(http.ResponseWriter, *http.Request) { s.Pause() })
	s.mux.HandleFunc("POST /_sim/resume", func(http.ResponseWriter, *http.Request) { s.Resume() })
	s.mux.HandleFunc("POST /_sim/logout", func(http.ResponseWriter, *http.Request) { s.EndTokens() })
	s.world.makePast(options.Now())
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// tick is how often Run looks at the clock. Each request looks too, so records
// appear when they are due however long it is.
const tick = 50 * time.Millisecond

// Run lets time go on until ctx is done, and returns nil then: conversations
// begin, go on and change at the rate of the options. One Run at a time.
func (s *Simulator) Run(ctx context.Context) error {
	if !s.start() {
		return errors.New("simulator: Run runs already")
	}
	defer s.set(func() { s.running = false })
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.catchUp(s.options.Now())
		}
	}
}

func (s *Simulator) start() (started bool) {
	s.set(func() { started, s.running = !s.running, true })
	return started
}

// Pause lets the world stand still: nothing new can be seen until
// [Simulator.Resume]. Requests are answered as ever.
func (s *Simulator) Pause() { s.set(func() { s.paused = true }) }

// Resume ends a [Simulator.Pause]. What was missed is not made up for.
func (s *Simulator) Resume() { s.set(func() { s.paused = false }) }

// set changes whether time goes on.
func (s *Simulator) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.world.setActive(s.running && !s.paused, s.options.Now())
}

// SetFaults replaces the probabilities of faults for the requests to come.
func (s *Simulator) SetFaults(faults Faults) error {
	if err := faults.validate(); err != nil {
		return fmt.Errorf("simulator: %w", err)
	}
	s.fate.set(faults)
	return nil
}

// catchUp lets happen what is due by now.
func (s *Simulator) catchUp(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.advance(now)
}

func (s *Simulator) serveFaults(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<10))
	if err == nil {
		var faults Faults
		if faults, err = ParseFaults(string(body)); err == nil {
			s.fate.set(faults)
			return
		}
	}
	http.Error(w, err.Error(), http.StatusBadRequest)
}
