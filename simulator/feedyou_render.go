package simulator

import (
	"strconv"
	"strings"
)

// feedyouTimes are the forms of the rows' times.
var feedyouTimes = []timeForm{
	unixSeconds, unixSeconds, secondsText, unixMillis, millisText,
	isoMillis, isoSeconds, isoLocal, isoFraction, isoTicks, isoOffset,
}

// feedyouRow is a row as it is written. The same dice write the same row.
type feedyouRow struct {
	w       *jsonWriter
	dice    dice
	seed    uint64
	user    *feedyouUser
	message message
	call    *call
	timed   bool     // the row names its user and its time
	form    timeForm // of the time
	masked  bool     // credentials are written as ***
	secrets []string // credentials that were written
}

// write writes the row of a stream.
func (r *feedyouRow) write(s feedyouStream) {
	w := r.w
	w.buf, w.ascii = w.buf[:0], false
	w.open('{')
	if r.timed {
		w.ascii = r.dice.oneIn(8)
		r.form = pick(&r.dice, feedyouTimes)
		w.member("userId", r.user.id)
		r.form.write(w, "timestamp", r.message.at)
	}
	switch s {
	case nlpLog:
		r.writeUnhandled()
	case outgoingEmail:
		r.writeEmail()
	case outgoingSms:
		r.writeSms()
	case fuzzyQuestionAnswerLog:
		r.writeAnswer()
	case integrationLog:
		r.writeIntegration()
	case urlTracker:
		r.writeClick()
	}
	if r.timed {
		renderOddities(w, &r.dice)
	}
	w.close('}')
}

func (r *feedyouRow) text() string { return r.message.content().Text }

// writeUnhandled writes what the bot did not understand. Without a user and a
// time, the same words at another time are the same row.
func (r *feedyouRow) writeUnhandled() {
	w := r.w
	w.key("result")
	switch r.dice.below(3) {
	case 0:
		w.text("none")
	case 1:
		w.open('{')
		w.member("text", r.text())
		w.memberRaw("intent", "null")
		w.memberRaw("score", pick(&r.dice, []string{"0.12", "0.31", "0"}))
		w.close('}')
	default:
		w.raw("null")
	}
	w.memberRaw("processed", pick(&r.dice, []string{"false", "false", `"false"`, "null"}))
	if r.timed {
		w.member("text", r.text())
	}
}

func (r *feedyouRow) writeEmail() {
	w, d := r.w, &r.dice
	w.member("body", pick(d, []string{"", "<p>"})+r.text())
	w.member("from", pick(d, []string{"bot@example.com", "Customer care <care@example.org>"}))
	r.writeRecipients(r.user.email(), "team@example.com")
	if d.oneIn(3) {
		w.member("replyTo", "care@example.org")
	} else {
		w.memberRaw("replyTo", "null")
	}
	w.member("stepId", "step-"+strconv.Itoa(d.below(40)))
	if d.oneIn(8) {
		w.memberRaw("subject", "null")
	} else {
		w.member("subject", pick(d, []string{"Your request", "Vaše žádost č. 42", "Chat transcript", "你的订单"}))
	}
}

// writeRecipients writes one recipient or several, in one of the ways that there
// are.
func (r *feedyouRow) writeRecipients(first, second string) {
	w := r.w
	w.key("recipients")
	switch r.dice.below(6) {
	case 0:
		w.text(first + ", " + second)
	case 1:
		w.text(first + ";" + second)
	case 2:
		w.open('[')
		for _, to := range []string{first, second} {
			w.next()
			w.text(to)
		}
		w.close(']')
	case 3:
		w.open('[')
		w.text(first)
		w.close(']')
	default:
		w.text(first)
	}
}

func (r *feedyouRow) writeSms() {
	w, d := r.w, &r.dice
	w.member("channel", pick(d, []string{"sms", "viber", "whatsapp"}))
	if d.oneIn(2) {
		w.member("link", pick(d, []string{"https://example.com/t/1", "https://example.com/t/2"}))
	} else {
		w.memberRaw("link", "null")
	}
	w.member("message", r.text())
	w.member("provider", pick(d, []string{"gosms", "twilio"}))
	if d.oneIn(3) { // to whoever is on duty
		w.member("recipients", "+420600000042")
	} else {
		r.writeRecipients(r.user.phone(), "+420600000042")
	}
}

func (r *feedyouRow) writeAnswer() {
	w, d := r.w, &r.dice
	w.member("intent", pick(d, []string{"opening_hours", "returns", "delivery", "human", "none"}))
	w.memberRaw("score", pick(d, []string{"0.93", "1", "0.5071428571428571", `"0.81"`, "8e-1", "null"}))
	w.member("text", r.text())
	w.member("stepId", "step-"+strconv.Itoa(d.below(40)))
	w.member("dialogId", pick(d, []string{"main", "faq", "handover"}))
	w.memberRaw("matched", pick(d, []string{"true", "true", "false", `"true"`}))
	w.key("otherClassifications")
	if d.oneIn(5) {
		w.raw("null")
		return
	}
	w.open('[')
	for i := range d.below(4) {
		w.next()
		w.open('{')
		w.member("intent", "other_"+strconv.Itoa(i))
		w.memberRaw("score", "0."+strconv.Itoa(1+d.below(98)))
		w.close('}')
	}
	w.close(']')
}

// feedyouPages are what the bot's buttons lead to.
var feedyouPages = []string{
	"shop.example.com/", "shop.example.com/returns?lang=cs", "shop.example.com/cart", "help.example.org/hours#friday",
	"help.example.org/kontakt/příští-týden", "www.example.net/app?utm_source=bot&utm_campaign=2026",
}

func (r *feedyouRow) writeClick() {
	page := pick(&r.dice, feedyouPages)
	domain, _, _ := strings.Cut(page, "/")
	r.w.member("domain", domain)
	r.w.member("url", "https://"+page)
}

func (u *feedyouUser) email() string { return u.nick() + "@example.net" }

func (u *feedyouUser) nick() string { return "user" + strconv.FormatUint(u.bits>>40, 36) }

func (u *feedyouUser) phone() string {
	return "+420" + strconv.FormatUint(700_000_000+u.bits>>20%100_000_000, 10)
}

// renderUser returns the row of a user as it is now, valid until the next row is
// rendered. What the bot stored of a user is free in form, and empty for some.
func (f *feedyou) renderUser(u *feedyouUser) []byte {
	w := &f.scratch
	d := dice{mix(u.bits)} // the same for every version
	w.buf, w.ascii = w.buf[:0], d.oneIn(8)
	w.open('{')
	w.member("userId", u.id)
	u.form.write(w, "timestamp", u.last)
	writeFilled(w, &d, "name", pick(&d, []string{"Jana Nováková", "Nguyễn Thị Ngọc Ánh", "欧阳娜娜", "Ana O'Neil", "עדי"}))
	writeFilled(w, &d, "phone", u.phone())
	writeFilled(w, &d, "email", u.email())
	writeFilled(w, &d, "gender", pick(&d, []string{"male", "female"}))
	w.member("lastText", u.text)
	w.memberNumber("messageCount", int64(u.said))
	switch d.below(4) {
	case 0:
		w.memberRaw("address", `{"street":"Mill Lane","number":"12/3","geo":{"lat":50.0880,"lon":14.4208},"note":null}`)
	case 1:
		w.memberRaw("orders", `[{"id":9007199254740993,"total":1.250e3},{"id":"A-2","total":null}]`)
		w.memberRaw("consentGiven", pick(&d, []string{"true", "false", `"yes"`}))
	case 2:
		w.memberRaw("basket", "[]")
		w.memberRaw("age", pick(&d, []string{"42", `"42"`, "null"}))
	}
	renderOddities(w, &d)
	w.close('}')
	return w.buf
}

// writeFilled writes a field of a user: filled in for most, else empty, null or
// not there.
func writeFilled(w *jsonWriter, d *dice, name, text string) {
	switch d.below(8) {
	case 0:
		w.member(name, "")
	case 1:
		w.memberRaw(name, "null")
	case 2:
	default:
		w.member(name, text)
	}
}
