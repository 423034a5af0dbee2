// Package eventtest is for the tests of those who make events.
package eventtest

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/millrace-io/millrace/events"
)

// Schemas returns a check that an event's data is what the catalogue promises. It
// may be used concurrently.
func Schemas(t testing.TB) func(testing.TB, *events.Event) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled := map[string]*jsonschema.Schema{}
	for _, kind := range events.Catalogue() {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(kind.Schema))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource(kind.Name, doc); err != nil {
			t.Fatal(err)
		}
		if compiled[kind.Name], err = compiler.Compile(kind.Name); err != nil {
			t.Fatal(err)
		}
	}
	return func(t testing.TB, e *events.Event) {
		t.Helper()
		data := e.AppendData(nil)
		if !jsontext.Value(data).IsValid() {
			t.Fatalf("no I-JSON: %s", data)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err == nil {
			err = compiled[e.Type].Validate(value)
		}
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
}
