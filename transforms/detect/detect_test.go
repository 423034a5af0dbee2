package detect_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/transforms/detect"
)

const all = detect.Email | detect.Phone | detect.Card | detect.IP | detect.Credentials

// marks are put around what must be found in a text of a table.
const (
	opening = "‹"
	closing = "›"
)

// marked returns text with marks around what is found in it.
func marked(text string, kinds detect.Kind) string {
	var b strings.Builder
	at := 0
	for _, m := range detect.Append(nil, []byte(text), kinds) {
		b.WriteString(text[at:m.From] + opening + text[m.From:m.To] + closing)
		at = m.To
	}
	b.WriteString(text[at:])
	return b.String()
}

// check holds texts with marks against what is found in them without, looking for
// one kind alone.
func check(t *testing.T, kind detect.Kind, texts []string) {
	t.Helper()
	for _, want := range texts {
		text := strings.NewReplacer(opening, "", closing, "").Replace(want)
		if got := marked(text, kind); got != want {
			t.Errorf("%s:\n have %s\n want %s", kind, got, want)
		}
	}
}

func TestEmail(t *testing.T) {
	check(t, detect.Email, []string{
		"‹ann@example.com›",
		"write to ‹ann.lee+news@mail.example.co.uk›.",
		"(‹ann@example.com›), '‹o'neil@example.ie›', <‹a_b-c@x-y.org›>; \"‹ann@example.com›\"",
		"<a href=\"mailto:‹ann@example.com›?subject=x\">‹ann@example.com›</a>",
		"‹ann@example.com›,‹bob@example.com›;‹cy@example.com›",
		"‹ann@example.com›! ‹ann@example.com›? ‹ann@example.com›: ‹ann@example.com›-",
		"**‹ann@example.com›** - ‹ann@example.com› -‹ann@example.com›",
		"to=‹ann@example.com›&x=1 and ?to=‹ann%40example.com›&x=1 and %20‹ann@example.com›",
		"/‹ann@example.com›/ {‹ann@example.com›}",
		"邮箱是‹ann@example.com›谢谢",
		"อีเมล‹ann@example.com›ครับ",
		"‹用户@例子.广告›",
		"‹jürgen@bücher.example›, ‹ann@xn--bcher-kva.xn--p1ai›, ‹почта@пример.рф›",
		"wait...‹ann@example.com›... and wait..‹ann@example.com›",
		"‹r&d@example.com› ‹bounces+ann=example.org@example.com› x=1&‹ann@example.com› &lt;‹ann@example.com›&gt;",
		"‹123456@163.com› ‹user@host.local›",
		"‹ann@example.com›.5 ‹ann@example.com›.x1 ‹ann@example.com›123 ‹ann@example.com›-thanks ‹ann@aws1.example›",
		"‹" + strings.Repeat("a", 64) + "@example.com›",
		strings.Repeat("a", 65) + "@example.com",
		"a@b @b.com a@ a@b.c @ a@.com a@-b.com a@b..com ann@example.",
		"ann@localhost, pkg@1.2.3, icon@2x.png, me @ home.com, ann@[10.0.0.1]",
		"@ann and 3@5",
	})
}

func TestCard(t *testing.T) {
	check(t, detect.Card, []string{
		"‹4111111111111111›",
		"my card is ‹4111 1111 1111 1111›, thanks",
		"‹4111-1111-1111-1111› exp 12/27 cvv 123",
		"‹4111 1111 1111 1111› 123",
		"‹5555555555554444› ‹2223003122003222› ‹378282246310005› ‹3782 822463 10005› ‹30569309025904› ‹3056 930902 5904›",
		"‹6011111111111117›,‹3530111333300000›;‹6200000000000005›.",
		"‹4222222222222›",
		"card:‹4111111111111111› card=‹4111111111111111› #‹4111111111111111› (‹4111111111111111›)",
		"‹4111.1111.1111.1111›, 378282.246310.005",
		"卡号‹4111111111111111›。",
		"‹4111\u00a01111\u00a01111\u00a01111›",
		"4111111111111112 and 4111 1111 1111 1112",
		"1111111111111117 9111111111111119",
		"94111111111111111 41111111111111110",
		"AB4111111111111111 4111111111111111AB ORDER-4111111111111111 4111111111111111-01 0.4111111111111111 x_4111111111111111",
		"4111  1111  1111  1111 and 4111 1111-1111 1111 and 4 111111111111111",
		"4111111111111111@example.com",
		"1600000000000 1700000000000000",
		"00000000-4111-1111-1111-111111111111",
	})
}

func TestIP(t *testing.T) {
	check(t, detect.IP, []string{
		"‹192.168.0.1› ‹8.8.8.8›:53 ‹10.0.0.0›/8 (‹127.0.0.1›) [‹255.255.255.255›].",
		"http://‹10.0.0.1›:8080/x ssh root@‹10.0.0.1› ip=‹10.0.0.1›,‹10.0.0.2› ‹10.0.0.1›-‹10.0.0.9›",
		"地址‹10.0.0.1›。",
		"256.1.1.1 1.2.3 1.2.3.4.5 1.2.3.999 01.02.03.04 1.2.3.4a v1.2.3.4 1..2.3.4 0.1.2.3.4",
		"Chrome/99.0.48.12 lib-1.2.3.4 1.2.3.4-rc1 10.0.0.1@example.com 1.2.3.4.zip version 1.2.3.4, Version: 1.2.3.4",
		"‹2001:db8::1› ‹2001:0db8:0000:0000:0000:0000:0000:0001› ‹fe80::1%eth0›. ‹::1› ‹::ffff:192.0.2.1› ‹64:ff9b::192.0.2.33›",
		"[‹2001:db8::1›]:443 ‹2001:db8::›/32 ‹FE80::A1B2›: down, http://[‹2001:db8::2›]/ ‹fe80::1%25en1›",
		"‹1:2:3:4:5:6:7:8› ‹a:b:c:d:e:f:1:2222›",
		"12:30:45 12:30 00:1a:2b:3c:4d:5e 00:11:22:33:44:55:66:77 std::vector a::b dead::beef ab::c1 :: x::1 foo::bar2",
		"2001:db8::1::2 1:2:3:4:5:6:7:8:9 1:2:3:4::5:6:7:8 12345::1 2001:db8::g 1:2:3:4:5:6:7",
		"2024-01-15T10:30:00.123+01:00",
	})
}

func TestCredentials(t *testing.T) {
	check(t, detect.Credentials, []string{
		"https://‹ann:pw›@example.com/ and https://‹ghp_abc›@github.com/x.git, postgres://‹u:p@ss›@db:5432/x, redis://‹:pw›@h",
		"https://example.com/@ann https://example.com/?q=ann@example.com mailto:ann@example.com ann:pw@example.com",
		"https://example.com/?a=1&Token=‹abc›&b=2#key=‹x›",
		"https://example.com/cb#access_token=‹abc.def-ghi_›, then",
		"https://example.com/?apiKey=‹abc›. https://example.com/?x-authorization=‹Basic+abc==›",
		"https://example.com/a;jsessionid=‹0A1B›/b?SESSION_ID=‹1›&cookie=‹2›&PASSWORD=‹3›&client_secret=‹4›&keys=‹5›",
		"https://example.com/?%74oken=‹abc%26d›&%54%4f%4b%45%4E=‹x›",
		"https://example.com/?next=https%3A%2F%2Fother%2F%3Ftoken%3D‹abc›%26x%3D1&y=2",
		"https://example.com/?next=%252Fa%253Fkey%253D‹abc›%2526x%253D1",
		"(https://example.com/?key=‹abc›) '[https://example.com/?key=‹abc›]' <https://example.com/?key=‹abc›> \"https://example.com/?key=‹abc›\"",
		"((https://example.com/?key=‹abc›)-x) 'https://example.com/?key=‹abc›'+x [https://example.com/?key=‹abc›](x)",
		"href='https://example.com/?a=1&amp;key=‹abc›&amp;b=2'>",
		"https://example.com/?key=&token=&a=b https://***@example.com/?key=*** https://example.com/?token",
		"https://web.archive.org/2020/https://‹u:p›@example.com/?key=‹abc›",
		"https://‹u:p=w›@例え.jp/?key=‹abc›",
		"看https://example.com/?key=‹abc›。谢谢",
		"jdbc:sqlserver://host:1433;user=sa;password=‹pw›;x=1",
		"token=abc ?token=abc : // x:/token=abc",
	})
}

func TestCompeting(t *testing.T) {
	for text, want := range map[string]string{
		"https://ann:pw@example.com/":                    "https://‹ann:pw›@example.com/",
		"https://x.org/?key=ann@example.com&to=b@x.org":  "https://x.org/?key=‹ann@example.com›&to=‹b@x.org›",
		"https://x.org/?token=10.0.0.1":                  "https://x.org/?token=‹10.0.0.1›",
		"4111 1111 1111 1111":                            "‹4111 1111 1111 1111›",
		"07700 4111 1111 1111 1111":                      "07700 ‹4111 1111 1111 1111›",
		"call 192.168.100.200":                           "call ‹192.168.100.200›",
		"07700900123@example.com":                        "‹07700900123@example.com›",
		"a@b.com 07700 900123 4111111111111111 10.0.0.1": "‹a@b.com› ‹07700 900123› ‹4111111111111111› ‹10.0.0.1›",
	} {
		if got := marked(text, all); got != want {
			t.Errorf("have %s\nwant %s", got, want)
		}
	}
}

// Only what was asked for is found, and nothing is taken for another kind because
// its own was not asked for.
func TestKindsAlone(t *testing.T) {
	text := []byte("a@b.com 07700 900123 4111111111111111 192.168.100.200 https://u:p@h/")
	for i, name := range detect.Names {
		kind := detect.Kind(1) << i
		found := detect.Append(nil, text, kind)
		if len(found) != 1 || found[0].Kind != kind {
			t.Errorf("%s: have %v", name, found)
		}
	}
	if found := detect.Append(nil, text, 0); found != nil {
		t.Errorf("nothing was asked for, have %v", found)
	}
}

func TestNames(t *testing.T) {
	for i, name := range detect.Names {
		kind, ok := detect.ParseKind(name)
		if !ok || kind != 1<<i || kind.String() != name {
			t.Errorf("%s: have %d, %v, %s", name, kind, ok, kind)
		}
	}
	if kind, ok := detect.ParseKind("mail"); ok || kind != 0 {
		t.Errorf("mail: have %d, %v", kind, ok)
	}
	for _, none := range []detect.Kind{0, detect.Email | detect.IP, 1 << 7} {
		if none.String() != "" {
			t.Errorf("%d: have %q", uint8(none), none)
		}
	}
}

// dst is used, and what is in it stays.
func TestAppendReuses(t *testing.T) {
	text := []byte("a@b.com and c@d.com")
	before := detect.Match{Kind: detect.IP, From: 1, To: 2}
	dst := make([]detect.Match, 1, 8)
	dst[0] = before
	found := detect.Append(dst, text, all)
	if len(found) != 3 || found[0] != before || &found[0] != &dst[0] {
		t.Errorf("have %v", found)
	}
	if n := testing.AllocsPerRun(100, func() { found = detect.Append(found[:0], text, all) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// However a text is built, the time that it takes grows with its size only: a
// quarter of a megabyte takes some milliseconds, and would take minutes otherwise.
func TestLinear(t *testing.T) {
	for _, piece := range []string{
		"@", "a@", "a@b.", "a&", "+a=", "://", "x://a@", "%25", "%2525?", "1", "1 ", "1.", "1:", "::", "f:", "+1", "(1", "0 ", "123 ", "4111 ", "?key=", "a://?&", "x://a;", "é", "tel ", "1电 ",
	} {
		began := time.Now()
		text := []byte("x://" + strings.Repeat(piece, 1<<18/len(piece)))
		detect.Append(nil, text, all)
		detect.Append(nil, text[4:], all)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%q: took %v", piece, took)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	chat := strings.Repeat("Hello, thanks for your message. Could you tell me a little more about what went wrong with the parcel, please? ", 4)
	json := []byte(strings.Repeat(`{"id":"5f1c9a0e-7b1d-4c57-9a52-0c1de1a2b3c4","time":"2026-01-15T12:00:00.000Z","text":"ok, tomorrow at 17:00","n":1768478400,"url":"https://example.com/a/b?c=1"},`, 8))[:1024]
	full := strings.Repeat("ann@example.com 4111 1111 1111 1111 +44 20 7946 0018 10.0.0.1 https://u:p@example.com/?token=abc ", 10)
	for _, c := range []struct {
		name string
		text []byte
	}{
		{"chat", []byte(chat)},
		{"json", json},
		{"full", []byte(full)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			found := detect.Append(nil, c.text, all)
			for b.Loop() {
				found = detect.Append(found[:0], c.text, all)
			}
		})
	}
	b.Run("memchr", func(b *testing.B) { // to compare chat with
		b.SetBytes(int64(len(chat)))
		text := []byte(chat)
		for b.Loop() {
			if bytes.IndexByte(text, '@') >= 0 {
				b.Fatal("there is one")
			}
		}
	})
}
