package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/simulator"
)

// typeOf says what type the events of each endpoint have.
var typeOf = map[string]string{
	"deepconverse/messages":          events.TypeMessage,
	"deepconverse/conversations":     events.TypeConversation,
	"feedyou/userData":               events.TypeUser,
	"feedyou/userDataSnapshot":       events.TypeUserSnapshot,
	"feedyou/nlpLog":                 events.TypeUnhandledInput,
	"feedyou/outgoingEmail":          events.TypeEmail,
	"feedyou/outgoingSms":            events.TypeSMS,
	"feedyou/fuzzyQuestionAnswerLog": events.TypeAnswer,
	"feedyou/integrationLog":         events.TypeIntegrationCall,
	"feedyou/urlTracker":             events.TypeClick,
	"netcore/usage":                  events.TypeUsage,
	"netcore/users":                  events.TypeUser,
	"netcore/transcripts":            events.TypeMessage,
	"nativechat/conversations":       events.TypeConversation,
	"nativechat/messages":            events.TypeMessage,
}

// published is what the topics hold of one endpoint.
type published struct {
	events   int
	hashes   map[string]int            // of raw: how many events have it
	first    map[string]*event         // with that hash
	byID     map[string]string         // record id: hash of its last version
	versions map[string]map[string]int // record id: hashes, and how often each is there
	order    map[string][]string       // key: its record ids in the topic's order
	dead     map[string]bool           // the bytes of dead letters
}

// ledgerOf follows events as they come and compares them with what the
// simulator produced.
type ledgerOf struct {
	t   *testing.T
	ids map[events.ID]string  // where each is
	of  map[string]*published // by endpoint
	// late says that messages turned up late: they come when they are found.
	late bool
}

func newLedgerOf(t *testing.T) *ledgerOf {
	l := &ledgerOf{t: t, ids: map[events.ID]string{}, of: map[string]*published{}}
	for name := range typeOf {
		l.of[name] = &published{
			hashes: map[string]int{}, first: map[string]*event{}, byID: map[string]string{},
			versions: map[string]map[string]int{}, order: map[string][]string{}, dead: map[string]bool{},
		}
	}
	return l
}

// add takes an event in; it reports repeated ids, records and versions.
func (l *ledgerOf) add(e *event) {
	l.t.Helper()
	place := fmt.Sprintf("%s %d", e.topic, e.sequence)
	if first, ok := l.ids[e.ID]; ok {
		l.t.Errorf("the event %s of record %s is there twice, at %s and %s", e.ID, e.RecordID, first, place)
	}
	l.ids[e.ID] = place
	endpoint := e.Source.Vendor + "/" + e.Source.Stream
	p := l.of[endpoint]
	switch {
	case p == nil:
		l.t.Errorf("an event of %s: %s", e.Source, e.data)
		return
	case e.Type == events.TypeDeadLetter:
		p.dead[string(e.record(l.t))] = true
		return
	case e.Type != typeOf[endpoint]:
		l.t.Errorf("%s gave an event of type %s: %s", endpoint, e.Type, e.data)
		return
	}
	content := hash(e.raw(l.t))
	sum := mark(endpoint, e.Key, content)
	p.events++
	if p.hashes[sum]++; p.first[sum] == nil {
		p.first[sum] = e
	}
	if p.versions[e.RecordID] == nil {
		p.versions[e.RecordID] = map[string]int{}
	} else if !changes(endpoint) {
		l.t.Errorf("%s: the record %s is there twice", endpoint, e.RecordID)
	}
	p.versions[e.RecordID][content]++
	p.byID[e.RecordID] = content
	p.order[e.Key] = append(p.order[e.Key], e.RecordID)
}

// changes says whether the records of an endpoint do.
func changes(endpoint string) bool {
	switch endpoint {
	case "deepconverse/conversations", "feedyou/userData", "netcore/usage", "netcore/users", "netcore/transcripts", "nativechat/conversations":
		return true
	}
	return false
}

// nameless says whether the records of an endpoint have no id of the vendor's.
func nameless(endpoint string) bool { return endpoint == "netcore/transcripts" }

// mark is what a record's content is told by: without an id two users may have
// said the same at the same time, and two channels may have been used alike.
func mark(endpoint, key, hash string) string {
	if nameless(endpoint) || endpoint == "netcore/usage" {
		return key + " " + hash
	}
	return hash
}

// missing returns what the account has and the topics have not, "" for nothing.
func (l *ledgerOf) missing(a simulator.Account) string {
	for name, e := range a.Endpoints {
		p := l.of[name]
		switch {
		case p == nil && len(e.Records) == 0: // such as logins
			continue
		case p == nil:
			return "all of " + name
		}
		there := map[string]int{}
		for _, r := range e.Records {
			sum := mark(name, r.Key, r.SHA256)
			there[sum]++
			switch {
			case r.ID != "" && p.byID[r.ID] != r.SHA256:
				return fmt.Sprintf("%s: %s of %s (%d versions there were, %d are there)", name, r.ID, r.Time, len(r.Versions), len(p.versions[r.ID]))
			case there[sum] > p.hashes[sum]:
				return fmt.Sprintf("%s: a record of %s with hash %s, of which %d are there", name, r.Time, r.SHA256, p.hashes[sum])
			}
		}
	}
	return ""
}

// compare wants exactly what the account has: nothing lost, nothing repeated,
// nothing else, the order kept for each key.
func (l *ledgerOf) compare(a simulator.Account) {
	l.t.Helper()
	if what := l.missing(a); what != "" {
		l.t.Errorf("lost: %s", what)
	}
	for name, p := range l.of {
		e, read := a.Endpoints[name]
		if there := len(p.versions); there != len(e.Records) {
			l.t.Errorf("%s: %d records, the API had %d", name, there, len(e.Records))
		}
		if read && changes(name) {
			l.compareVersions(name, e.Records)
		}
		if (name == "deepconverse/messages" || name == "nativechat/messages") && !l.late {
			l.compareOrder(p, e.Records)
		}
		for _, r := range e.Records {
			if first := p.first[mark(name, r.Key, r.SHA256)]; first != nil {
				l.compareAttributes(name, first, r)
			}
		}
		for record := range p.dead {
			if !slices.ContainsFunc(e.Poison, func(raw []byte) bool { return string(raw) == record }) {
				l.t.Errorf("%s: a dead letter of what was not poison: %.200q", name, record)
			}
		}
	}
}

// compareVersions wants no version that there never was, and none more often than
// it was.
func (l *ledgerOf) compareVersions(name string, records []simulator.Record) {
	l.t.Helper()
	for _, r := range records {
		if r.ID == "" {
			continue
		}
		was := map[string]int{} // more than once where a record changed back
		for _, v := range r.Versions {
			was[v]++
		}
		for v, n := range l.of[name].versions[r.ID] {
			if n > was[v] {
				l.t.Errorf("%s: %s has a version %d times that there was %d times", name, r.ID, n, was[v])
			}
		}
	}
	if !nameless(name) {
		return
	}
	there := map[string]int{}
	for _, r := range records {
		if r.Versions == nil { // it never changed
			there[mark(name, r.Key, r.SHA256)]++
		}
		for _, v := range r.Versions {
			there[mark(name, r.Key, v)]++
		}
	}
	for v, n := range l.of[name].hashes {
		if n > there[v] {
			l.t.Errorf("%s: a version of hash %s is there %d times, %d records had it", name, v, n, there[v])
		}
	}
}

func (l *ledgerOf) compareOrder(p *published, messages []simulator.Record) {
	l.t.Helper()
	position := map[string]int{}
	for _, r := range messages {
		position[r.ID] = r.Position
	}
	for key, ids := range p.order {
		for i := 1; i < len(ids); i++ {
			if position[ids[i-1]] > position[ids[i]] {
				l.t.Errorf("conversation %s: message %d comes before message %d", key, position[ids[i-1]], position[ids[i]])
			}
		}
	}
}

// compareAttributes wants the key and the time of the record, where it has them.
func (l *ledgerOf) compareAttributes(name string, e *event, r simulator.Record) {
	l.t.Helper()
	if r.Key == "" {
		return
	}
	if e.Key != r.Key {
		l.t.Errorf("%s: the event %s has the key %q, its record %q", name, e.ID, e.Key, r.Key)
	}
	if !changes(name) && !e.Time.Truncate(time.Millisecond).Equal(r.Time) {
		l.t.Errorf("%s: the event %s is of %s, its record of %s", name, e.ID, e.Time, r.Time)
	}
}

// compareAll compares what was read from the topics with the account, and wants
// no credential of a record in any event.
func compareAll(t *testing.T, all []event, a simulator.Account) {
	t.Helper()
	compareTo(newLedgerOf(t), all, a)
}

// compareLate is compareAll where messages turned up late.
func compareLate(t *testing.T, all []event, a simulator.Account) {
	t.Helper()
	l := newLedgerOf(t)
	l.late = true
	compareTo(l, all, a)
}

func compareTo(l *ledgerOf, all []event, a simulator.Account) {
	t := l.t
	t.Helper()
	hidden := secretsOf(a)
	for i := range all {
		l.add(&all[i])
		hidden.absent(t, "event "+all[i].ID.String(), all[i].data)
		hidden.absent(t, "event "+all[i].ID.String(), []byte(all[i].Key+" "+all[i].RecordID))
	}
	l.compare(a)
}

// secrets are the credentials in an account's records.
type secrets struct {
	starts [1 << 16]bool // the first two bytes of any
	all    map[string]bool
	length []int
}

func secretsOf(a simulator.Account) *secrets {
	s := &secrets{all: map[string]bool{simulator.DefaultAPIKey: true}}
	for _, e := range a.Endpoints {
		for _, r := range e.Records {
			for _, secret := range r.Secrets {
				s.all[secret] = true
			}
		}
	}
	lengths := map[int]bool{}
	for secret := range s.all {
		s.starts[uint16(secret[0])<<8|uint16(secret[1])] = true
		lengths[len(secret)] = true
	}
	s.length = slices.Sorted(maps.Keys(lengths))
	return s
}

// absent wants none of the secrets in a text.
func (s *secrets) absent(t *testing.T, where string, text []byte) {
	t.Helper()
	for i := 0; i+1 < len(text); i++ {
		if !s.starts[uint16(text[i])<<8|uint16(text[i+1])] {
			continue
		}
		for _, n := range s.length {
			if i+n <= len(text) && s.all[string(text[i:i+n])] {
				t.Errorf("%s shows a secret: %.200q", where, text[max(0, i-80):])
				return
			}
		}
	}
}

// validate wants every event's data to be as its schema says.
func validate(t *testing.T, all []event) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schemas := map[string]*jsonschema.Schema{}
	for _, et := range events.Catalogue() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(et.Schema))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(events.SchemaURN(et.Name), doc); err != nil {
			t.Fatal(err)
		}
		if schemas[et.Name], err = compiler.Compile(events.SchemaURN(et.Name)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range all {
		data, err := jsonschema.UnmarshalJSON(bytes.NewReader(all[i].data))
		if err != nil {
			t.Fatalf("event %s: %v", all[i].ID, err)
		}
		if err := schemas[all[i].Type].Validate(data); err != nil {
			t.Fatalf("event %s is not what its schema says: %v", all[i].ID, err)
		}
	}
}
