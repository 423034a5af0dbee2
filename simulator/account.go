package simulator

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Account is all that a client could have seen, and what was asked.
type Account struct {
	// Endpoints by name, e.g. "deepconverse/messages".
	Endpoints map[string]Endpoint `json:"endpoints"`
	// MaxConcurrent is how many requests there were at once, of all endpoints.
	MaxConcurrent int `json:"max_concurrent"`
}

// Endpoint is the account of one endpoint.
type Endpoint struct {
	Counts
	// Records are those that can be seen now, in the order of the endpoint; nil
	// in a summary.
	Records []Record `json:"-"`
	// Poison is what was put between the records of answers that were written
	// whole, each element with its exact bytes, in the order of the answers; nil
	// in a summary.
	Poison [][]byte `json:"poison,omitempty"`
}

// Counts are how the requests to an endpoint went. Each counts as answered,
// rejected, refused or one fault; only a slow or poisoned one counts as answered
// as well, and one that its client gave up counts as nothing more than a request.
type Counts struct {
	Requests      int           `json:"requests"`
	Answered      int           `json:"answered"` // written whole, with status 200
	Rejected      int           `json:"rejected"` // told what was wrong with the request
	Refused       int           `json:"refused"`  // by the limiter
	Faults        map[Fault]int `json:"faults"`
	Served        int64         `json:"served"`  // records in whole answers, without poison
	Visible       int           `json:"visible"` // records that can be seen now
	MaxConcurrent int           `json:"max_concurrent"`
}

// Record is the account of one record.
type Record struct {
	ID string `json:"id"` // "" where the vendor gives none
	// Key is the conversation's id; of Feedyou the user's, "" where a row names
	// none; of Netcore the userId of the users list, and the ID of counts.
	Key string `json:"key"`
	// Time is what windows filter by, as fine as the record shows it; in
	// milliseconds where it shows none.
	Time time.Time `json:"time"`
	// Position of a message in its conversation, from 0.
	Position int `json:"position"`
	// SHA256 is the hash of the record's JSON, in hex. Where there are Secrets, it
	// is that of the JSON in which each is replaced in place by ***.
	SHA256 string `json:"sha256"`
	// Secrets are the credentials in the record as they are in clear; nil for none.
	Secrets []string `json:"secrets,omitempty"`
	// Raw is the exact JSON; nil where Versions is.
	Raw json.RawMessage `json:"raw,omitempty"`
	// Versions are the hashes of all versions that there were, the last of them
	// SHA256; nil where records never change, and of a transcript of Netcore that
	// did not. Versions that nobody could see, from before the start, are none.
	Versions []string `json:"versions,omitempty"`
}

// Account returns the account of this moment.
func (s *Simulator) Account() Account {
	account, records := s.snapshot()
	for name, all := range records {
		e := account.Endpoints[name]
		e.Records = make([]Record, len(all))
		for i, r := range all {
			e.Records[i] = r.account()
		}
		account.Endpoints[name] = e
	}
	return account
}

// Summary returns the account without the records.
func (s *Simulator) Summary() Account {
	account, _ := s.snapshot()
	return account.summary()
}

// summary returns the account without what grows with the records.
func (a Account) summary() Account {
	for name, e := range a.Endpoints {
		e.Poison = nil
		a.Endpoints[name] = e
	}
	return a
}

// snapshot returns the counts, and the records of each endpoint.
func (s *Simulator) snapshot() (Account, map[string][]*record) {
	s.catchUp(s.options.Now())
	account := Account{Endpoints: map[string]Endpoint{}, MaxConcurrent: s.load.highest()}
	records := map[string][]*record{}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.ports {
		counts := p.tally.counts()
		if p.records != nil {
			records[p.name] = slices.Clone(p.records())
			counts.Visible = len(records[p.name])
		}
		account.Endpoints[p.name] = Endpoint{Counts: counts, Poison: p.tally.poisoned()}
	}
	return account, records
}

func (r *record) account() Record {
	var hash [sha256.Size]byte
	var secrets []string
	if r.hidden != nil {
		hash, secrets = r.hidden.hash, slices.Clone(r.hidden.secrets)
	} else {
		hash = sha256.Sum256(r.raw)
	}
	a := Record{
		ID: r.id, Key: r.conversation, Position: r.turn,
		Time:   time.UnixMilli(r.at.time).UTC(),
		SHA256: hex.EncodeToString(hash[:]), Secrets: secrets,
	}
	if r.versions == nil {
		return a
	}
	a.Raw = r.raw
	for _, v := range r.versions {
		a.Versions = append(a.Versions, hex.EncodeToString(v[:]))
	}
	return a
}

// line is a line of the account after the first, which is an [Account].
type line struct {
	Endpoint string `json:"endpoint"`
	Record
}

// encodeLine returns a line of the account. The encoder would escape some
// characters of raw, so raw goes around it.
func encodeLine(endpoint string, r Record) []byte {
	raw := r.Raw
	r.Raw = nil
	encoded, err := json.Marshal(line{endpoint, r})
	if err != nil {
		panic(err) // text, times and numbers only
	}
	if raw != nil {
		encoded = append(append(encoded[:len(encoded)-1], `,"raw":`...), raw...)
		encoded = append(encoded, '}')
	}
	return append(encoded, '\n')
}

func (s *Simulator) serveAccount(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
	account, records := s.snapshot()
	summary := r.URL.Query().Get("summary") == "1"
	if summary {
		account = account.summary()
	}
	buffered := bufio.NewWriterSize(w, 64<<10)
	defer buffered.Flush() // fails only with the connection; the reader counts
	lines := json.NewEncoder(buffered)
	if lines.Encode(account) != nil || summary {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(records)) {
		for _, r := range records[name] {
			if _, err := buffered.Write(encodeLine(name, r.account())); err != nil {
				return
			}
		}
	}
}

// ReadAccount reads the account of a simulator that is served at baseURL.
func ReadAccount(ctx context.Context, client *http.Client, baseURL string) (Account, error) {
	return readAccount(ctx, client, baseURL, "")
}

// ReadSummary reads the account without the records.
func ReadSummary(ctx context.Context, client *http.Client, baseURL string) (Account, error) {
	return readAccount(ctx, client, baseURL, "?summary=1")
}

func readAccount(ctx context.Context, client *http.Client, baseURL, query string) (account Account, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reading the simulator's account: %w", err)
		}
	}()
	url := strings.TrimSuffix(baseURL, "/") + "/_sim/account" + query
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return account, err
	}
	response, err := client.Do(request)
	if err != nil {
		return account, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return account, fmt.Errorf("%s: %s", url, response.Status)
	}
	lines := json.NewDecoder(response.Body)
	if err := lines.Decode(&account); err != nil || query != "" {
		return account, err
	}
	return account, readRecords(lines, account)
}

// readRecords adds the records to the endpoints of an account.
func readRecords(lines *json.Decoder, account Account) error {
	for {
		var l line
		if err := lines.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		e := account.Endpoints[l.Endpoint]
		e.Records = append(e.Records, l.Record)
		account.Endpoints[l.Endpoint] = e
	}
	for name, e := range account.Endpoints {
		if len(e.Records) != e.Visible {
			return fmt.Errorf("%s: %d of %d records arrived", name, len(e.Records), e.Visible)
		}
	}
	return nil
}

// tally counts the requests to an endpoint.
type tally struct {
	mu     sync.Mutex
	total  Counts
	poison [][]byte // what was served of it
	load   gauge
}

func (t *tally) refused() { t.add(func(c *Counts) { c.Refused++ }) }

func (t *tally) injured(f Fault) {
	if f == "" {
		return
	}
	t.add(func(c *Counts) {
		if c.Faults == nil {
			c.Faults = map[Fault]int{}
		}
		c.Faults[f]++
	})
}

// count counts an answer that was sent, if it was.
func (t *tally) count(a *answer, err error) {
	switch {
	case err != nil || a.code() == http.StatusTooManyRequests:
	case a.code() == http.StatusOK:
		t.add(func(c *Counts) {
			c.Answered++
			c.Served += int64(len(a.records) - len(a.poison))
			t.poison = append(t.poison, a.poison...)
		})
	default:
		t.add(func(c *Counts) { c.Rejected++ })
	}
}

func (t *tally) add(change func(*Counts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.total)
}

func (t *tally) counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.total
	c.Faults = maps.Clone(c.Faults)
	c.MaxConcurrent = t.load.highest()
	return c
}

func (t *tally) poisoned() [][]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.poison)
}

// enter counts a request; the function that it returns is for its end.
func (s *Simulator) enter(p *port) (leave func()) {
	p.tally.add(func(c *Counts) { c.Requests++ })
	p.tally.load.enter()
	s.load.enter()
	return func() { p.tally.load.leave(); s.load.leave() }
}

// gauge keeps how many there are at once at most.
type gauge struct {
	mu        sync.Mutex
	now, most int
}

func (g *gauge) enter() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now++
	g.most = max(g.most, g.now)
}

func (g *gauge) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now--
}

func (g *gauge) highest() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}
