package simulator

import "strconv"

// netcoreTimes are the forms of the rows' times.
var netcoreTimes = []timeForm{
	isoMillis, isoMillis, isoMillis, isoSeconds, isoOffset, isoLocal, isoFraction, unixMillis, unixSeconds, millisText,
}

// netcoreRow is a transcript as it is written. The same bits write the same row,
// but for the time of its update.
type netcoreRow struct {
	w       *jsonWriter
	bits    uint64
	message message
	updated int64 // UNIX milliseconds
	changes bool  // updated will be another
	dice    dice
	form    timeForm // of the times
}

// What people send, and what the bot does; most of it is text.
var (
	netcoreInputs = []string{
		"attachment", "audio", "video", "image", "pdf", "doc", "xls", "ppt", "location", "contact", "formResponse", "order",
	}
	netcoreOutputs = []string{
		"attachment", "card", "audio", "video", "image", "pdf", "doc", "xls", "ppt", "location", "contact", "form",
		"carousel", "list", "reply", "template", "productSingle", "productMulti", "dynamicList", "dynamicReply",
	}
)

// netcorePayloads write the fields of a type's payload. A carousel is none of
// them: its payload is a list.
var netcorePayloads = map[string]func(*netcoreRow){
	"text": (*netcoreRow).writeText, "attachment": (*netcoreRow).writeAttachment, "card": (*netcoreRow).writeCard,
	"audio": (*netcoreRow).writeFile, "video": (*netcoreRow).writeFile, "image": (*netcoreRow).writeFile,
	"pdf": (*netcoreRow).writeFile, "doc": (*netcoreRow).writeFile, "xls": (*netcoreRow).writeFile, "ppt": (*netcoreRow).writeFile,
	"location": (*netcoreRow).writeLocation, "contact": (*netcoreRow).writeContact,
	"form": (*netcoreRow).writeForm, "formResponse": (*netcoreRow).writeFormResponse,
	"list": (*netcoreRow).writeList, "dynamicList": (*netcoreRow).writeList,
	"reply": (*netcoreRow).writeReply, "dynamicReply": (*netcoreRow).writeDynamicReply,
	"order": (*netcoreRow).writeOrder, "template": (*netcoreRow).writeTemplate,
	"productSingle": (*netcoreRow).writeProduct, "productMulti": (*netcoreRow).writeProducts,
}

// write writes the row into the writer's buffer, in place of what is there.
func (r *netcoreRow) write() {
	w := r.w
	r.dice = dice{r.bits}
	w.buf, w.ascii = w.buf[:0], r.dice.oneIn(8)
	r.form = pick(&r.dice, netcoreTimes)
	kinds, from := netcoreInputs, "User"
	if r.message.content().Speaker != "user" {
		kinds, from = netcoreOutputs, pick(&r.dice, []string{"Bot", "Bot", "Bot", "Agent"})
	}
	kind := "text"
	if r.dice.oneIn(2) {
		kind = pick(&r.dice, kinds)
	}
	w.open('{')
	w.member("from", from)
	w.member("type", kind)
	if kind == "carousel" {
		r.writeCarousel()
	} else {
		r.object(kind, func() { netcorePayloads[kind](r) })
	}
	at := r.message.at
	r.form.write(w, "createdAt", at)
	switch none := r.dice.below(20); {
	case none > 1 || r.changes || r.updated != at:
		r.form.write(w, "updatedAt", r.updated)
	case none == 1:
		w.memberRaw("updatedAt", "null")
	}
	if !r.dice.oneIn(10) {
		w.memberRaw("isPreviewUser", pick(&r.dice, []string{"false", "false", "false", "false", "true"}))
	}
	if r.dice.oneIn(10) {
		w.memberRaw("isConfigMessage", pick(&r.dice, []string{"true", "false"}))
	}
	renderOddities(w, &r.dice)
	w.close('}')
}

func (r *netcoreRow) text() string { return r.message.content().Text }

// object writes a member that is an object.
func (r *netcoreRow) object(name string, fields func()) {
	r.w.key(name)
	r.w.open('{')
	fields()
	r.w.close('}')
}

// objects writes a member that is a list of n objects.
func (r *netcoreRow) objects(name string, n int, fields func(i int)) {
	r.w.key(name)
	r.w.open('[')
	for i := range n {
		r.w.next()
		r.w.open('{')
		fields(i)
		r.w.close('}')
	}
	r.w.close(']')
}

// pick writes a member whose value is one of some texts.
func (r *netcoreRow) pick(name string, choices ...string) { r.w.member(name, pick(&r.dice, choices)) }

// pickRaw writes a member whose value is one of some pieces of JSON.
func (r *netcoreRow) pickRaw(name string, choices ...string) {
	r.w.memberRaw(name, pick(&r.dice, choices))
}

// address writes a member that is the address of a file.
func (r *netcoreRow) address(name, ending string) {
	r.w.member(name, "https://cdn.example.com/f/"+strconv.FormatUint(r.dice.next()>>40, 36)+"/soubor%20č."+ending+"?v=1&w=2")
}

func (r *netcoreRow) writeText() {
	r.w.member("message", r.text())
	n := 0
	if r.dice.oneIn(4) {
		n = 1 + r.dice.below(3)
	}
	r.buttons(n)
	if !r.dice.oneIn(6) {
		r.pickRaw("isRating", "false", "false", "false", "true")
	}
}

// buttons writes the buttons of a text, a card or a card of a carousel.
func (r *netcoreRow) buttons(n int) {
	r.objects("buttons", n, func(i int) {
		r.pick("type", "postback", "url", "call")
		r.pick("title", "Yes", "No, thanks", "Zpět", "返回")
		r.w.member("payload", "REPLY_"+strconv.Itoa(i))
	})
}

func (r *netcoreRow) writeAttachment() {
	r.pick("contentType", "image/jpeg", "application/pdf", "audio/ogg; codecs=opus")
	r.address("contentUrl", "bin")
}

func (r *netcoreRow) writeFile() { r.address("url", "dat") }

func (r *netcoreRow) writeLocation() {
	r.pickRaw("longitude", "14.4208", `"14.4208"`, "-0.50", "1.44208e1")
	r.pickRaw("latitude", "50.0880", `"50.0880"`, "0")
	r.pick("label", "Depot", "Domov", "", "我家")
	if r.dice.oneIn(3) {
		r.w.memberRaw("address", "null")
	} else {
		r.pick("address", "Mill Lane 12/3", "Weißgerbergasse 7\n1010 Wien")
	}
}

func (r *netcoreRow) writeContact() {
	r.pick("phoneNumber", "+420600000042", "00420 600 000 042")
	r.pick("firstName", "Jana", "Thị Ngọc Ánh")
	r.pick("lastName", "Nováková", "Nguyễn", "")
	r.pick("vcard", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Jana\r\nEND:VCARD", "")
}

func (r *netcoreRow) writeForm() {
	w := r.w
	r.pick("botId", "demo-bot")
	r.pick("name", "contact", "survey")
	r.pickRaw("isArchived", "false", "true")
	w.member("title", r.text())
	r.pick("description", "", "All fields marked * are required.")
	kinds := []string{"textInput", "dropdown", "radioButtons", "checkBox"}
	r.objects("formElements", 1+r.dice.below(4), func(i int) {
		kind := kinds[i]
		w.member("type", kind)
		w.member("label", "Question "+strconv.Itoa(i+1)+" *")
		r.pickRaw("required", "true", "false")
		r.pick("inputMapping", "email", "")
		r.pick("answerMapping", "customFields.email", "")
		r.object(kind, func() {
			if kind == "textInput" {
				r.pick("validation", "email", "none")
				r.pick("placeholder", "you@example.com")
				return
			}
			r.pickRaw("items", `["A","B č. 2"]`, `[{"label":"A","value":1}]`, `[]`)
		})
	})
	r.pick("createdBy", "u-17", "admin@example.com")
}

func (r *netcoreRow) writeFormResponse() {
	r.w.member("formTranscriptId", strconv.FormatUint(r.dice.next(), 16))
	r.object("answerMapping", func() {
		r.w.member("customFields.note", r.text())
		r.pickRaw("customFields.age", "42", `"42"`, "null", `["A","B"]`)
	})
}
