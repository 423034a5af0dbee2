package feedyou

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

const planted = "Pl4nt3dV4lu3"

// plants are records with a credential in each place where there can be one.
var plants = []func(name, text string) string{
	func(name, text string) string {
		return fmt.Sprintf(`{"requestHeaders":{"a":%s,%s:"%s"}}`, text, name, planted)
	},
	func(name, text string) string {
		return fmt.Sprintf(`{"requestHeaders":{%s:[%s,"%s",{"a":"%[3]s"}]}}`, name, text, planted)
	},
	func(name, text string) string {
		return fmt.Sprintf(`{"requestHeaders":[["a",%s],[%s,"%s"]]}`, text, name, planted)
	},
	func(name, text string) string {
		return fmt.Sprintf(`{"requestHeaders":[{"value":"%s","key":%s,"a":%s},{"Name":%[2]s,"Value":["%[1]s"]}]}`, planted, name, text)
	},
	func(name, text string) string {
		return `{"requestHeaders":` + quoted(`{"a":`+text+`,`+name+`:"`+planted+`"}`) + `}`
	},
	func(name, text string) string {
		return `{"requestHeaders":` + quoted(`[["a",`+text+`],[`+name+`,["`+planted+`"]]]`) + `}`
	},
	func(name, text string) string {
		return `{"requestHeaders":` + quoted("A: a\r\n"+plain(name)+": "+plain(text)+" "+planted+"\r\nB: b") + `}`
	},
	func(name, text string) string {
		return `{"url":` + quoted("https://u:"+planted+"@h/?a=b&"+plain(name)+"="+plain(text)+planted+"&c=d#"+plain(name)+"="+planted) + `}`
	},
	// Indented, in a value, behind another header, in an address that is no text.
	func(name, text string) string {
		return `{"requestHeaders":` + quoted("  "+plain(name)+": "+planted+"\n\t"+plain(name)+": "+planted+"\n"+plain(text)+":\n  "+plain(name)+": "+planted) + `}`
	},
	func(name, text string) string {
		return `{"requestHeaders":{"a":` + quoted("A: "+plain(text)+"\r\n  "+word(name)+": "+planted+"\r\n") + `,"b":["c",` + quoted(word(name)+": "+planted) + `]}}`
	},
	func(name, text string) string {
		return `{"requestHeaders":` + quoted("A: "+plain(text)+", "+word(name)+": "+planted) + `}`
	},
	func(name, text string) string {
		return `{"requestHeaders":` + quoted("A: {"+quoted(word(name))+":"+quoted(text+planted)+"}\n"+plain(name)+"="+planted) + `}`
	},
	func(name, text string) string {
		return fmt.Sprintf(`{"requestHeaders":[{"k":%s,"a":%s,"v":"%s"}]}`, name, text, planted)
	},
	func(name, text string) string {
		address := quoted("GET https://u:" + planted + "@h/" + plain(text) + "?a=b&" + plain(name) + "=" + planted)
		return fmt.Sprintf(`{"url":[{"a":%s},%[1]s,{"key":%s,"value":"%s"}],"requestHeaders":%s}`, address, name, planted, quoted("A: b "+word(name)+"="+planted))
	},
	// In an address inside the address, behind a colon, in a member's name.
	func(name, text string) string {
		inner := "https://" + plain(text) + ":" + planted + "@x/" + plain(text)
		return `{"url":` + quoted("https://h/"+inner+"?a="+inner+"&b="+url.QueryEscape(inner)+"#"+inner+"&"+plain(name)+":"+planted) + `}`
	},
	func(name, text string) string {
		header := quoted(plain(name) + ": " + planted)
		return fmt.Sprintf(`{"requestHeaders":{"a":[{"b":%s,%s:1}]},"url":{%s:2,"a":%[1]s}}`, text, header, quoted("https://h/?"+plain(name)+"="+planted))
	},
}

func quoted(text string) string {
	b, _ := jsontext.AppendQuote(nil, text)
	return string(b)
}

// plain is the text of a JSON string, without what ends a header or a parameter.
func plain(s string) string {
	text, _ := jsontext.AppendUnquote(nil, s)
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\r\n:=&#/?;\"{[ \t", r) || r < ' ' {
			return '-'
		}
		return r
	}, string(text))
}

// word is a name as it can stand in the middle of a line.
func word(name string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && strings.ContainsRune(",&|'}]()<>.", r) {
			return '-'
		}
		return r
	}, plain(name))
}

// Whatever stands around a credential, it is not shown, and all else is.
func FuzzPlantedCredentials(f *testing.F) {
	for i := range plants {
		f.Add(uint8(i), uint8(i), "X-", "-a", "some text")
		f.Add(uint8(i), uint8(i+1), "\u00e9", "%", `{"a":"b\`)
	}
	f.Fuzz(func(t *testing.T, plant, word uint8, before, behind, text string) {
		name := before + strings.ToUpper(secretWords[int(word)%len(secretWords)]) + behind
		raw := plants[int(plant)%len(plants)](quoted(name), quoted(text))
		if strings.Contains(before+behind+text, planted) || !jsontext.Value(raw).IsValid() {
			return
		}
		var fields connectors.Fields
		record := mapOne("integrationLog", raw, &fields)
		if record.Dead != nil {
			t.Fatalf("%s: %+v", raw, record.Dead)
		}
		if bytes.Contains(shown(record), []byte(planted)) || bytes.Contains(record.Members, []byte(planted)) {
			t.Fatalf("of %s\nis shown %s\nand %s", raw, shown(record), record.Members)
		}
	})
}

// Masking an object gives an object of the same members; masking it again
// changes nothing; and nothing changes but address and headers.
func FuzzMask(f *testing.F) {
	for i, c := range headerCases {
		f.Add([]byte(`{"requestHeaders":` + strings.NewReplacer("<", "", ">", "").Replace(c) + `,"url":"https://a:b@c/?key=` + fmt.Sprint(i) + `"}`))
	}
	for _, plant := range plants {
		f.Add([]byte(plant(`"token"`, `"text"`)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var fields, again connectors.Fields
		record := mapOne("integrationLog", string(raw), &fields)
		if record.Dead != nil {
			return
		}
		text := shown(record)
		if !jsontext.Value(text).IsValid() || text[len(text)-1] != raw[len(raw)-1] {
			t.Fatalf("%s becomes %s", raw, text)
		}
		if second := mapOne("integrationLog", string(text), &again); second.Dead != nil || second.Masked != nil || !bytes.Equal(second.Members, record.Members) {
			t.Fatalf("%s becomes %s, then %s\n%s\n%s", raw, text, shown(second), record.Members, second.Members)
		}
		before, after := membersOf(t, raw), membersOf(t, text)
		if len(before) != len(after) {
			t.Fatalf("%s becomes %s", raw, text)
		}
		for i, m := range before {
			if name := after[i].name; name != m.name || name != "url" && name != "requestHeaders" && after[i].value != m.value {
				t.Fatalf("%s becomes %s", raw, text)
			}
		}
	})
}

type named struct{ name, value string }

func membersOf(t *testing.T, text []byte) (list []named) {
	var scan events.Scanner
	if dead := scan.Object(text, func(name, value []byte) { list = append(list, named{string(name), string(value)}) }); dead != nil {
		t.Fatalf("%s: %+v", text, dead)
	}
	return list
}
