package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// mostPoison is how many elements an answer is poisoned with at most.
	mostPoison = 3
	// poisonDepth is how deep the deepest element is nested, itself counted.
	poisonDepth = 10_000
)

// spoil puts 1 to 3 elements that are no JSON objects, or none that everybody
// reads alike, between the records of a good list. turn counts the answers that
// were spoilt before.
func (a *answer) spoil(seed uint64, turn int) {
	if !a.list || a.code() != http.StatusOK {
		return
	}
	d := dice{mix(seed ^ uint64(turn+1))}
	places := make([]int, 1+d.below(mostPoison))
	for i := range places {
		places[i] = d.below(len(a.records) + 1)
	}
	slices.Sort(places)
	spoilt := make([]*record, 0, len(a.records)+len(places))
	done := 0
	for i, place := range places {
		raw := poison(&d, turn*mostPoison+i+1)
		spoilt = append(append(spoilt, a.records[done:place]...), &record{raw: raw})
		a.poison = append(a.poison, raw)
		done = place
	}
	a.records = append(spoilt, a.records[done:]...)
}

// poison returns one element. The serial number makes it the only one of its
// kind, but for null.
func poison(d *dice, serial int) []byte {
	n := strconv.Itoa(serial)
	object := func(variants ...string) []byte {
		return []byte(`{"serial":` + n + `,` + pick(d, variants) + `}`)
	}
	switch d.below(8) {
	case 0:
		return []byte("null")
	case 1:
		return []byte(n + pick(d, []string{"", ".50", "e+3"}))
	case 2:
		return []byte(fmt.Sprintf(`"{\"serial\":%d} is no object"`, serial))
	case 3:
		return []byte(`[` + n + pick(d, []string{``, `,{"userId":"u-1"}`, `,[[],{}]`}) + `]`)
	case 4: // no UTF-8: Latin-1, an overlong slash, a surrogate, half a character
		return object("\"text\":\"caf\xe9\"", "\"text\":\"\xc0\xaf\"", "\"\xed\xa0\x80\":1", "\"text\":\"\xf0\x9f\"")
	case 5:
		return object(`"userId":"u-1","userId":"u-2"`, `"in":{"b":1,"\u0062":2}`, `"serial":`+n)
	case 6:
		return object(`"text":"\ud800"`, `"text":"\udc00\ud800"`, `"\ud83d":1`)
	default:
		deep := poisonDepth - 1
		return object(
			`"deep":`+strings.Repeat("[", deep)+strings.Repeat("]", deep),
			`"deep":`+strings.Repeat(`{"a":`, deep)+"0"+strings.Repeat("}", deep))
	}
}
