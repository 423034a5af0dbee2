package transforms

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
	"sync"

	exprtypes "github.com/expr-lang/expr/types"

	"github.com/millrace-io/millrace/transforms/detect"
)

// redacting hides what is sensitive: whole values at paths, or what is found in
// texts.
type redacting struct {
	fields     []path // nil: everything
	attributes []string
	kinds      detect.Kind // 0: whole values
	with       string
	mask       string
	raw        string
	keyID      string
	hashes     *sync.Pool // of hash.Hash
}

// What redact.with and redact.raw can be.
const (
	withMask = "mask"
	withHash = "hash"
	withDrop = "drop"

	rawRedact = "redact"
	rawDrop   = "drop"
	rawKeep   = "keep"
)

// The attributes that can be hashed.
const (
	keyAttribute    = "event.key"
	recordAttribute = "event.record_id"
)

// minKey is how short a key of hash may be, in bytes.
const minKey = 16

func (b *builder) redact(s *Redact, types []string) operation {
	if s == nil || len(s.Fields) == 0 && len(s.Kinds) == 0 {
		b.errorf("redact", "hides nothing: give it kinds to look for, such as [email, phone], or fields, or both")
		return nil
	}
	red := &redacting{with: withMask, mask: "***", raw: s.Raw, keyID: s.KeyID}
	if s.With != "" {
		red.with = s.With
	}
	if s.Mask != nil {
		red.mask = *s.Mask
	}
	for _, word := range s.Kinds {
		kind, _ := detect.ParseKind(word) // the configuration takes these words only
		red.kinds |= kind
	}
	b.redactKey(red, s)
	b.redactFields(red, s, types)
	if red.raw == "" {
		red.raw = rawDrop
		if red.kinds != 0 || slices.ContainsFunc(red.fields, func(p path) bool { return p.first == rawName }) {
			red.raw = rawRedact
		}
	} else if red.raw == rawRedact && red.kinds == 0 && !slices.ContainsFunc(red.fields, func(p path) bool { return p.first == rawName }) {
		b.errorf("redact.raw", "would find nothing in raw: add kinds to look for, or a path in raw to fields, or use drop")
	}
	if red.with != withHash && red.kinds != 0 && red.fields == nil {
		b.unhashed = append(b.unhashed, b.current+" leaves the attributes subject, partitionkey and recordid as they are, which may be a phone number or an address: redact event.key and event.record_id with: hash where they are")
	}
	ofAll := !b.has("types") && !b.has("connectors") && !b.has("streams") && !b.has("when")
	b.hashed = b.hashed || ofAll && slices.Contains(red.attributes, keyAttribute) && slices.Contains(red.attributes, recordAttribute)
	if red.raw == rawDrop {
		for _, t := range types {
			delete(b.scope[t], rawName)
		}
	}
	return red
}

// fallback is what a variable has beside it that may be missing.
var fallback = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*:-`)

func (b *builder) redactKey(red *redacting, s *Redact) {
	switch {
	case red.with != withHash && (s.Key != "" || s.KeyID != ""):
		b.errorf("redact.with", "wants hash where there is a key: a mask needs none")
	case red.with != withMask && s.Mask != nil:
		b.errorf("redact.mask", "is for with: mask")
	case red.with == withHash && len(s.Key) < minKey:
		b.errorf("redact.key", "wants at least %d bytes with hash: without a key everybody can try all phone numbers. openssl rand -hex 32 makes one; take it from the environment: ${REDACT_KEY}", minKey)
	case red.with == withHash && fallback.MatchString(b.section.Written("redact.key")):
		b.errorf("redact.key", "has a default, with which a process would hash where the variable is missing: write ${NAME} alone")
	case red.with == withHash:
		key := []byte(s.Key)
		red.hashes = &sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}
	}
}

func (b *builder) redactFields(red *redacting, s *Redact, types []string) {
	for n, text := range s.Fields {
		key := fmt.Sprintf("redact.fields[%d]", n)
		if text == keyAttribute || text == recordAttribute {
			if red.with != withHash {
				b.errorf(key, "is what events are ordered and told apart by: it takes with: hash alone, which keeps equal ones equal")
			}
			red.attributes = append(red.attributes, text)
			continue
		}
		p := b.path(key, text, types)
		red.fields = append(red.fields, p)
		if len(p.rest) > 0 || red.kinds != 0 {
			continue
		}
		if p.first == rawName && red.with != withDrop {
			b.errorf(key, "is the whole record: leave it out with raw: drop, or name paths in it, such as raw.*")
		}
		for _, t := range types {
			switch m := schemaOf(t).members[p.first]; {
			case red.with == withDrop:
				delete(b.scope[t], p.first)
			case m != nil && p.first != rawName && (!m.free || m.kind == "object"):
				b.errorf(key, "is no free text in events of type %s, so that a mask or a hash would not be valid there: use with: drop", t)
				return
			case b.scope.has([]string{t}, p.first):
				b.scope[t][p.first] = exprtypes.String
			}
		}
	}
}

// hidesIDs says whether the step hides whom or what an event is of.
func (s *redacting) hidesIDs() bool {
	return s.attributes != nil || s.everything() && s.with == withHash ||
		slices.ContainsFunc(s.fields, func(p path) bool { return p.first == "user_id" || p.first == "conversation_id" })
}

func (s *redacting) apply(r *run, it *item) (outcome, error) {
	for _, p := range s.fields {
		if err := it.edit(r, p, func(v []byte) ([]byte, error) { return s.value(r, v) }); err != nil {
			return drop, err
		}
	}
	if s.everything() {
		members := it.data(r)
		for n := range members {
			m := &members[n]
			if known := schemaOf(it.Type).members[m.name]; known != nil && !known.free && known.kind != "array" {
				continue // a time, a number, one of some words
			}
			value, err := s.value(r, m.value)
			if err != nil {
				return drop, err
			}
			if !same(value, m.value) {
				it.put(r, m.name, value)
			}
		}
		s.memberNames(r, it)
	}
	s.identifiers(r, it)
	switch {
	case it.Raw == nil || s.raw == rawKeep:
	case s.raw == rawDrop:
		it.put(r, rawName, nil)
	case s.kinds != 0:
		raw, err := s.value(r, it.Raw)
		if err != nil {
			return drop, err
		}
		if !same(raw, it.Raw) {
			it.put(r, rawName, raw)
		}
	}
	return pass, nil
}

// memberNames hides what is found in the names of members that the catalogue does
// not have: flatten makes them of a record's.
func (s *redacting) memberNames(r *run, it *item) {
	known := schemaOf(it.Type).members
	for n := range it.members {
		name := it.members[n].name
		if known[name] != nil || !suspicious([]byte(name)) {
			continue
		}
		text := []byte(name)
		hidden := s.text(r, text)
		if same(hidden, text) {
			continue
		}
		unique := string(hidden)
		for i := 2; known[unique] != nil || unique == rawName || it.get(r, unique) != nil; i++ {
			unique = fmt.Sprintf("%s_%d", hidden, i)
		}
		it.members[n].name, it.changed = unique, true
	}
}

// everything says whether it looks for kinds wherever they may be.
func (s *redacting) everything() bool { return s.kinds != 0 && s.fields == nil && s.attributes == nil }

// identifiers hashes the attributes that were asked for, and with kinds alone those
// in which one is found.
func (s *redacting) identifiers(r *run, it *item) {
	if s.with != withHash {
		return
	}
	for _, a := range []struct {
		name  string
		value *string
	}{{keyAttribute, &it.Key}, {recordAttribute, &it.RecordID}} {
		*a.value = s.identifier(r, a.name, *a.value)
	}
}

// identifier is what the step makes of an attribute, where it hashes.
func (s *redacting) identifier(r *run, name, value string) string {
	named := slices.Contains(s.attributes, name)
	switch {
	case value == "": // the event has none
	case named && s.kinds == 0:
		return s.hash([]byte(value))
	case named || s.everything():
		return string(s.text(r, []byte(value)))
	}
	return value
}

// value hides what is in a value: all of it, or what is found in its texts.
func (s *redacting) value(r *run, value []byte) ([]byte, error) {
	if s.kinds != 0 {
		return s.texts(r, value)
	}
	switch {
	case s.with == withDrop:
		return nil, nil
	case kindOf(value) == 'n':
		return value, nil
	case s.with == withMask:
		return quote(s.mask), nil
	case kindOf(value) == '"':
		return quote(s.hash(unquoted(value))), nil
	}
	return quote(s.hash(value)), nil
}
