package events_test

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/events"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		` { "b" : 1.0 , "a" : [ 1e0, 1 ] } `: `{"a":[1,1],"b":1}`,
		`-0`:                                 `0`,
		`-0.0e5`:                             `0`,
		`1200`:                               `12e2`,
		`0.00120`:                            `12e-4`,
		`-12.50E+3`:                          `-125e2`,
		`9007199254740993`:                   `9007199254740993`,
		`1e400`:                              `1e400`,
		`1e-400`:                             `1e-400`,
		`10e99999999999999999999`:            `1e100000000000000000000`,
		`0.1e100000000000000000000`:          `1e99999999999999999999`,
		`0.1e-99999999999999999999`:          `1e-100000000000000000000`,
		`10e-100000000000000000000`:          `1e-99999999999999999999`,
		`"\u0041\/\u00e9\u2028\n\""`:         "\"A/é\u2028\\n\\\"\"",
		`"1.0"`:                              `"1.0"`,
		`{"\ud83d\ude00":1,"\ufb33":2}`:      "{\"😀\":1,\"\ufb33\":2}", // UTF-16 order: the surrogate pair first
		`{"1.0":{"x":[10,-10,105,0,-0.5]}}`:  `{"1.0":{"x":[1e1,-1e1,105,0,-5e-1]}}`,
	} {
		got, err := events.Canonical([]byte(in))
		if err != nil {
			t.Errorf("Canonical(%s): %v", in, err)
		} else if string(got) != want {
			t.Errorf("Canonical(%s) = %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{``, `{`, `{"a":1,"a":2}`, "\"\xff\"", `"\ud800"`, `1 2`} {
		if got, err := events.Canonical([]byte(in)); err == nil {
			t.Errorf("Canonical(%q) = %s, want an error", in, got)
		}
	}
}

func TestCanonicalLeavesItsInputAlone(t *testing.T) {
	in := []byte(`{"b":1.0,"a":2}`)
	if _, err := events.Canonical(in); err != nil || string(in) != `{"b":1.0,"a":2}` {
		t.Fatalf("the input became %s (%v)", in, err)
	}
}

// The canonical form of any I-JSON text is one, says the same, and does not
// depend on how the text was spelled.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1.50,-0,1e7,{"b":null}],"A":"\u0000é😀\\"}`, `[0.000, 100, 1E-2]`, `"x"`, `12345678901234567890e-5`, `{"":{},"é":[],"é":1}`,
		`1e999999999999999999999`, `{"a":1,"a":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		canonical, err := events.Canonical(raw)
		if valid := jsontext.Value(raw).IsValid(); valid != (err == nil) {
			t.Fatalf("valid %v, but Canonical: %v", valid, err)
		}
		if err != nil {
			return
		}
		again, err := events.Canonical(canonical)
		if err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("the canonical form %s of %s has another: %s (%v)", canonical, raw, again, err)
		}
		if a, b := meaning(t, raw), meaning(t, canonical); a != b {
			t.Fatalf("%s means %s, its canonical form %s means %s", raw, a, canonical, b)
		}
		respelled := respell(t, raw)
		if other, err := events.Canonical(respelled); err != nil || !bytes.Equal(other, canonical) {
			t.Fatalf("%s gives %s, spelled as %s it gives %s (%v)", raw, canonical, respelled, other, err)
		}
	})
}

// meaning spells a JSON text so that equal values give equal texts: by way of
// big rationals, which share nothing with the code under test.
func meaning(t *testing.T, raw []byte) string {
	t.Helper()
	v := jsontext.Value(bytes.Clone(raw))
	if err := v.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		t.Fatal(err)
	}
	return mapNumbers(t, v, func(number string) string {
		mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
		r, ok := new(big.Rat).SetString(mantissa)
		if !ok {
			t.Fatalf("%s is no number", number)
		}
		e, _ := new(big.Int).SetString(exponent, 10)
		if e == nil {
			e = new(big.Int)
		}
		if r.Sign() == 0 {
			return "0"
		}
		one, ten := big.NewInt(1), big.NewRat(10, 1)
		for ; !r.IsInt(); e.Sub(e, one) {
			r.Mul(r, ten)
		}
		for ; new(big.Int).Rem(r.Num(), ten.Num()).Sign() == 0; e.Add(e, one) {
			r.Quo(r, ten)
		}
		return r.Num().String() + "e" + e.String()
	})
}

// respell writes numbers with another exponent and strings with escapes.
func respell(t *testing.T, raw []byte) []byte {
	v := jsontext.Value(bytes.Clone(raw))
	if err := v.Indent(jsontext.EscapeForHTML(true), jsontext.PreserveRawStrings(false)); err != nil {
		t.Fatal(err)
	}
	return []byte(mapNumbers(t, v, func(number string) string {
		if strings.ContainsAny(number, "eE") {
			return number
		}
		if strings.Contains(number, ".") {
			return number + "00e+00"
		}
		return number + ".0e-0"
	}))
}

func mapNumbers(t *testing.T, text []byte, spell func(string) string) string {
	t.Helper()
	var out strings.Builder
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if !inString && (c == '-' || '0' <= c && c <= '9') {
			end := i
			for end < len(text) && strings.IndexByte("0123456789+-.eE", text[end]) >= 0 {
				end++
			}
			out.WriteString(spell(string(text[i:end])))
			i = end - 1
			continue
		}
		if c == '"' {
			inString = !inString
		}
		out.WriteByte(c)
		if inString && c == '\\' {
			i++
			out.WriteByte(text[i])
		}
	}
	return out.String()
}
