package simulator

import (
	"bytes"
	"cmp"
	"strconv"
	"time"
)

// timeForm is a way of writing a time.
type timeForm int

const (
	unixSeconds timeForm = iota
	unixMillis
	isoMillis   // 2026-01-02T03:04:05.678Z
	isoLocal    // 2026-01-02T03:04:05, meant as UTC
	secondsText // "1767323045"
	millisText  // "1767323045678"
	isoSeconds  // 2026-01-02T03:04:05Z
	isoTicks    // 2026-01-02T03:04:05.6780000Z
	isoOffset   // 2026-01-02T04:04:05.678+01:00
	isoFraction // 2026-01-02T03:04:05.678, meant as UTC
)

// visible returns a time in UNIX milliseconds as exactly as it is written.
func (f timeForm) visible(ms int64) int64 {
	switch f {
	case unixSeconds, secondsText, isoLocal, isoSeconds:
		return ms - ms%1000
	}
	return ms
}

func (f timeForm) write(w *jsonWriter, name string, ms int64) {
	w.key(name)
	switch f {
	case unixSeconds:
		w.number(ms / 1000)
	case unixMillis:
		w.number(ms)
	case secondsText:
		w.raw(`"`)
		w.number(ms / 1000)
		w.raw(`"`)
	case millisText:
		w.raw(`"`)
		w.number(ms)
		w.raw(`"`)
	default:
		zone := time.UTC
		if f == isoOffset {
			zone = oneHourEast
		}
		w.buf = time.UnixMilli(ms).In(zone).AppendFormat(w.buf, isoLayouts[f])
	}
}

var (
	oneHourEast = time.FixedZone("", 3600)
	isoLayouts  = map[timeForm]string{
		isoMillis:   `"2006-01-02T15:04:05.000Z"`,
		isoLocal:    `"2006-01-02T15:04:05"`,
		isoSeconds:  `"2006-01-02T15:04:05Z"`,
		isoTicks:    `"2006-01-02T15:04:05.0000000Z"`,
		isoOffset:   `"2006-01-02T15:04:05.000-07:00"`,
		isoFraction: `"2006-01-02T15:04:05.000"`,
	}
)

// form is how the records of one conversation are written: no two teams that
// wrote to a vendor's archive did it the same way.
type form struct {
	ascii                                bool // all but ASCII is escaped
	startTime, activityTime, messageTime timeForm
	botType                              string // the type of what the bot says
	objects                              bool   // what the bot says is an object
	channel, user, device, host, locale  string
}

func newForm(c *conversation) form {
	d := dice{c.bits}
	f := form{
		ascii:        d.oneIn(8),
		activityTime: pick(&d, []timeForm{unixSeconds, unixSeconds, unixMillis, isoMillis}),
		messageTime:  pick(&d, []timeForm{unixSeconds, unixMillis, isoMillis, isoLocal, secondsText}),
		botType:      pick(&d, []string{"BotOutput", "BotOutput", "BotOutput", "Message"}),
		objects:      !d.oneIn(3),
		channel:      pick(&d, []string{"web", "web", "zendesk", "whatsapp", "salesforce"}),
		user:         "u-" + strconv.FormatUint(d.next()>>32, 16),
		device:       pick(&d, []string{"iOS 17.4; Safari", "Android 15; Chrome", "Windows 11; Edge", "macOS 15.2; Firefox"}),
		host:         pick(&d, []string{"shop.example.com", "help.example.org", "www.example.net"}),
		locale:       localeOf(c.dialogue.Language),
	}
	if d.oneIn(16) {
		f.startTime = secondsText
	}
	return f
}

// localeOf returns a locale as DeepConverse writes it.
func localeOf(language string) string {
	if language == "" {
		language = "en"
	}
	return language + "_" + cmp.Or(countries[language], language)
}

// countries of the languages that are not named like one.
var countries = map[string]string{
	"ar": "eg", "cs": "cz", "en": "us", "he": "il", "hi": "in", "ja": "jp", "vi": "vn", "zh": "cn",
}

// renderMessage writes a message.
func renderMessage(w *jsonWriter, o *Options, t *thread, m message, id string) {
	f := &t.form
	d := dice{mix(m.conversation.bits ^ uint64(m.turn+1))}
	w.ascii = f.ascii
	w.open('{')
	w.member("_id", id)
	f.messageTime.write(w, "time", m.at)
	w.member("conversationId", t.id)
	if content := m.content(); content.Speaker == "user" {
		renderInput(w, content.Text, &d)
	} else {
		renderOutput(w, f, content.Text, &d)
	}
	w.member("botId", o.BotName)
	w.member("channel", f.channel)
	w.key("context")
	w.open('{')
	w.member("locale", f.locale)
	w.member("userId", f.user)
	w.member("device", f.device)
	w.memberNumber("turn", int64(m.turn))
	w.close('}')
	renderOddities(w, &d)
	w.close('}')
}

// renderInput writes what a user said: typed, chosen or filled in.
func renderInput(w *jsonWriter, text string, d *dice) {
	w.member("type", "UserInput")
	switch kind := d.below(8); {
	case kind == 0 && len(text) < 40:
		w.member("userActionType", "QuickReply")
		w.key("userInput")
		w.open('{')
		w.member("title", text)
		w.member("payload", "REPLY_"+string('A'+rune(d.below(26))))
		w.close('}')
	case kind == 1:
		w.member("userActionType", "Form")
		w.key("userInput")
		w.open('{')
		w.member("formId", "contact")
		w.key("fields")
		w.open('{')
		w.member("message", text)
		w.memberRaw("consent", "true")
		w.close('}')
		w.close('}')
	default:
		w.member("userActionType", "Text")
		w.member("userInput", text)
	}
	w.memberRaw("outMsg", "null")
	if d.oneIn(2) {
		w.key("nlu")
		w.open('{')
		w.member("intent", pick(d, []string{"order_status", "cancel", "greeting", "talk_to_agent", "none"}))
		w.memberNumber("candidates", int64(1+d.below(5)))
		w.memberRaw("confidence", pick(d, []string{"0.93", "1", "0.5071428571428571", `"0.81"`, "8e-1", "null"}))
		w.close('}')
	}
}

// renderOutput writes what the bot said, as an object or as a string.
func renderOutput(w *jsonWriter, f *form, text string, d *dice) {
	w.member("type", f.botType)
	if !f.objects {
		w.member("outMsg", text)
		return
	}
	w.key("outMsg")
	w.open('{')
	w.member("type", "text")
	w.member("text", text)
	w.key("quickReplies")
	w.open('[')
	if d.oneIn(3) {
		for _, title := range []string{"Yes", "No", "Talk to a human"} {
			w.next()
			w.open('{')
			w.member("title", title)
			w.member("payload", "REPLY_"+title[:1])
			w.close('}')
		}
	}
	w.close(']')
	w.memberRaw("attachments", "null")
	w.close('}')
}

// renderOddities writes, into some records, fields that nobody documents.
func renderOddities(w *jsonWriter, d *dice) {
	switch d.below(12) {
	case 0:
		w.memberRaw("deletedAt", "null")
		w.memberRaw("__v", "0")
	case 1:
		w.memberRaw("seq", `"`+string('0'+rune(d.below(10)))+`"`)
		w.memberRaw("latencyMs", "182.40")
	case 2:
		w.memberRaw("experiments", `{"greeting":["A",null,{"weight":1e-7}],"":{}}`)
	case 3:
		w.memberRaw("shard", "9007199254740993")
	}
}

// renderConversation returns the JSON of a conversation as it is now.
func renderConversation(t *thread, c *conversation) []byte {
	f := &t.form
	d := dice{mix(c.bits)} // the same for every version
	liveChat, rating := d.oneIn(4), int64(1+d.below(5))
	w := jsonWriter{buf: make([]byte, 0, 512+len(t.calls.buf)), ascii: f.ascii}
	w.open('{')
	w.member("_id", t.id)
	f.startTime.write(&w, "startTime", c.start)
	f.activityTime.write(&w, "lastActionAt", c.last)
	w.member("locale", f.locale)
	w.key("tags")
	w.open('[')
	for _, tag := range []struct {
		name string
		set  bool
	}{{"informed", c.said > 3}, {"liveChat", liveChat && c.said > 5}, {"resolved", c.closed}} {
		if tag.set {
			w.next()
			w.text(tag.name)
		}
	}
	w.close(']')
	w.key("metadata")
	renderMetadata(&w, t, c, rating)
	renderOddities(&w, &d)
	w.close('}')
	return bytes.Clone(w.buf)
}

// renderMetadata writes the parameters that a conversation has gathered, and its
// rating once it is closed.
func renderMetadata(w *jsonWriter, t *thread, c *conversation, rating int64) {
	f := &t.form
	t.addCalls(c)
	w.open('{')
	w.member("channel", f.channel)
	w.memberNumber("messageCount", int64(c.said))
	w.key("user")
	w.open('{')
	w.member("id", f.user)
	w.member("device", f.device)
	w.memberRaw("email", "null")
	w.close('}')
	w.member("page", "https://"+f.host+"/help?from=chat&lang="+c.dialogue.Language)
	w.key("serviceCalls")
	w.buf = append(w.buf, t.calls.buf...)
	w.close(']')
	if c.closed {
		w.memberNumber("csat", rating)
	}
	w.close('}')
}

// addCalls adds the calls of services of the turns that are new.
func (t *thread) addCalls(c *conversation) {
	w := &t.calls
	if len(w.buf) == 0 {
		w.ascii = t.form.ascii
		w.open('[')
	}
	for ; t.called < c.said; t.called++ {
		for _, call := range c.dialogue.Turns[t.called].Actions {
			w.next()
			w.open('{')
			w.member("name", call.Name)
			w.key("params")
			w.buf = append(w.buf, call.Params...)
			w.key("results")
			w.buf = append(w.buf, call.Results...)
			w.close('}')
		}
	}
}
