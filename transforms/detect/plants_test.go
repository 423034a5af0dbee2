package detect_test

import (
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"github.com/millrace-io/millrace/transforms/detect"
)

// The forms that the quality is measured with. They were written down apart from
// the tables that the scanners were made with, and among them are some that the
// scanners give up on purpose: the figures tell of those too. In a form of a
// phone number # is any digit, N one of 2 to 9, M one of 6 to 9; in all others what
// is in braces is made up (see word).

var emailLocals = []string{
	"{w}", "{w}", "{w}.{w}", "{w}.{w}", "{w}_{w}{d}{d}", "{w}+{w}", "{w}.{w}+{w}{d}", "{W}{w}{d}{d}", "{w}-{w}", "{W}.{W}", "{d}{d}{d}{d}{d}{d}{d}{d}{d}", "x", "{w}é{w}", "ольга.{к}", "o'{w}", "{w}.x.{w}", "{w}{w}{w}{w}",
	"{w}&{w}", "bounce+{w}={w}.org",
}

var emailDomains = []string{
	"example.com", "{w}.io", "{w}.co.uk", "mail.{w}-{w}.de", "{w}.museum", "a.b.{w}.org", "{W}.COM", "163.com", "qq.com", "{w}{d}{d}.net", "xn--{w}-{d}{d}a.cz", "мир-{к}.рф", "{w}.中国", "münchen-{w}.de",
}

var phoneForms = []string{
	// International.
	"+44 7### ######", "+44 (0) 1### ######", "+44-1###-######", "+447#########", "0044 7### ### ###", "+1 N## N## ####", "+1N##N######", "+1 N##-N##-####", "001 N## N## ####",
	"+49 151 ########", "+49 (0)89 ######", "+49/30/#######", "+33 (0)1 ## ## ## ##", "+33.6.##.##.##.##", "+39 06 ########", "+34 6## ## ## ##", "+34-9##-###-###",
	"+31 6 ########", "+31 (0)20 ### ####", "+32 4## ## ## ##", "+41 79 ### ## ##", "+43 664 #######", "+46 70-### ## ##", "+47 4## ## ###", "+45 ## ## ## ##", "+358 40 #######",
	"+48 ### ### ###", "+48-22-###-##-##", "+420 2## ### ###", "+421 9## ### ###", "+36 30 ### ####", "+40 7## ### ###", "+30 69# ### ####", "+90 5## ### ## ##",
	"+7 9## ###-##-##", "+7(495)###-##-##", "+380 (67) ###-##-##", "+972-5#-###-####", "+971 5# ### ####", "+966 5########", "+20 10 ########", "+27 8# ### ####", "+234 80# ### ####", "+254 7## ######",
	"+91-M####-#####", "+91 M#########", "+91 22 #### ####", "+92 3## #######", "+86 10 #### ####", "+86-13#-####-####", "+852 9### ####", "+886 9## ### ###", "+81 3-####-####", "+81-90-####-####", "+82 10-####-####",
	"+65 9### ####", "+60 12-### ####", "+62 812-####-####", "+63 917 ### ####", "+66 8# ### ####", "+84 9# ### ## ##", "+61 4## ### ###", "+61 (0)2 #### ####", "+64 21 ### ####",
	"+52 55 #### ####", "+55 11 9####-####", "+55 (21) 9####-####", "+54 9 11 ####-####", "+56 9 #### ####", "+57 3## ### ####", "+51 9## ### ###",
	// National.
	"0208 N## ####", "07### ### ###", "07###-######", "07#########", "0161 ### ####", "(01632) ######", "(0161) ### ####",
	"N##.N##.####", "N## N## ####", "(N##) N## ####", "(N##)N##-####", "N##/N##-####", "1.N##.N##.####", "1 N## N## ####", "N##N######", "N##-####",
	"06-########", "06########", "01 ## ## ## ##", "0151/########", "0151-########", "089 / ######", "040-### ## ##", "04##/##.##.##", "08-### ### ##", "6## ### ###", "6## ## ## ##", "9## ## ## ##",
	"601 ### ###", "8(9##)###-##-##", "8 9## ### ## ##", "89#########", "010 #### ####", "021-########", "15#########", "15# #### ####", "400 ### ####", "03-####-####", "08#-###-####", "02 ### ####", "08########",
	"M#### #####", "M##-###-####", "M#########", "0M#########", "1800 ### ###", "04## ### ###", "(03) #### ####", "(11)9########", "21 9####-####", "55 #### ####",
	// National ones of eight digits, which nothing tells from an account.
	"9### ####", "4## ## ###", "## ## ## ##", "6#######",
}

// cardForms are a prefix, the number of digits, and the sizes of the groups.
var cardForms = []struct {
	prefix string
	digits int
	groups []int
	gap    string
}{
	{"4", 16, nil, ""}, {"4", 16, []int{4, 4, 4, 4}, " "}, {"4", 16, []int{4, 4, 4, 4}, "-"}, {"4", 13, nil, ""}, {"4", 19, []int{4, 4, 4, 4, 3}, " "},
	{"52", 16, []int{4, 4, 4, 4}, " "}, {"54", 16, nil, ""}, {"2300", 16, []int{4, 4, 4, 4}, "-"}, {"55", 16, []int{4, 4, 4, 4}, "\u00a0"}, {"51", 16, []int{4, 4, 4, 4}, "."},
	{"34", 15, []int{4, 6, 5}, " "}, {"37", 15, nil, ""}, {"37", 15, []int{4, 6, 5}, "-"}, {"37", 15, []int{4, 4, 4, 3}, " "},
	{"36", 14, []int{4, 6, 4}, " "}, {"300", 14, nil, ""}, {"6011", 16, []int{4, 4, 4, 4}, " "}, {"65", 16, nil, ""}, {"3530", 16, []int{4, 4, 4, 4}, " "},
	{"62", 16, []int{4, 4, 4, 4}, " "}, {"62", 19, nil, ""}, {"621", 19, []int{6, 13}, " "}, {"2202", 16, []int{4, 4, 4, 4}, " "}, {"50", 18, nil, ""}, {"6304", 13, nil, ""}, {"4", 16, []int{8, 8}, " "},
}

var ipForms = []string{
	"{b}.{b}.{b}.{b}", "{b}.{b}.{b}.{b}", "10.{b}.{b}.{b}", "192.168.{b}.{b}", "172.16.0.{b}", "{b}.0.0.1",
	"2001:db8::{h}", "2001:db8:{h}::{h}", "fe80::{h}:{h}:{h}:{h}", "2a00:{h}:{h}:{h}:{h}:{h}:{h}:{h}", "2001:0DB8:0000:{h}:0000:0000:0000:{h}", "fd00:{h}:{h}::1", "fe80::{h}%wlan0", "::ffff:{b}.{b}.{b}.{b}", "::{h}", "2a02:{h}::",
}

// urlForms are URLs; what is between the marks is the secret.
var urlForms = []string{
	"https://‹{w}:{s}›@{w}.org/", "ftp://‹{w}:{s}›@files.{w}.com/a.txt", "mongodb+srv://‹{w}:{s}›@db.{w}.net/x?retry=1", "https://‹{s}›@git.{w}.io/{w}.git", "amqps://‹{w}:{s}%40{w}›@mq:5671",
	"https://{w}.com/reset?token=‹{s}›", "http://{w}.com/a?b=1&access_token=‹{s}›&c=2", "https://{w}.com/#id_token=‹{s}›&state=1", "https://api.{w}.com/v1?api_key=‹{s}›", "https://{w}.com/?X-Amz-Security-Token=‹{s}›&x=1",
	"https://{w}.com/?SessionID=‹{s}›", "https://{w}.com/cart;jsessionid=‹{s}›?a=1", "https://{w}.com/login?user=ann&password=‹{s}›", "https://{w}.com/?client%5Fsecret=‹{s}›", "https://{w}.com/?%73ecret=‹{s}›&a=1",
	"https://{w}.com/?r=https%3A%2F%2F{w}.org%2F%3Fkey%3D‹{s}›%26a%3D1", "https://{w}.com/?Authorization=‹Bearer%20{s}›", "https://{w}.com/?cookie=‹{w}%3D{s}›#top", "wss://{w}.com/ws?key=‹{s}›", "https://{w}.com/?a[token]=‹{s}›",
	"//{w}.com/?token=‹{s}›",
}

// carriers are what a plant stands in, {x} in its place.
var carriers = []string{
	"{x}", "{x}", "{x}", "{x}", "{x}.", "{x},", "{x}!", "{x}?", "{x};", "({x})", "\"{x}\"", "'{x}'", "[{x}]", "<{x}>", "<b>{x}</b>", "<td>{x}</td>", "<p>{x}<br/>", "**{x}**", ": {x}", "- {x}", "{\"v\":\"{x}\"}", "是{x}。", "{x}\n", "…{x}…",
}

// ownCarriers are those that only one kind has.
var ownCarriers = map[detect.Kind][]string{
	detect.Email:       {"mailto:{x}", "<a href=\"mailto:{x}?subject=hi\">write</a>", "email:{x}", "{x}/", "e-mail={x}&a=1"},
	detect.Phone:       {"tel:{x}", "<a href='tel:{x}'>call</a>", "Phone: {x}", "mobile {x}", "电话{x}", "โทร {x}"},
	detect.Card:        {"card:{x}", "cc {x} 12/29", "{x} cvc 123", "<input value=\"{x}\">", "卡号{x}"},
	detect.IP:          {"ip={x}", "from {x} to", "[{x}]", "{x}/24"},
	detect.Credentials: {"<a href=\"{x}\">", "<a href='{x}'>", "[link]({x})", "<{x}|here>", "url={x} ok"},
}

// planter makes plants up, the same for the same seed.
type planter struct{ *rand.Rand }

func one[T any](p planter, of []T) T { return of[p.IntN(len(of))] }

// plant is a place where something has to be found, and the form that it has.
type plant struct {
	detect.Match
	form string
}

// planted is a text with its plants.
type planted struct {
	text string
	at   []plant
}

// make returns something of a kind, in its carrier.
func (p planter) make(kind detect.Kind) planted {
	carrier := one(p, carriers)
	if p.IntN(4) == 0 {
		carrier = one(p, ownCarriers[kind])
	}
	var form, what string
	switch kind {
	case detect.Email:
		form = one(p, emailLocals) + "@" + one(p, emailDomains)
		what = p.fill(form)
		form, _, _ = strings.Cut(form, "@")
	case detect.Phone:
		form = one(p, phoneForms)
		what = p.digits(form)
	case detect.Card:
		form, what = p.card()
	case detect.IP:
		form = one(p, ipForms)
		what = p.fill(form)
	case detect.Credentials:
		form = one(p, urlForms)
		what = p.fill(form)
	}
	if before, rest, ok := strings.Cut(what, opening); ok {
		secret, after, _ := strings.Cut(rest, closing)
		return place(carrier, before+secret+after, plant{detect.Match{Kind: kind, From: len(before), To: len(before) + len(secret)}, form})
	}
	return place(carrier, what, plant{detect.Match{Kind: kind, To: len(what)}, form})
}

// place puts what, with the plant in it, into the carrier.
func place(carrier, what string, in plant) planted {
	before, after, _ := strings.Cut(carrier, "{x}")
	in.From, in.To = in.From+len(before), in.To+len(before)
	return planted{before + what + after, []plant{in}}
}

// fill replaces the words in braces of a form.
func (p planter) fill(form string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(form, "{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, _ := strings.Cut(rest, "}")
		b.WriteString(p.word(name))
		form = after
	}
}

// digits replaces the signs for digits of a form.
func (p planter) digits(form string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '#':
			return rune('0' + p.IntN(10))
		case 'N':
			return rune('2' + p.IntN(8))
		case 'M':
			return rune('6' + p.IntN(4))
		}
		return r
	}, form)
}

// word makes up what stands in braces.
func (p planter) word(name string) string {
	pick := func(alphabet string, n int) string {
		runes := []rune(alphabet)
		var b strings.Builder
		for range n {
			b.WriteRune(runes[p.IntN(len(runes))])
		}
		return b.String()
	}
	switch name {
	case "w":
		return pick("bcdfghklmnprstvz", 1) + pick("aeiou", 1) + pick("abdegiklmnorst", 1+p.IntN(5)) + pick("aeiouy", 1)
	case "W":
		w := p.word("w")
		return strings.ToUpper(w[:1]) + w[1:]
	case "к":
		return pick("абвгдеклмнопрст", 3+p.IntN(5))
	case "d":
		return pick("0123456789", 1)
	case "b":
		return pick("123456789", 1) + pick("0123456789", p.IntN(2))
	case "h":
		return pick("123456789abcdef", 1) + pick("0123456789abcdef", p.IntN(3)) + pick("123456789", 1)
	case "s":
		return pick("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789-_", 7+p.IntN(30)) + pick("abcdefgh", 1)
	}
	panic("no such word: " + name)
}

// card makes up a card number, and tells its form.
func (p planter) card() (text, number string) {
	form := one(p, cardForms)
	text = form.prefix + strings.Repeat("#", form.digits-len(form.prefix))
	digits := []byte(form.prefix)
	for len(digits) < form.digits-1 {
		digits = append(digits, byte('0'+p.IntN(10)))
	}
	sum := 0
	for i, c := range digits {
		d := int(c - '0')
		if (form.digits-i)%2 == 0 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	digits = append(digits, byte('0'+(10-sum%10)%10))
	grouped := func(rest string) string {
		var parts []string
		for _, size := range form.groups {
			parts, rest = append(parts, rest[:size]), rest[size:]
		}
		if rest != "" {
			parts = append(parts, rest)
		}
		return strings.Join(parts, form.gap)
	}
	return grouped(text), grouped(string(digits))
}

// into puts a plant somewhere into a message, at its beginning, its end or between
// two words, or two letters of a script without spaces.
func (p planter) into(message, with planted) planted {
	var spots []int
	for i, r := range message.text {
		if inside(message.at, i) {
			continue
		}
		switch {
		case r == ' ', r == '\n', i == 0:
			spots = append(spots, i)
		case r >= utf8.RuneSelf && message.text[i-1] >= utf8.RuneSelf && r >= 0x0e00 && r < 0xa000 && (r > 0x3000 || r < 0x0e30):
			spots = append(spots, i)
		}
	}
	spots = append(spots, len(message.text))
	spot := one(p, spots)
	switch p.IntN(4) {
	case 0:
		spot = 0
	case 1:
		spot = len(message.text)
	}
	before, after := message.text[:spot], message.text[spot:]
	if spot > 0 && before[spot-1] < utf8.RuneSelf && before[spot-1] > ' ' {
		before += " "
	}
	behind := ""
	if after != "" && after[0] < utf8.RuneSelf && after[0] > ' ' {
		behind = " "
	}
	grown := len(before) + len(with.text) + len(behind) - spot
	made := planted{text: before + with.text + behind + after}
	for _, m := range message.at {
		if m.From >= spot {
			m.From, m.To = m.From+grown, m.To+grown
		}
		made.at = append(made.at, m)
	}
	for _, m := range with.at {
		m.From, m.To = m.From+len(before), m.To+len(before)
		made.at = append(made.at, m)
	}
	return made
}

// inside says whether a plant is around i: nothing else is put there.
func inside(plants []plant, i int) bool {
	for _, m := range plants {
		if m.From < i && i < m.To {
			return true
		}
	}
	return false
}
