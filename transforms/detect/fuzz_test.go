package detect_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/millrace-io/millrace/transforms/detect"
)

// hidden is what the found places are replaced with to look again.
const hidden = "***"

func FuzzAppend(f *testing.F) {
	for _, text := range []string{
		"", "a@b.cz", "write to ann@example.com or call (020) 7946 0018, +1 (415) 555-2671", "4111 1111 1111 1111 and 10.0.0.1 or fe80::1%eth0",
		"https://u:p@example.com/?a=1&token=abc#key=x", "x://%2525?key%3D=1", "电话是010-85001234,01085001235。", "用户@例子.广告", "\xff\xfe@\x80.\xc2",
		"call a@b.cz(5550123)", "1.2.3.4.5:6::7", "tel:+442079460018/+442079460019", "://=u:p@用户?token=[13812345678[",
	} {
		f.Add([]byte(text), "", byte(all))
	}
	for i := range fragments {
		f.Add([]byte{byte(i), byte(i * 7), byte(i * 3), byte(i * 11), byte(i * 5), byte(i * 13)}, "x", byte(all)|woven)
	}
	f.Fuzz(func(t *testing.T, text []byte, behind string, kinds byte) {
		if kinds&woven != 0 {
			text = weave(text)
		}
		before := bytes.Clone(text)
		found := detect.Append(nil, text, all)
		wellFormed(t, text, found, all)
		some := detect.Kind(kinds) & all
		wellFormed(t, text, detect.Append(nil, text, some), some)
		if again := detect.Append(make([]detect.Match, 0, 4), text, all); !slices.Equal(found, again) || !bytes.Equal(before, text) {
			t.Errorf("%q: have %v, then %v", before, found, again)
		}
		hideAgain(t, text, found)
		for _, plant := range plantedBetween {
			whole := slices.Concat(text, []byte("\n"+plant.text+"\n"), []byte(behind))
			want := plant.at[0].Match
			want.From += len(text) + 1
			want.To += len(text) + 1
			if all := detect.Append(nil, whole, all); !slices.Contains(all, want) {
				t.Errorf("%q: have %v, want %v as well", whole, all, want)
			}
		}
	})
}

// woven is the bit of the kinds that says that each byte of the text stands for a
// fragment: so the target soon meets what almost is a match.
const woven = 1 << 7

var fragments = []string{
	"0", "1", "4", "00", "011", "020", "07700", "900123", "415", "555", "2671", "4111", "1111", "4111111111111111", "7946 0018", "9876543210", "13812345678", "777 123 456",
	"+", "+44", "%2B44", "(", ")", "（", "）", " ", "  ", "\n", "-", "–", " - ", ".", ",", ":", ";", "/", "//", "://", "https://", "?", "&", "#", "=", "%", "%40", "%26", "%3D", "%3f", "%25", "*", "**", "'", "\"", "<", ">", "[", "]", "\u00a0",
	"@", "a", "ann", "b.cz", "ann@example.com", "example.com", "é", "用户", "北京", "ольга", "ไทย", "_", "~", "x12", "ext 5", "10.0.0.1", "255", ".1", "::", "fe80::1", "2001:db8:", ":1:2", "%eth0",
	"token", "key=", "?token=", "&password=", ";session=", "%74oken=", "u:p@", "tel", "phone ", "call ", "order ", "电话", "订单", "version ", "€", "$", "元", "\xff", "\xe5", "2024-01-15", "12:30:45", "…", "。",
}

func weave(picks []byte) (text []byte) {
	for _, pick := range picks {
		text = append(text, fragments[int(pick)%len(fragments)]...)
	}
	return text
}

// TestWoven runs the properties over random texts of fragments, more than a short
// fuzzing does.
func TestWoven(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	picks := make([]byte, 12)
	for range 100_000 {
		for i := range picks {
			picks[i] = byte(random.IntN(len(fragments)))
		}
		text := weave(picks[:1+random.IntN(len(picks))])
		found := detect.Append(nil, text, all)
		wellFormed(t, text, found, all)
		hideAgain(t, text, found)
		if t.Failed() {
			return
		}
	}
}

// plantedBetween are found whatever is on the lines around them.
var plantedBetween = []planted{
	place("{x}", "ann.lee@example.com", plant{Match: detect.Match{Kind: detect.Email, To: 19}}),
	place("{x}", "+44 20 7946 0018", plant{Match: detect.Match{Kind: detect.Phone, To: 16}}),
	place("{x}", "4111 1111 1111 1111", plant{Match: detect.Match{Kind: detect.Card, To: 19}}),
	place("{x}", "10.0.0.1", plant{Match: detect.Match{Kind: detect.IP, To: 8}}),
	place("https://x.org/?token={x}", "abc", plant{Match: detect.Match{Kind: detect.Credentials, To: 3}}),
}

// wellFormed checks matches by themselves.
func wellFormed(t *testing.T, text []byte, found []detect.Match, kinds detect.Kind) {
	end := 0
	for _, m := range found {
		if m.From < end || m.To <= m.From || m.To > len(text) {
			t.Fatalf("%q: %v overlap, are empty or outside", text, found)
		}
		if m.Kind.String() == "" || m.Kind&kinds == 0 {
			t.Fatalf("%q: %v was not asked for", text, m)
		}
		end = m.To
		if !boundary(text, m.From) || !boundary(text, m.To) {
			t.Fatalf("%q: %v cuts a character", text, m)
		}
	}
}

// boundary says whether no valid character is around i.
func boundary(text []byte, i int) bool {
	for back := 1; back < utf8.UTFMax && back <= i; back++ {
		if r, size := utf8.DecodeRune(text[i-back:]); r != utf8.RuneError && size > back {
			return false
		}
	}
	return true
}

// hideAgain hides what was found and looks again: nothing may be found that takes
// in a byte of what was hidden. (What was the rest of a longer word before may be
// found beside it.)
func hideAgain(t *testing.T, text []byte, found []detect.Match) {
	var out []byte
	var hiddenAt []detect.Match
	at := 0
	for _, m := range found {
		out = append(append(out, text[at:m.From]...), hidden...)
		hiddenAt = append(hiddenAt, detect.Match{From: len(out) - len(hidden), To: len(out)})
		at = m.To
	}
	out = append(out, text[at:]...)
	for _, m := range detect.Append(nil, out, all) {
		for _, h := range hiddenAt {
			if m.From < h.To && h.From < m.To {
				t.Errorf("%q: %v; then in %q: %v", text, found, out, m)
			}
		}
	}
}
