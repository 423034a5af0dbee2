package consumers

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Each type of the catalogue has a struct with a field of the right type for each
// property of its schema, and no other.
func TestTypesAreTheSchemas(t *testing.T) {
	for _, e := range events.Catalogue() {
		data := newData(e.Name)
		if data == nil {
			t.Errorf("%s has no Go type", e.Name)
			continue
		}
		s := schemaOf(t, e.Name)
		fields := map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(reflect.TypeOf(data).Elem()) {
			name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous {
				continue
			}
			fields[name] = f.Type
			// What is absent stays so when it is encoded again.
			if required := slices.Contains(s.Required, name); required != (option == "") || !required && option != "omitzero" {
				t.Errorf("%s: %s is tagged %q", e.Name, name, f.Tag.Get("json"))
			}
		}
		want := map[string]reflect.Type{}
		for name, p := range s.Properties {
			want[name] = p.goType(t)
		}
		if !maps.Equal(fields, want) {
			t.Errorf("%s has the fields\n%v, its schema\n%v", e.Name, fields, want)
		}
	}
}

func (s schema) goType(t *testing.T) reflect.Type {
	switch {
	case s.Format == "date-time":
		return reflect.TypeFor[time.Time]()
	case s.ContentEncoding == "base64":
		return reflect.TypeFor[[]byte]()
	case s.Enum != nil, s.Type == "string" && s.Format == "":
		return reflect.TypeFor[string]()
	case s.Type == "array" && s.Items.goType(t) == reflect.TypeFor[string]():
		return reflect.TypeFor[[]string]()
	case s.Type == "integer":
		return reflect.TypeFor[*int64]()
	case s.Type == "number":
		return reflect.TypeFor[*float64]()
	case s.Type == "boolean":
		return reflect.TypeFor[*bool]()
	case s.Type == "object", s.Type == "":
		return reflect.TypeFor[json.RawMessage]()
	}
	t.Errorf("no Go type is known for %+v", s)
	return nil
}

// Every member arrives in its field: what is decoded encodes to the same.
func TestEveryMemberArrives(t *testing.T) {
	for _, e := range events.Catalogue() {
		data := sample(t, e.Name)
		decoded, err := decodeData(e.Name, data)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		again, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		have, err1 := events.Canonical(again)
		want, err2 := events.Canonical(data)
		if err1 != nil || err2 != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is\n%s, want\n%s (%v, %v)", e.Name, have, want, err1, err2)
		}
		absent, err := decodeData(e.Name, []byte("{}"))
		if err != nil || !reflect.ValueOf(absent).Elem().IsZero() {
			t.Errorf("%s without members is %+v, %v", e.Name, absent, err)
		}
	}
}

// Numbers that the schema allows are read, whatever they are written like.
func TestNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"200": 200, "200.0": 200, "2e2": 200, "2.50e2": 250, "-0": 0, "9007199254740993": 1<<53 + 1, "9007199254740993.00": 1<<53 + 1,
		"1e30": 1<<63 - 1, "-1e400": -1 << 63, "9223372036854775808": 1<<63 - 1,
	} {
		data, err := decodeData(events.TypeIntegrationCall, []byte(`{"status":`+text+`,"ok":false}`))
		if err != nil {
			t.Errorf("the status %s: %v", text, err)
			continue
		}
		call := data.(*IntegrationCall)
		if call.Status == nil || *call.Status != want || call.OK == nil || *call.OK {
			t.Errorf("the status %s is %v, want %d", text, call.Status, want)
		}
	}
	for text, want := range map[string]float64{"0": 0, "0.75": 0.75, "1e400": 1.7976931348623157e308, "-1e400": -1.7976931348623157e308, "1e-400": 0} {
		data, err := decodeData(events.TypeAnswer, []byte(`{"score":`+text+`}`))
		if err != nil {
			t.Errorf("the score %s: %v", text, err)
			continue
		}
		if score := data.(*Answer).Score; score == nil || *score != want {
			t.Errorf("the score %s is %v, want %g", text, score, want)
		}
	}
}
