package simulator

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Bounds of what a corpus may hold.
const (
	maxCorpusLine = 16 << 20
	maxTurns      = 1 << 16
)

// dialogue is something that people and a bot said to each other once, and that
// is said again in many conversations.
type dialogue struct {
	Language string `json:"language"` // ISO 639-1
	Turns    []turn `json:"turns"`
}

// turn is one message of a dialogue.
type turn struct {
	Speaker string `json:"speaker"` // "user" or "bot"
	Text    string `json:"text"`
	Actions []call `json:"actions"` // made before the bot spoke
}

// call is a call of a service by the bot.
type call struct {
	Name    string          `json:"name"`
	Params  json.RawMessage `json:"params"`  // an object
	Results json.RawMessage `json:"results"` // an array, or null
}

// loadCorpus reads a file of dialogues: gzipped, one JSON object a line.
func loadCorpus(path string) ([]dialogue, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("simulator: corpus %s does not exist; name a .jsonl.gz file of dialogues, or none for the text that is built in", path)
		}
		return nil, fmt.Errorf("simulator: corpus: %w", err)
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("simulator: corpus %s is not a gzip file: %w", path, err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, maxCorpusLine)
	var dialogues []dialogue
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		d, err := parseDialogue(lines.Bytes())
		if err != nil && lines.Err() != nil {
			n-- // the line was cut: the file is to blame, not the line
			break
		}
		if err != nil {
			return nil, fmt.Errorf("simulator: corpus %s, line %d: %w", path, n, err)
		}
		dialogues = append(dialogues, d)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("simulator: corpus %s is damaged after line %d: %w", path, n, err)
	}
	if len(dialogues) == 0 {
		return nil, fmt.Errorf("simulator: corpus %s holds no dialogue", path)
	}
	return dialogues, nil
}

func parseDialogue(line []byte) (dialogue, error) {
	var d dialogue
	if err := json.Unmarshal(line, &d); err != nil {
		return d, err
	}
	if len(d.Turns) == 0 || len(d.Turns) > maxTurns {
		return d, fmt.Errorf("a dialogue has %d turns; it must have 1 to %d", len(d.Turns), maxTurns)
	}
	for i := range d.Turns {
		t := &d.Turns[i]
		if t.Speaker != "user" && t.Speaker != "bot" {
			return d, fmt.Errorf("turn %d: the speaker is %q; it must be \"user\" or \"bot\"", i, t.Speaker)
		}
		for j := range t.Actions {
			t.Actions[j].Params = compacted(t.Actions[j].Params)
			t.Actions[j].Results = compacted(t.Actions[j].Results)
		}
	}
	return d, nil
}

// compacted returns valid JSON without white space, and null for none: records
// are rendered by copying it.
func compacted(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("null")
	}
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return value // the decoder has checked it: it cannot fail
	}
	return b.Bytes()
}
