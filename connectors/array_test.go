package connectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads an array to its end. The elements are copies.
func readAll(src io.Reader, max int, path ...string) (elements []string, a *Array, err error) {
	a = ReadArray(src, max, path...)
	for {
		element, err := a.Next()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return elements, a, err
		}
		elements = append(elements, string(element))
	}
}

func TestArray(t *testing.T) {
	for _, c := range []struct {
		name, body, path string
		want             []string
	}{
		{"bare", `[1,"a",{"b":[2]}]`, "", []string{`1`, `"a"`, `{"b":[2]}`}},
		{"white space", " \r\n[ 1 ,\t2 ]\n ", "", []string{"1", "2"}},
		{"empty", `{"data":[ ]}`, "data", nil},
		{"null is empty", `{"data":null}`, "data", nil},
		{"null, and more", `{"a":1,"data": null ,"cursor":"x"}`, "data", nil},
		{"null alone", ` null `, "", nil},
		{"cursor in front", `{"cursor":"x","data":[1]}`, "data", []string{"1"}},
		{"cursor behind", `{"data":[1],"cursor":"x"}`, "data", []string{"1"}},
		{"deep", `{"a":[{"data":[7]}],"page":{"n":{"data":[8]},"data":[1,2],"next":3},"z":{}}`, "page.data", []string{"1", "2"}},
		{"escaped name", `{"d\u0061ta":[1]}`, "data", []string{"1"}},
		{"brackets in strings", `["]}\"",{"a":"[\\"}]`, "", []string{`"]}\""`, `{"a":"[\\"}`}},
		{"byte order mark", "\xef\xbb\xbf[1]", "", []string{"1"}},
		{"no JSON between commas", `[tru,,'x',{a:1}]`, "", []string{`tru`, ``, `'x'`, `{a:1}`}},
		{"comma behind the last", `[1,]`, "", []string{"1", ""}},
		{"comma before the first", `[,1]`, "", []string{"", "1"}},
	} {
		var path []string
		if c.path != "" {
			path = strings.Split(c.path, ".")
		}
		for _, src := range []io.Reader{strings.NewReader(c.body), iotest.OneByteReader(strings.NewReader(c.body)), iotest.DataErrReader(strings.NewReader(c.body))} {
			got, _, err := readAll(src, 1<<20, path...)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
			}
		}
	}
}

// Invariant 9: an answer of the wrong shape is never an empty or a whole one.
func TestArrayRefuses(t *testing.T) {
	for body, want := range map[string]error{
		``:                           errCut,
		"  \n":                       errCut,
		`{"data":[1,2`:               errCut,
		`{"data":[1,2]`:              errCut,
		`{"data":[{"a":"x`:           errCut,
		`{"da`:                       errCut,
		`{"data":nul`:                errCut,
		`{"data":null`:               errCut,
		`{"data":[1],"cursor":"a`:    errCut,
		`{"data":[1],`:               errCut,
		`<html><body>[]</body>`:      errNoList,
		`{}`:                         errNoList,
		`{"error":"x"}`:              errNoList,
		`{"data":{}}`:                errNoList,
		`{"data":"[]"}`:              errNoList,
		`{"data":none}`:              errNoList,
		`[]`:                         errNoList,
		`null`:                       errNoList,
		`{"data":nullx}`:             errStructure,
		`{"data":[1}`:                errStructure,
		`{"data":[}`:                 errStructure,
		`{"data":[{]}]}`:             errStructure,
		`{"data":[[1}]}`:             errStructure,
		`{"data":[1]]`:               errStructure,
		`{"data":[1] "cursor":"x"}`:  errStructure,
		`{"data":[1]x}`:              errStructure,
		`{"a":1]`:                    errStructure,
		`{"a" 1,"data":[]}`:          errStructure,
		`{,"data":[]}`:               errStructure,
		`{"data":[],}`:               errStructure,
		`{"data":[1],"data":[2]}`:    errTwice,
		`{"data":[1]}x`:              errTrailing,
		`{"data":[1]}{"data":[2]}`:   errTrailing,
		"\xef\xbbx[]":                errNoList,
		"{\"data\":[]}\x00":          errTrailing,
		`{"data":[1],"x":{"y":[}]}}`: errStructure,
	} {
		for _, src := range []io.Reader{strings.NewReader(body), iotest.OneByteReader(strings.NewReader(body))} {
			if got, _, err := readAll(src, 1<<20, "data"); !errors.Is(err, want) {
				t.Errorf("%q: %q, %v; want %v", body, got, err, want)
			}
		}
	}
	broken := errors.New("connection reset")
	_, a, err := readAll(io.MultiReader(strings.NewReader(`{"data":[1,`), iotest.ErrReader(broken)), 1<<20, "data")
	if !errors.Is(err, broken) {
		t.Errorf("a broken connection: %v", err)
	}
	if _, again := a.Next(); again != err {
		t.Errorf("after an error: %v, want the same again", again)
	}
	// A body that breaks off behind its last bracket has not ended.
	if _, _, err := readAll(io.MultiReader(strings.NewReader(`[1]`), iotest.ErrReader(io.ErrUnexpectedEOF)), 1<<20); !errors.Is(err, errCut) {
		t.Errorf("an unexpected end: %v", err)
	}
}

func TestArrayMembers(t *testing.T) {
	long := `"` + strings.Repeat("x", MaxCursor) + `"`
	many := strings.Repeat(`"k":"`+strings.Repeat("y", MaxCursor/2)+`",`, 4)
	for _, c := range []struct{ body, member, want string }{
		{`{"cursor":"a","data":[]}`, "cursor", `"a"`},
		{`{"data":[],"cursor": {"a":[1]} }`, "cursor", `{"a":[1]}`},
		{`{"cursor":1,"data":[],"cursor":2}`, "cursor", `2`},
		{`{"data":[]}`, "cursor", ``},
		{`{"data":null,"cursor":"c"}`, "cursor", `"c"`},
		{`{` + many + `"cursor":1,"data":[]}`, "cursor", `1`},
		{`{"data":[],"cursor":` + long + `}`, "cursor", "error"},
		{`{"cursor":"a","data":[],"cursor":` + long + `}`, "cursor", "error"},
		{`{"data":[],"other":` + long + `,"cursor":"a"}`, "cursor", `"a"`},
	} {
		_, a, err := readAll(iotest.HalfReader(strings.NewReader(c.body)), 1<<20, "data")
		if err != nil {
			t.Errorf("%.40s: %v", c.body, err)
			continue
		}
		got, err := a.Member(c.member)
		if (err != nil) != (c.want == "error") || err == nil && string(got) != c.want {
			t.Errorf("%.40s: %s is %q, %v; want %q", c.body, c.member, got, err, c.want)
		}
	}
	_, a, err := readAll(strings.NewReader(`{"paging":{"data":[],"next":{"x":1}},"next":2}`), 1<<20, "paging", "data")
	inner, _ := a.Member("paging.next")
	if outer, _ := a.Member("next"); err != nil || string(inner) != `{"x":1}` || string(outer) != "2" {
		t.Errorf("nested members: %s and %s, %v", inner, outer, err)
	}
}

// Invariant 11: what an API sends beside the list is bounded too.
func TestArrayMemoryIsBounded(t *testing.T) {
	var body bytes.Buffer
	body.WriteString(`{"data":[]`)
	for i := range 5000 {
		body.WriteString(`,"` + strings.Repeat("k", 1+i%50) + strings.Repeat("j", i/50) + `":"` + strings.Repeat("v", 1000) + `"`)
	}
	body.WriteString(`}`)
	_, a, err := readAll(&body, 1<<20, "data")
	size := 0
	for name, value := range a.members {
		size += len(name) + len(value)
	}
	if err != nil || size > maxMembers || !a.dropped {
		t.Errorf("%d bytes of members are kept, %v", size, err)
	}
}

func TestArrayTooLong(t *testing.T) {
	fits, over := strings.Repeat("x", 98), strings.Repeat("x", 99)
	huge := strings.Repeat("x", 1<<20)
	for body, ok := range map[string]bool{
		`["` + fits + `"]`:                 true,
		`[   "` + fits + `"   ]`:           true,
		`["` + over + `"]`:                 false,
		`[1,["` + huge + `"]]`:             false,
		`["` + huge:                        false,
		`{"` + huge + `":1}`:               false,
		`[` + strings.Repeat("[", 1<<20):   false,
		`[1,` + strings.Repeat("1", 1<<20): false,
	} {
		var path []string
		if body[0] == '{' {
			path = []string{"data"}
		}
		src := &counter{r: strings.NewReader(body)}
		_, _, err := readAll(src, 100, path...)
		tooLong := (*TooLongError)(nil)
		if errors.As(err, &tooLong) == ok || ok && err != nil {
			t.Errorf("%.20s... (%d bytes): %v", body, len(body), err)
		}
		if src.n > 70<<10 {
			t.Errorf("%.20s...: %d bytes were read to find that an element has more than 100", body, src.n)
		}
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// randomReader gives pieces of random sizes.
type randomReader struct {
	r    io.Reader
	dice *rand.Rand
	most int
}

func (r *randomReader) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), r.dice.IntN(r.most+1))])
}

// balanced makes an element whose brackets match, which need not be JSON.
func balanced(dice *rand.Rand, depth int) string {
	texts := []string{"x", "1", "null", "'", "é", "\xff", `"a"`, `"]}"`, `"\""`, `"\\"`, `"{[\u0022"`, "\x00", `"` + strings.Repeat(`\n\"`, dice.IntN(40)) + `"`}
	var b strings.Builder
	for range 1 + dice.IntN(4) {
		if depth > 0 && dice.IntN(3) == 0 {
			open := dice.IntN(2)
			b.WriteByte("[{"[open])
			for range dice.IntN(3) {
				b.WriteString(balanced(dice, depth-1))
				b.WriteString([]string{",", ":", " ", "\n"}[dice.IntN(4)])
			}
			b.WriteByte("]}"[open])
			continue
		}
		b.WriteString(texts[dice.IntN(len(texts))])
	}
	return b.String()
}

func FuzzArray(f *testing.F) {
	f.Add(uint64(1), []byte(`{"data":[1,{"a":"b"}],"cursor":"c"}`))
	f.Add(uint64(2), []byte(`{"cursor":null,"data":[]}`))
	f.Add(uint64(3), []byte(`{"data":null,"x":[{}]}`))
	f.Add(uint64(4), []byte(`{"data":["\\\"",[[]], "`+strings.Repeat("\\n", 300)+`"]}`))
	f.Fuzz(func(t *testing.T, seed uint64, body []byte) {
		dice := rand.New(rand.NewPCG(seed, 1))
		fuzzAssembled(t, dice)
		fuzzAgainstJSON(t, dice, body)
	})
}

// Elements come out as they went in, whatever stands around them and however
// they arrive, and an answer that is cut never ends well.
func fuzzAssembled(t *testing.T, dice *rand.Rand) {
	var want []string
	for range dice.IntN(6) {
		want = append(want, balanced(dice, 4))
	}
	spaces := func() string { return strings.Repeat([]string{" ", "\n", "\t\r"}[dice.IntN(3)], dice.IntN(3)) }
	list := "["
	for i, element := range want {
		if i > 0 {
			list += ","
		}
		list += spaces() + element + spaces()
	}
	list += "]"
	cursor := `"` + strings.Repeat("c", dice.IntN(20)) + `"`
	layout := []struct {
		head, tail, member string
		path               []string
	}{
		{"", "", "", nil},
		{`{"data":`, `,"cursor":` + cursor + `}`, "cursor", []string{"data"}},
		{`{ "cursor" : ` + cursor + ` , "data" : `, ` } `, "cursor", []string{"data"}},
		{`{"a":{"data":[0]},"p":{"cursor":` + cursor + `,"data":`, `},"data":[1]}`, "p.cursor", []string{"p", "data"}},
	}[dice.IntN(4)]
	body := layout.head + list + layout.tail
	got, a, err := readAll(&randomReader{strings.NewReader(body), dice, 1 + dice.IntN(50)}, 1<<20, layout.path...)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%q gives %q, %v; want %q", body, got, err, want)
	}
	if layout.member != "" {
		if got, err := a.Member(layout.member); err != nil || string(got) != cursor {
			t.Fatalf("%q: the cursor is %q, %v", body, got, err)
		}
	}
	whole := strings.TrimRight(body, " \n\t\r")
	cut := dice.IntN(len(whole))
	if got, _, err := readAll(strings.NewReader(whole[:cut]), 1<<20, layout.path...); err == nil {
		t.Fatalf("%q is cut and gives %q without an error", whole[:cut], got)
	}
	if got, _, err := readAll(strings.NewReader(body+"x"), 1<<20, layout.path...); err == nil {
		t.Fatalf("%q gives %q without an error", body+"x", got)
	}
}

// What encoding/json reads is read alike.
func fuzzAgainstJSON(t *testing.T, dice *rand.Rand, body []byte) {
	got, _, err := readAll(&randomReader{bytes.NewReader(body), dice, 1 + dice.IntN(50)}, 1<<20, "data")
	var answer map[string]json.RawMessage
	var want []json.RawMessage
	if json.Unmarshal(body, &answer) != nil || answer["data"] == nil || json.Unmarshal(answer["data"], &want) != nil {
		return
	}
	if errors.Is(err, errTwice) && bytes.Count(body, []byte(`a`)) > 1 { // encoding/json takes the last
		return
	}
	if err != nil || len(got) != len(want) {
		t.Fatalf("%q gives %q, %v; want %q", body, got, err, want)
	}
	for i := range want {
		if got[i] != string(bytes.Trim(want[i], " \t\r\n")) {
			t.Fatalf("element %d of %q is %q, want %q", i, body, got[i], want[i])
		}
	}
}

// BenchmarkArray splits a page of a thousand records of a kilobyte each.
func BenchmarkArray(b *testing.B) {
	record := `{"_id":"65f0c0ffee","time":1772625600,"text":"` + strings.Repeat("some words and \\\"marks\\\", ", 20) + `","list":[1,2,{"a":null}],"more":"` + strings.Repeat("x", 400) + `"}`
	body := `{"data":[` + strings.Repeat(record+",", 999) + record + `],"cursor":"c"}`
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		a := ReadArray(strings.NewReader(body), 1<<20, "data")
		for {
			if _, err := a.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
