package simulator

import "bytes"

// nativeForm is how the documents of one conversation are written.
type nativeForm struct {
	idField   string // "_id" or "Id"
	nested    bool   // what is said is an object of its own, and so is who says it
	textual   bool   // numbers come as text
	agent     bool   // somebody takes over from the bot
	channel   string
	firstName string
	lastName  string // "": null
	outcome   string // the status at the end
}

func newNativeForm(c *conversation) nativeForm {
	d := dice{mix(c.bits ^ 0x4a72)}
	return nativeForm{
		idField:   pick(&d, []string{"_id", "_id", "_id", "Id"}),
		nested:    d.oneIn(3),
		textual:   d.oneIn(16),
		agent:     d.oneIn(6),
		channel:   pick(&d, []string{"facebook", "facebook", "viber", "web", "msteams"}),
		firstName: pick(&d, []string{"Ana", "Bořivoj", "Chidi", "Đặng", "Ewa", "محمد", "O'Neil", "X Æ"}),
		lastName:  pick(&d, []string{"Novák", "Smith", "", "da Silva", "李"}),
		outcome:   pick(&d, []string{"success", "success", "success", "expired"}),
	}
}

// agentTurn is the first turn that an agent says for the bot.
const agentTurn = 5

// sender returns who says a turn: user, bot or agent.
func (f *nativeForm) sender(speaker string, turn int) string {
	switch {
	case speaker == "user":
		return "user"
	case f.agent && turn >= agentTurn:
		return "agent"
	}
	return "bot"
}

// date writes a member that is a date.
func (n *nativeChat) date(w *jsonWriter, name string, ms int64) {
	form := isoMillis
	if n.options.NativeChatDates == NativeChatMillis {
		form = unixMillis
	}
	form.write(w, name, ms)
}

// count counts the turns that are new.
func (t *nativeThread) count(c *conversation) {
	for ; t.counted < c.said; t.counted++ {
		d := dice{mix(c.bits ^ mix(uint64(t.counted)^0x4a73))}
		switch {
		case c.dialogue.Turns[t.counted].Speaker == "user":
			t.byUser++
		case d.oneIn(6): // the bot did not understand
			t.errors++
			fallthrough
		default:
			t.byBot++
		}
	}
}

// renderConversation returns the JSON of a conversation as it is now.
func (n *nativeChat) renderConversation(t *nativeThread, c *conversation) []byte {
	f := &t.form
	d := dice{mix(c.bits ^ 0x4a74)} // the same for every version
	w := jsonWriter{buf: make([]byte, 0, 512)}
	number := func(name string, value int) {
		w.key(name)
		if f.textual {
			w.raw(`"`)
			defer w.raw(`"`)
		}
		w.number(int64(value))
	}
	w.open('{')
	if !n.options.NativeChatNoID {
		w.member(f.idField, t.id)
	}
	n.date(&w, "StartedAt", t.started)
	n.date(&w, "LastActivityAt", c.last)
	w.member("Status", f.status(c))
	number("Errors", t.errors)
	w.key("Messages")
	w.open('{')
	number("user", t.byUser)
	number("bot", t.byBot)
	w.close('}')
	w.key("Data")
	w.open('{')
	n.renderUser(&w, t, c)
	w.key("channel")
	w.open('{')
	w.member("ProviderName", f.channel)
	if d.oneIn(2) {
		w.member("Id", f.channel+"-1")
	}
	w.close('}')
	w.close('}')
	renderOddities(&w, &d)
	w.close('}')
	return bytes.Clone(w.buf)
}

// status returns where a conversation stands.
func (f *nativeForm) status(c *conversation) string {
	switch {
	case c.waiting:
		return "waiting"
	case c.closed:
		return f.outcome
	}
	return "open"
}

// renderUser writes what the conversation knows of its user.
func (n *nativeChat) renderUser(w *jsonWriter, t *nativeThread, c *conversation) {
	w.key("user")
	w.open('{')
	w.member("Id", t.user)
	w.member("FirstName", t.form.firstName)
	if t.form.lastName == "" {
		w.memberRaw("LastName", "null")
	} else {
		w.member("LastName", t.form.lastName)
	}
	if c.dialogue.Language != "" {
		w.member("Locale", localeOf(c.dialogue.Language))
	}
	w.close('}')
}

// renderMessage writes the message of a record.
func (n *nativeChat) renderMessage(w *jsonWriter, t *nativeThread, m message, r *record) {
	f := &t.form
	d := dice{mix(m.conversation.bits ^ mix(uint64(m.turn)^0x4a75))}
	content := m.content()
	sender := f.sender(content.Speaker, m.turn)
	w.open('{')
	if r.id != "" {
		w.member(f.idField, r.id)
	}
	w.member("Conversation", t.id)
	w.member("User", t.user)
	n.date(w, "CreatedAt", r.at.time)
	if !f.nested {
		w.member("From", sender)
		renderSaid(w, content.Text, sender, &d)
	} else {
		w.key("Sender")
		w.open('{')
		w.member("Type", sender)
		if sender == "agent" {
			w.member("Name", "Ana")
		}
		w.close('}')
		w.key("Message")
		w.open('{')
		renderSaid(w, content.Text, sender, &d)
		w.close('}')
	}
	renderOddities(w, &d)
	w.close('}')
}

// renderSaid writes what somebody says: a text, with a file, or with what can be
// answered.
func renderSaid(w *jsonWriter, text, sender string, d *dice) {
	kind := d.below(8)
	image := kind == 0 && sender != "bot"
	if image {
		w.member("Type", "image")
	} else {
		w.member("Type", "text")
	}
	w.member("Text", text)
	switch {
	case image:
		w.key("Attachments")
		w.open('[')
		w.open('{')
		w.member("Type", "image/jpeg")
		w.member("Url", "https://files.example.com/"+string('a'+rune(d.below(26)))+".jpg")
		w.memberNumber("Size", int64(1000+d.below(1_000_000)))
		w.close('}')
		w.close(']')
	case sender == "bot" && kind < 3:
		w.key("QuickReplies")
		w.open('[')
		for _, title := range []string{"Yes", "No", "Talk to a human"} {
			w.next()
			w.open('{')
			w.member("Title", title)
			w.member("Payload", "REPLY_"+title[:1])
			w.close('}')
		}
		w.close(']')
	case kind == 3:
		w.memberRaw("Attachments", "[]")
	case kind == 4:
		w.memberRaw("QuickReplies", "null")
	}
}
