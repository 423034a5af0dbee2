package transforms

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/millrace-io/millrace/events"
)

// ReadEvent reads one event as people have it: in CloudEvents' JSON format, as
// millrace tail -o json prints it, or in the short form that examples have.
func ReadEvent(text []byte) (events.Event, error) {
	var data []byte
	if value := jsontext.Value(bytes.TrimSpace(text)); value.IsValid() && kindOf(value) == '{' {
		if find(value, []segment{{name: "specversion"}}) != nil {
			return readStructured(value)
		}
		// JSON is not quite YAML: data is taken as it is.
		data = find(value, []segment{{name: "data"}})
		text, _ = edit(value, []segment{{name: "data"}}, func([]byte) ([]byte, error) { return nil, nil })
	}
	var node eventNode
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&node); err != nil {
		return events.Event{}, fmt.Errorf("it is neither an event as tail -o json prints it, nor one as examples have it: %s", problemOf(err))
	}
	if data == nil {
		var err error
		if data, err = toJSON(&node.Data); err != nil {
			return events.Event{}, fmt.Errorf("data %w", err)
		}
	}
	return node.event(data)
}

// problemOf is what an error of the YAML library says, without the values that it
// may hold.
func problemOf(err error) string {
	problem, ok := strings.CutPrefix(err.Error(), "yaml: ")
	switch {
	case errors.Is(err, io.EOF):
		return "it is empty"
	case !ok:
		return "its time wants a form such as 2026-01-01T00:00:00Z"
	case strings.Contains(problem, "anchor"):
		return "it has an alias (*) of nothing: a text that begins with * needs quotes"
	}
	line, _, _ := strings.Cut(problem, "\n")
	return line
}

// Message reads an event as a broker holds it.
func Message(attributes []events.Attribute, data []byte) (events.Event, error) {
	e, err := events.FromAttributes(attributes)
	if err != nil {
		return e, err
	}
	if err := readData(&e, data); err != nil {
		return e, fmt.Errorf("the data of event %s: %w", e.ID, err)
	}
	return e, nil
}

func readStructured(value []byte) (events.Event, error) {
	var attributes []events.Attribute
	var data []byte
	for i := 1; ; {
		name, v, end, ok := nextMember(value, i)
		if !ok {
			break
		}
		i = end
		switch name := string(unquoted(name)); {
		case name == "data":
			data = v
		case kindOf(v) == '"':
			attributes = append(attributes, events.Attribute{Name: name, Value: string(unquoted(v))})
		}
	}
	if data == nil {
		return events.Event{}, errors.New("the event has no data")
	}
	return Message(attributes, data)
}

// Structured writes an event in CloudEvents' JSON format, its data last.
func Structured(e *events.Event) []byte {
	var line events.Members
	for _, a := range new(events.Encoder).AppendAttributes(nil, e) {
		line.Text(a.Name, a.Value)
	}
	line.Text("datacontenttype", events.ContentType)
	line.JSON("data", e.AppendData(nil))
	return append(append([]byte{'{'}, line...), '}')
}

// TopicOf is the topic that an event goes to, behind the prefix.
func TopicOf(e *events.Event) string { return cmp.Or(e.Topic, e.Type) }
