package feedyou

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// In these, what is to be masked stands between < and >.
var headerCases = []string{
	`{"Content-Type":"a","Authorization":"<Bearer x>","COOKIE":"<a=b; c=d>","x-api-KEY":"<k>","X-Auth-Token":"<>"}`,
	`{"Client-Secret":"<a\"b\\>","password":"<p>","mySessionId":"<s>","Accept":"token","Via":"key: <token>"}`,
	`{ "Author\u0069zation" : "<x>" , "to` + "\u212a" + `en":"<x>","pa\u017fsword":"<x>"}`,
	`{"Cookie":<["a","b"]>,"Token":<12>,"Key":<{"a":1}>,"secret":<null>,"Session":<true>}`,
	`{"Accept":["a","b"],"headers":{"Authorization":"<x>"},"list":[["Cookie","<x>"],{"name":"Cookie","value":"<x>"}]}`,
	`[["Content-Type","a"],["Authorization","<x>"],["Cookie",<["a"]>],["Accept","key"]]`,
	`["Content-Type","token","Authorization","<x>","Cookie",<1>]`,
	`["Content-Type: a","authorization: <Bearer x>"]`,
	`[{"name":"Content-Type","value":"a"},{"value":"<x>","name":"Cookie"},{"Key":"Set-Cookie","Value":<["x"]>},{"key":"Accept","value":"b"}]`,
	`[["\"token","<x>"],["a:token","<x>"],["Cookie: <x>","<y>"]]`,
	`[{"Authorization":"<x>"},{"Accept":"b"}]`,
	`"Content-Type: a\nAuthorization: <Bearer x>\r\nX-Key:<k>\nAccept: b\n"`,
	`"Authorization : <x\n  y\n\tz>  \nAccept: b"`,
	`":authority: host\nCookie:   <a=b>"`,
	`"Authorization:<>\nAccept: a"`,
	`"{\"Accept\":\"a\",\"Authorization\":\"<Bearer x>\",\"Cookie\":<[\"a\"]>}"`,
	`" [[\"Auth\\u006frization\",\"<x\\\"y>\"]]\n"`,
	`"[{\"key\":\"Accept\",\"value\":\"a\"},{\"key\":\"token\",\"value\":\"<x>\"}]"`,
	`"\"{\\\"Cookie\\\":<[1]>}\""`,
	`"{\"Cookie\":\"<x>\",\"Cookie\":\"<y>\"}"`,
	`"<{\"Accept\":\"a\",\"Authorization\":\"Bearer x>"`,
	// A line that is indented is a header of its own, or goes on with the one before.
	`"  Authorization: <Bearer x>"`, `"\tCookie: <x>"`, `"\u00a0Authorization: <x>"`, `"\ufeff{\"Authorization\":<\"x\"}>"`,
	`"Headers:\n  Authorization: <Bearer x>\n  Accept: a\n  Cookie: <y>"`,
	`"Accept: */*\n  Authorization: <Bearer x\n   Accept: y\n z>\n Accept: b"`,
	`["Accept: x\n Authorization: <x>"]`, `"Authorization:<\n Bearer x\n x>\nAccept: a"`,
	// Headers in what looks like the value of another one.
	`{"headers":"Authorization: <x>"}`, `{"raw":"Accept: a\r\nAuthorization: <x>\r\n"}`, `{"Accept":["a","Authorization: <x>"]}`,
	`{"headers":"{\"Cookie\":<[1]>}"}`, `{"a":{"b":"Accept: a\nX-Key: <x>"}}`,
	`"headers: {\"Authorization\":<\"x\"}>"`, `"headers: {\"\\u0054oken\":<\"x\"}>"`, `"headers: {\"api.token\": <\"x\"}>"`, `"Accept: a, api.token: <x>"`,
	`"Accept: */*, Authorization: <x>"`, `"Accept: */*; Authorization: <x>"`, `"Accept: x\u2028Authorization: <x>"`,
	`"Authorization=<Bearer x>"`, `["Authorization=<x>","b"]`, `"a=b token c: <x>"`, `{"Referer":"https://h/?a=1&to%6ben=<x>"}`,
	`[{"k":"Authorization","v":"<x>"},{"n":"Accept","v":"b"},{"field":"Cookie","content":<["x"]>},{"name":"Cookie: <x>","value":"<y>"}]`,
	// What is no credential.
	`{"Host":"keycloak.example.com:8443","Origin":"https://monkey:80","Vary":"Cookie","Accept":"a/token;q=1","Date":"session at 12:30","Keep-Alive":"timeout=5"}`,
	`"Host: keycloak.example.com:8443\nAccess-Control-Allow-Headers: Cookie, X-Token\nAccept: a"`,
	`"{\"Accept\":\"a"`, `"no header at all"`, `""`, `null`, `5`, `[]`, `{}`, `[[],{},null]`,
}

func TestHeadersAreMasked(t *testing.T) {
	for _, c := range headerCases {
		clear := strings.NewReplacer("<", "", ">", "").Replace(c)
		want := ""
		for i, part := range strings.Split(strings.ReplaceAll(c, ">", "<"), "<") {
			if i%2 == 0 {
				want += part
				continue
			}
			want += maskedAs(want, part)
		}
		checkMasked(t, `{"a":1, "requestHeaders" : `+clear+`,"url":"https://h/"}`, `{"a":1, "requestHeaders" : `+want+`,"url":"https://h/"}`)
	}
}

// JSON that was cut is no name of a header, wherever it stands.
func TestCutHeadersAreMasked(t *testing.T) {
	checkMasked(t, `{"requestHeaders":["{\"Authorization\":\"Bearer x","[\"Cookie\",\"x","\"token: x","Accept: a",["[\"Key\",\"x","y"]]}`,
		`{"requestHeaders":["***","***","***","Accept: a",["***","***"]]}`)
	checkMasked(t, `{"requestHeaders":{"a":"{\"Cookie\":\"x","b":"{\"c"}}`, `{"requestHeaders":{"a":"***","b":"{\"c"}}`)
}

// Two names that hold credentials may be one when they are masked, so that all of
// what has such a name is masked.
func TestCredentialsInNamesAreMasked(t *testing.T) {
	for clear, want := range map[string]string{
		`{"Authorization: Bearer x":"","Accept":"a"}`:                     `"***"`,
		`{"Cookie: x":1,"Cookie: y":2}`:                                   `"***"`,
		`{"a":{"Accept: a\ntoken=x":[]},"b":"c"}`:                         `{"a":"***","b":"c"}`,
		`[{"https://h/?token=x":null},{"{\"Key\":\"x\"}":1}]`:             `["***","***"]`,
		`"{\"Authorization: x\":\"y\"}"`:                                  `"\"***\""`,
		`{"Cookie:":"x",":Authorization":"y","Accept: a":"b","12:30":""}`: `{"Cookie:":"***",":Authorization":"***","Accept: a":"b","12:30":""}`,
	} {
		checkMasked(t, `{"requestHeaders":`+clear+`}`, `{"requestHeaders":`+want+`}`)
	}
	checkMasked(t, `{"url":{"https://u:p@h":"a"}}`, `{"url":"***"}`)
	checkMasked(t, `{"url":{"https://h/":"a","token=x":"b"}}`, `{"url":"***"}`)
}

// maskedAs writes the mask as it has to stand behind a text: in the quotes that
// are there, or in new ones where another value was.
func maskedAs(before, value string) string {
	if value == "" || strings.IndexByte(`[{0123456789`, value[0]) < 0 && value != "null" && value != "true" {
		return "***"
	}
	switch { // the quotes of the layer that the value is in
	case strings.HasSuffix(before, `\\\":`):
		return `\\\"***\\\"`
	case strings.HasSuffix(before, `\":`):
		return `\"***\"`
	case before == `"`: // not read at all
		return "***"
	}
	return `"***"`
}

func TestAddressesAreMasked(t *testing.T) {
	for _, c := range []struct{ clear, want, host string }{
		{"https://h/p?a=1&b=2#c", "https://h/p?a=1&b=2#c", "h"},
		{"https://user:pw@H:80/p?Api_Key=x&a=token", "https://***@H:80/p?Api_Key=***&a=token", "h"},
		{"https://user@h", "https://***@h", "h"},
		{"https://u:p@q@[::1]:8080/", "https://***@[::1]:8080/", "[::1]"},
		{"https://u:p/w@h/?a=1", "https://***@h/?a=1", "h"},
		{"//u:p@h/p", "//***@h/p", "h"},
		{"u:p@h/p?key=1", "***@h/p?key=***", ""},
		{"/p@q/r?a=b@c", "/p@q/r?a=b@c", ""},
		{" https://u:p@h", " https://***@h", "h"},
		{"\n//u:p@h/p", "\n//***@h/p", "h"},
		{"GET https://u:p@H/?key=x", "GET https://***@H/?key=***", "h"},
		{"\ufeffhttps:///u:p@h", "\ufeffhttps:///***@h", "h"},
		{"/p/https://x/q?key=y", "/p/https://x/q?key=***", ""},
		{"/token=x/https://y", "/token=***/https://y", ""},
		{"https://h/?a=1&token,;=x&b=1;key,=y", "https://h/?a=1&token,;=***&b=1;key,=***", "h"},
		{"u:p@h/https://x?a", "***@h/https://x?a", ""},
		{"https://h/token=x/p", "https://h/token=***/p", "h"},
		{"https://h/?a=1,token=x", "https://h/?a=1,token=***", "h"},
		{"https://h/?a=1 token=x|b", "https://h/?a=1 token=***", "h"},
		{"https://h/?r=https%3A%2F%2Fx%3Ftoken%3Dy&b=1", "https://h/?r=***&b=1", "h"},
		{"https://h/?q=token%3Dx&r=a%3Db", "https://h/?q=***&r=a%3Db", "h"},
		{"https://h/?%2574oken=x&b%25=1", "https://h/?%2574oken=***&b%25=1", "h"},
		{"?token=x", "?token=***", ""},
		{"token=x", "token=***", ""},
		{"https://h/?a=1;key=2&b=3", "https://h/?a=1;key=***&b=3", "h"},
		{"https://h/?to%6ben=x%26y&tok%zzen=1&TO%4BEN=", "https://h/?to%6ben=***&tok%zzen=1&TO%4BEN=***", "h"},
		{"https://h/?a=b=key=c", "https://h/?a=b=key=c", "h"},
		{"https://h/#access_token=x&state=1", "https://h/#access_token=***&state=1", "h"},
		{"https://h/#/p?session=x", "https://h/#/p?session=***", "h"},
		{"https://h/?token:x&a:b=c", "https://h/?token:***&a:b=c", "h"},
		{"https://h/#a=b&Session:x:y", "https://h/#a=b&Session:***", "h"},
		{"https://h/?r=https://x/?token:y&z=1", "https://h/?r=https://x/?token:***&z=1", "h"},
		{"https://h/?q=token%3Ax", "https://h/?q=***", "h"},
		{"https://h/v1/keys:list?r=https://monkey:80/&s=a:key:b&t=12:30", "https://h/v1/keys:list?r=https://monkey:80/&s=a:key:b&t=12:30", "h"},
		// An address inside the address.
		{"https://h/?r=https://u:p@x/y&b=a@b", "https://h/?r=https://***@x/y&b=a@b", "h"},
		{"https://h/?r=//u@x&s=ftp:\\u:p@x", "https://h/?r=//***@x&s=ftp:\\***@x", "h"},
		{"https://h/?r=https://u:p/w@x/?key=y", "https://h/?r=https://***@x/?key=***", "h"},
		{"https://h/?r=https://a?b=https://u:p@x", "https://h/?r=https://a?b=https://***@x", "h"},
		{"https://h/?r=https://u;token=p@x", "https://h/?r=https://***", "h"},
		{"https://h/?r=https%3A%2F%2Fu%3Ap%40x%2Fy&b=1", "https://h/?r=***&b=1", "h"},
		{"https://h/?r=https%253A%252F%252Fu%253Ap%2540x", "https://h/?r=***", "h"},
		{"https://h/?//u:p@akey=x&//u:p@b//v:q@akey=x", "https://h/?//***@akey=***&//***@b//***@akey=***", "h"},
		// Escapes may hide where a name ends.
		{"https://h/?//tok@x%41=b&%2F%2Ftok%40x=b&a%3Dtoken%3Dx=b", "https://h/?***&***&***", "h"},
		{"https://h/?a%3D//tok@x%41=b&a%253Dkey%253Dx=b&a%253Db%253Dx=b", "https://h/?***&***&a%253Db%253Dx=b", "h"},
		// One that is escaped may stand before one that is not.
		{"https://h/?r=https%3A%2F%2Fu%3Ap%40x/?token=y&s=1", "https://h/?r=***?token=***&s=1", "h"},
		{"https://h/?r=a%26key%3Dx,token=y&s=a%26b,token=y", "https://h/?r=***,token=***&s=a%26b,token=***", "h"},
		{"https://h/?r=https://u:p@x/y%26key%3Dx/a?token=y", "https://h/?r=***?token=***", "h"},
		{"https://h/https://u:p@x/y?a=b", "https://h/https://***@x/y?a=b", "h"},
		{"https://h/https://u;v:p@x/t;key=y", "https://h/https://***@x/t;key=***", "h"},
		{"https://h/p/http:/u:p@x/", "https://h/p/http:/***@x/", "h"},
		{"https://h/https%3A%2F%2Fu%3Ap%40x/y", "https://h/***/y", "h"},
		{"https://h/#https://u:p@x", "https://h/#https://***@x", "h"},
		{"https://h/~a:b@c/d?r=https://x/a@b&s=a@b", "https://h/~a:b@c/d?r=https://x/a@b&s=a@b", "h"},
		{"https://h/?r=https://x/?token=y&z=1", "https://h/?r=https://x/?token=***&z=1", "h"},
		{"https://h/p;jsessionid=x/q;a=b?c", "https://h/p;jsessionid=***/q;a=b?c", "h"},
		{"https://h?password=x#key=y", "https://h?password=***#key=***", "h"},
		{"https:\\\\u:p@h\\x", "https:\\\\***@h\\x", "h\\x"},
		{"https://", "https://", ""}, {"", "", ""}, {"key", "key", ""}, {"?", "?", ""}, {"#", "#", ""}, {"?&=&key", "?&=&key", ""},
		{"https://h/?token=příliš&q=ž", "https://h/?token=***&q=ž", "h"},
	} {
		quote := func(s string) string { b, _ := jsontext.AppendQuote(nil, s); return string(b) }
		record := checkMasked(t, `{"url":`+quote(c.clear)+`}`, `{"url":`+quote(c.want)+`}`)
		if c.host != "" && !bytes.Contains(record.Members, []byte(`"host":`+quote(c.host))) || c.host == "" && bytes.Contains(record.Members, []byte(`"host"`)) {
			t.Errorf("the host of %s in %s", c.clear, record.Members)
		}
		// However it is escaped, all else stays as it came.
		escaped := func(s string) string {
			s = strings.ReplaceAll(quote(s), "/", `\/`)
			return strings.NewReplacer("t", `\u0074`, "ž", `\u017e`, "&", `\u0026`).Replace(s)
		}
		checkMasked(t, `{"url":`+escaped(c.clear)+`,"requestHeaders":["token",1]}`, `{"url":`+escaped(c.want)+`,"requestHeaders":["token","***"]}`)
	}
}

// An address in parts is shown in the record alone.
func TestAddressesThatAreNoTextAreMasked(t *testing.T) {
	for clear, want := range map[string]string{
		`["https://u:p@h/?token=x","h/p?key=x","b"]`:                                                           `["https://***@h/?token=***","h/p?key=***","b"]`,
		`{"href":"https://h/?a=1&token=x","b":1}`:                                                              `{"href":"https://h/?a=1&token=***","b":1}`,
		`{"host":"h","query":[{"key":"a","value":"b"},{"key":"token","value":"x"}],"auth":{"password":["x"]}}`: `{"host":"h","query":[{"key":"a","value":"b"},{"key":"token","value":"***"}],"auth":{"password":"***"}}`,
		`[["token","x"],["a","b"]]`:                                                                            `[["token","***"],["a","b"]]`,
		`[5,null,{}]`:                                                                                          `[5,null,{}]`,
	} {
		record := checkMasked(t, `{"url":`+clear+`}`, `{"url":`+want+`}`)
		if bytes.Contains(record.Members, []byte(`"host"`)) {
			t.Errorf("%s has a host: %s", clear, record.Members)
		}
	}
}

// What is deeper than anyone writes headers is not looked into, so that the work
// does not grow with the depth: it is masked whole, if it may hold a credential.
func TestDepth(t *testing.T) {
	nest := func(n int, value string) string {
		return strings.Repeat("[", n) + value + strings.Repeat("]", n)
	}
	for _, c := range []struct{ clear, want string }{
		{nest(maxDepth-1, `{"Cookie":"x","a":"b"}`), nest(maxDepth-1, `{"Cookie":"***","a":"b"}`)},
		{nest(maxDepth, `{"Cookie":"x","a":"b"}`), nest(maxDepth, `"***"`)},
		{nest(maxDepth, `{"C\u006fokie":"x","a":"b"}`), nest(maxDepth, `"***"`)},
		{nest(maxDepth, `{"a":"b"}`), nest(maxDepth, `{"a":"b"}`)},
		{nest(900, `"Cookie: x"`), nest(maxDepth, `"***"`)},
		{nest(900, `"x"`), nest(900, `"x"`)},
		{quoted(nest(9900, `"Cookie: x"`)), quoted(nest(maxDepth, `"***"`))},
		{quoted(nest(9900, `"x"`)), quoted(nest(9900, `"x"`))},
		{nest(maxDepth-2, quoted(nest(3, `"Cookie: x"`))), nest(maxDepth-2, quoted(nest(2, `"***"`)))},
	} {
		checkMasked(t, `{"requestHeaders":`+c.clear+`}`, `{"requestHeaders":`+c.want+`}`)
	}
}

// BenchmarkDepth masks a megabyte: what a byte takes does not depend on the depth
// where it stands.
func BenchmarkDepth(b *testing.B) {
	for _, depth := range []int{1, maxDepth, 900, 9900} {
		for _, word := range []string{"x", "Cookie: x"} {
			raw := strings.Repeat("[", depth) + `"` + word + strings.Repeat("x", 1<<20) + `"` + strings.Repeat("]", depth)
			if depth > 900 {
				raw = quoted(raw)
			}
			raw = `{"requestHeaders":` + raw + `}`
			b.Run(fmt.Sprintf("%d/%.1s", depth, word), func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				for b.Loop() {
					var f connectors.Fields
					if r := mapOne("integrationLog", raw, &f); r.Dead != nil {
						b.Fatal(r.Dead)
					}
				}
			})
		}
	}
}

// checkMasked maps a call and compares what is shown of it.
func checkMasked(t *testing.T, clear, want string) events.Record {
	t.Helper()
	var f connectors.Fields
	record := mapOne("integrationLog", clear, &f)
	if record.Dead != nil {
		t.Fatalf("%s: %+v", clear, record.Dead)
	}
	if clear == want && record.Masked != nil {
		t.Errorf("%s: nothing is to be masked, and it is %s", clear, record.Masked)
	}
	if got := string(shown(record)); got != want {
		t.Errorf("of %s\n got %s\nwant %s", clear, got, want)
	}
	return record
}

// shown is the record's text as it may be read.
func shown(record events.Record) []byte {
	if record.Masked != nil {
		return record.Masked
	}
	return record.Raw
}
