package simulator

import (
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// corpus writes a gzip file of lines and returns its path.
func corpus(t *testing.T, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dialogues.jsonl.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	if _, err := z.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

const twoTurns = `{"dialogue_id":"x:1","language":"fr","turns":[` +
	`{"n":0,"speaker":"user","text":"Où est\nla gare ?","actions":[]},` +
	`{"n":1,"speaker":"bot","text":"","actions":[{"name":"lieu.chercher","params":{ "quoi" : "gare" },"results":[]},{"name":"vide"}]}]}`

func TestCorpus(t *testing.T) {
	s := build(t, Options{Backlog: 10, Corpus: corpus(t, twoTurns, "", twoTurns)})
	messages := strings.Join(all(t, s, messagesPath), "\n")
	for _, want := range []string{`la gare ?"`, `""`, `"fr_fr"`} {
		if !strings.Contains(messages, want) {
			t.Errorf("no message has %s", want)
		}
	}
	for _, c := range all(t, s, conversationsPath) {
		if want := `"serviceCalls":[{"name":"lieu.chercher","params":{"quoi":"gare"},"results":[]},{"name":"vide","params":null,"results":null}]`; !strings.Contains(c, want) {
			t.Errorf("no calls in %s", c)
		}
	}
}

func TestACorpusThatCannotBeRead(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.gz")
	plain := filepath.Join(t.TempDir(), "plain.gz")
	whole, err := os.ReadFile(corpus(t, twoTurns))
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.gz")
	for path, content := range map[string][]byte{plain: []byte(twoTurns), cut: whole[:len(whole)-12]} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for path, says := range map[string]string{
		missing:                       "does not exist",
		plain:                         "not a gzip file",
		cut:                           "damaged after line",
		corpus(t):                     "holds no dialogue",
		corpus(t, twoTurns, "{"):      "line 2",
		corpus(t, `{"turns":[]}`):     "0 turns",
		corpus(t, `{"turns":[{}]}`):   "the speaker is",
		corpus(t, `{"turns":"none"}`): "line 1",
	} {
		if _, err := New(Options{Corpus: path}); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %q and the path", err, says)
		}
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for says, o := range map[string]Options{
		"Backlog":         {Backlog: -1},
		"Span":            {Span: time.Millisecond},
		"Rate":            {Rate: -1},
		"LateShare":       {LateShare: 1.1},
		"Latency":         {Latency: -1},
		"Limit":           {Limit: -1},
		"Bounds":          {Bounds: "open"},
		"ConversationsBy": {ConversationsBy: "end"},
		"unknown fault":   {Faults: Faults{"fire": 0.1}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
