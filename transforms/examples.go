package transforms

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// Example is one case of a file of examples: an event, and what is to become of it.
type Example struct {
	Name string
	Line int // where it stands in the file, from 1
	In   events.Event
	Out  []Expected
	Dead string // the step that is to fail on it; "" for none
}

// Expected is an event that is to come out. What is empty is not looked at.
type Expected struct {
	Topic, Key, RecordID string
	Data                 []byte // JSON, raw in it; members in any order
}

// Result is what came of an example.
type Result struct {
	Example *Example
	Out     []events.Event
	Err     error    // a step failed
	Diff    []string // how it differs from what was expected: - expected, + got; nil: it does not
}

// exampleFile is the shape of a file of examples; transforms are read by package
// config.
type exampleFile struct {
	Transforms yaml.Node
	Examples   []exampleNode
}

type exampleNode struct {
	Name string
	In   eventNode
	Out  *[]eventNode
	Dead string
}

// exampleLines is the same file, read for the lines that examples stand on.
type exampleLines struct{ Examples []yaml.Node }

type eventNode struct {
	Type, Topic, Key, Connector, Vendor, Account, Stream string
	ID                                                   string
	RecordID                                             string `yaml:"record_id"`
	Time                                                 time.Time
	Data                                                 yaml.Node
}

// ReadExamples reads the examples of a file: path is for messages only.
func ReadExamples(path string, file []byte) ([]Example, error) {
	var f exampleFile
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	decoder.KnownFields(true)
	err := decoder.Decode(&f)
	var places exampleLines
	if err == nil {
		err = yaml.Unmarshal(file, &places)
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if len(f.Examples) == 0 {
		return nil, fmt.Errorf("%s: has no examples: list events under examples, each with in, and out or dead", path)
	}
	var all []Example
	for n := range f.Examples {
		node := &f.Examples[n]
		e, err := node.read()
		if err != nil {
			return nil, fmt.Errorf("%s:%d: example %s: %w", path, places.Examples[n].Line, cmp.Or(node.Name, fmt.Sprint(n+1)), err)
		}
		e.Name, e.Line = cmp.Or(node.Name, fmt.Sprintf("%d", n+1)), places.Examples[n].Line
		all = append(all, e)
	}
	return all, nil
}

func (n *exampleNode) read() (Example, error) {
	e := Example{Dead: n.Dead}
	if (n.Out == nil) == (n.Dead == "") {
		return e, errors.New("wants either out, the events that come out ([] for none), or dead, the name of the step that fails on it")
	}
	data, err := toJSON(&n.In.Data)
	if err != nil {
		return e, fmt.Errorf("in.data: %w", err)
	}
	if e.In, err = n.In.event(data); err != nil {
		return e, fmt.Errorf("in: %w", err)
	}
	if n.Out == nil {
		return e, nil
	}
	for i := range *n.Out {
		out := &(*n.Out)[i]
		want := Expected{Topic: out.Topic, Key: out.Key, RecordID: out.RecordID}
		if out.Data.Kind != 0 {
			if want.Data, err = toJSON(&out.Data); err != nil {
				return e, fmt.Errorf("out[%d].data: %w", i, err)
			}
		}
		e.Out = append(e.Out, want)
	}
	return e, nil
}

// event makes an event of an example's; what is not given has a value of its own.
func (n *eventNode) event(data []byte) (events.Event, error) {
	e := events.Event{
		Type: n.Type, Connector: cmp.Or(n.Connector, "example"), Key: cmp.Or(n.Key, "key"), RecordID: cmp.Or(n.RecordID, "record"), Time: n.Time,
		Source:   events.StreamKey{Vendor: cmp.Or(n.Vendor, "example"), Account: cmp.Or(n.Account, "account"), Stream: cmp.Or(n.Stream, "stream")},
		Recorded: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	if !events.KnownType(n.Type) || n.Type == events.TypeDeadLetter {
		return e, fmt.Errorf("type wants an event type, such as message; %s", config.Suggest("types", n.Type, newScope().types(nil)))
	}
	e.ID = events.RecordIdentity(e.Source, e.RecordID).Event()
	if n.ID != "" {
		var ok bool
		if e.ID, ok = events.ParseID(n.ID); !ok {
			return e, errors.New("id wants 32 hex digits")
		}
	}
	if err := readData(&e, data); err != nil {
		return e, fmt.Errorf("data: %w", err)
	}
	return e, nil
}

// Run applies a chain to an example and compares.
func (e *Example) Run(ctx context.Context, c *Chain) Result {
	r := Result{Example: e}
	r.Out, r.Err = c.Apply(ctx, e.In)
	var failed *StepError
	switch {
	case r.Err != nil && (!errors.As(r.Err, &failed) || failed.Step != e.Dead):
		r.Diff = []string{"- " + e.expects(), "+ a dead letter: " + r.Err.Error()}
	case r.Err != nil:
	case e.Dead != "" && !slices.Contains(c.Steps(), e.Dead):
		r.Diff = []string{"- " + e.expects() + ", which there is not: " + config.Suggest("steps", e.Dead, c.Steps())}
	case e.Dead != "" || len(r.Out) != len(e.Out):
		r.Diff = []string{"- " + e.expects(), "+ " + numberOf(len(r.Out))}
		for n := range r.Out {
			r.Diff = append(r.Diff, fmt.Sprintf("+ event %d: %s %s", n+1, TopicOf(&r.Out[n]), printed(string(r.Out[n].AppendData(nil)))))
		}
	default:
		for n := range r.Out {
			for _, line := range e.Out[n].differs(&r.Out[n]) {
				r.Diff = append(r.Diff, strings.Replace(line, " ", fmt.Sprintf(" event %d: ", n+1), 1))
			}
		}
	}
	return r
}

func (e *Example) expects() string {
	if e.Dead != "" {
		return "a dead letter, of the step " + e.Dead
	}
	return numberOf(len(e.Out))
}

func numberOf(events int) string {
	if events == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", events)
}

// differs tells how an event differs from what was expected.
func (want *Expected) differs(got *events.Event) []string {
	expected := *got
	expected.Topic, expected.Key, expected.RecordID = cmp.Or(want.Topic, got.Topic), cmp.Or(want.Key, got.Key), cmp.Or(want.RecordID, got.RecordID)
	if want.Data != nil {
		expected.Raw = nil
		if err := readData(&expected, want.Data); err != nil {
			return []string{"- " + err.Error()}
		}
	}
	return Changes(&expected, got)
}

// toJSON makes JSON of a YAML value: members in their order, numbers as they are
// written.
func toJSON(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := jsontext.NewEncoder(&out)
	if err := writeJSON(encoder, n); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

func writeJSON(to *jsontext.Encoder, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		err := to.WriteToken(jsontext.BeginObject)
		for i := 0; i+1 < len(n.Content) && err == nil; i += 2 {
			if err = to.WriteToken(jsontext.String(n.Content[i].Value)); err == nil {
				err = writeJSON(to, n.Content[i+1])
			}
		}
		return errors.Join(err, to.WriteToken(jsontext.EndObject))
	case yaml.SequenceNode:
		err := to.WriteToken(jsontext.BeginArray)
		for i := 0; i < len(n.Content) && err == nil; i++ {
			err = writeJSON(to, n.Content[i])
		}
		return errors.Join(err, to.WriteToken(jsontext.EndArray))
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			return to.WriteToken(jsontext.Null)
		}
		plain := []string{"!!int", "!!float", "!!bool"}
		if value := jsontext.Value(strings.ToLower(n.Value)); slices.Contains(plain, n.ShortTag()) && value.IsValid() {
			return to.WriteValue(value)
		}
		return to.WriteToken(jsontext.String(n.Value))
	case 0:
		return errors.New("is missing")
	}
	return errors.New("has an alias, which is not supported")
}
