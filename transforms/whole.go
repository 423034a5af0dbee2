package transforms

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	exprtypes "github.com/expr-lang/expr/types"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/millrace-io/millrace/events"
)

// The steps of this file decide about whole events: whether they are published, as
// how many, and where.

type filter struct{ keep *expression }

func (f filter) apply(r *run, it *item) (outcome, error) {
	if keep, err := f.keep.condition(r, it); !keep || err != nil {
		return drop, err
	}
	return pass, nil
}

// splitting makes one event for each element of a list.
type splitting struct {
	field path
	into  string
}

func (b *builder) split(s *Split, types []string) operation {
	if s == nil {
		b.errorf("split", "is empty: give it field and into")
		return nil
	}
	p := b.path("split.field", s.Field, types)
	if b.target("split.into", s.Into) {
		b.scope.add(types, s.Into, exprtypes.Any)
	}
	if p.first != rawName && p.first != s.Into {
		for _, t := range types {
			delete(b.scope[t], p.first)
		}
	}
	return splitting{p, s.Into}
}

func (s splitting) apply(r *run, it *item) (outcome, error) {
	list := find(it.get(r, s.field.first), s.field.rest)
	if kindOf(list) != '[' {
		return pass, nil
	}
	r.parts = r.parts[:0:0]
	for i := 1; ; {
		element, end, ok := nextElement(list, i)
		if !ok {
			break
		}
		part := it.clone()
		part.ID = events.SplitID(it.ID, len(r.parts))
		if s.field.first != rawName {
			part.put(r, s.field.first, nil)
		}
		part.put(r, s.into, element)
		r.parts = append(r.parts, part)
		i = end
	}
	if len(r.parts) == 0 {
		return pass, nil
	}
	return split, nil
}

type routing string

func (b *builder) route(topic string, types []string) operation {
	if err := events.CheckTopic(topic); err != nil {
		b.errorf("route", "%s", err)
	} else if !slices.Contains(b.chain.topics, topic) {
		b.chain.topics = append(b.chain.topics, topic)
	}
	b.chain.routed[topic] = append(b.chain.routed[topic], types...)
	return routing(topic)
}

func (s routing) apply(_ *run, it *item) (outcome, error) {
	it.Topic = string(s)
	return pass, nil
}

// sampling keeps a share of the events.
type sampling struct {
	below uint64
	all   bool
	by    *expression // nil: the key
}

func (b *builder) sample(s *Sample, types []string) operation {
	if s == nil {
		b.errorf("sample", "is empty: give it share")
		return nil
	}
	out := sampling{below: uint64(s.Share * math.MaxUint64), all: s.Share == 1}
	if s.By != "" {
		out.by, _ = b.expression("sample.by", s.By, types, reflect.Invalid)
	}
	return out
}

func (s sampling) apply(r *run, it *item) (outcome, error) {
	by := []byte(it.Key)
	if s.by != nil {
		v, err := s.by.value(r, it)
		if err == nil {
			by, err = encode(v)
		}
		if err != nil {
			return drop, err
		}
	}
	hash := sha256.Sum256(append([]byte("sample"), by...))
	if s.all || binary.BigEndian.Uint64(hash[:]) < s.below {
		return pass, nil
	}
	return drop, nil
}

// validating fails on events that a schema does not take.
type validating struct{ schema *jsonschema.Schema }

func (b *builder) validate(s *Validate) operation {
	if s == nil || s.Schema == "" {
		return validating{}
	}
	text, err := os.ReadFile(s.Schema)
	if err != nil {
		if at := (*fs.PathError)(nil); errors.As(err, &at) {
			err = at.Err // the path is the value
		}
		b.errorf("validate.schema", "cannot be read: %s", err)
		return nil
	}
	if !json.Valid(text) {
		b.errorf("validate.schema", "is not JSON")
		return nil
	}
	compiled, err := compileSchema("schema:///schema.json", bytes.TrimSpace(text))
	if err != nil {
		b.errorf("validate.schema", "is no JSON Schema: %s", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	return validating{compiled}
}

func (s validating) apply(r *run, it *item) (outcome, error) {
	schema := s.schema
	if schema == nil {
		schema = schemaOf(it.Type).whole
	}
	if schema == nil {
		return pass, nil
	}
	if err := it.check(); err != nil {
		return drop, err
	}
	whole := it.event()
	if err := validate(schema, whole.AppendData(nil)); err != nil {
		return drop, fmt.Errorf("the event %w", err)
	}
	return pass, nil
}
