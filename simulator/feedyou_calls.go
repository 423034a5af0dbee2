package simulator

import (
	"net/url"
	"strconv"
)

// mask is what stands for a credential.
const mask = "***"

// credential returns what is written of a made-up credential, and keeps the part
// between prefix and suffix, which is nowhere else. It is of the bot for ever, or
// of this call only.
func (r *feedyouRow) credential(prefix, suffix string) string {
	bits := r.dice.next()
	if r.dice.oneIn(2) {
		bits = mix(r.seed ^ uint64(r.dice.below(6)+1)*0x5ec)
	}
	if r.masked {
		return mask
	}
	secret := "s3" + strconv.FormatUint(bits|1<<63, 36)
	r.secrets = append(r.secrets, secret)
	return prefix + secret + suffix
}

// writeIntegration writes a call of a service.
func (r *feedyouRow) writeIntegration() {
	w, d := r.w, &r.dice
	method := pick(d, []string{"POST", "POST", "GET", "PUT", "post"})
	w.member("url", r.address())
	w.member("method", method)
	if method == "GET" && r.call == nil {
		w.memberRaw("requestBody", "null")
	} else {
		r.writeBody("requestBody", r.request())
	}
	r.writeHeaders()
	w.memberRaw("responseStatus", pick(d, []string{"200", "200", "200", "201", "204", "302", "404", "500", "503", `"200"`, "0", "null"}))
	r.writeBody("responseBody", r.response())
	w.memberRaw("duration", pick(d, []string{"12", "183", "2047", "182.40", `"95"`, "30000", "null"}))
}

// request returns the JSON that was sent.
func (r *feedyouRow) request() string {
	if r.call != nil {
		return string(r.call.Params)
	}
	w := jsonWriter{ascii: r.w.ascii}
	w.open('{')
	w.member("text", r.text())
	w.memberNumber("turn", int64(r.message.turn))
	w.close('}')
	return string(w.buf)
}

// response returns the JSON that came back.
func (r *feedyouRow) response() string {
	if r.call != nil {
		return string(r.call.Results)
	}
	return pick(&r.dice, []string{`{"ok":true,"id":9007199254740993}`, `{"error":"not found","code":404}`, `[]`, `{"items":[1,2.50,null]}`})
}

// writeBody writes a body: as JSON, as text that is JSON, as text, or none.
func (r *feedyouRow) writeBody(name, body string) {
	switch r.dice.below(6) {
	case 0:
		r.w.member(name, "OK <b>"+r.message.content().Speaker+"</b>")
	case 1:
		r.w.memberRaw(name, "null")
	case 2, 3:
		r.w.member(name, body)
	default:
		r.w.memberRaw(name, body)
	}
}

// address returns the URL of a call. Some hold credentials: before the host, or
// as parameters.
func (r *feedyouRow) address() string {
	d := &r.dice
	address := "https://"
	if d.oneIn(8) {
		address += r.credential("svc-bot:", "") + "@"
	}
	address += pick(d, []string{"crm.example.com", "api.example.org:8443", "hooks.example.net"})
	address += pick(d, []string{"/v2/contacts", "/hook", "/p%C5%99%C3%ADjem/7"})
	separator := "?"
	parameter := func(name, value string) {
		address += separator + name + "=" + value
		separator = "&"
	}
	if d.oneIn(2) {
		parameter("lang", url.QueryEscape(r.message.conversation.dialogue.Language))
	}
	if d.oneIn(3) {
		parameter(pick(d, []string{"api_key", "apikey", "Key", "subscription-key"}), r.credential("", ""))
	}
	if d.oneIn(4) {
		parameter(pick(d, []string{"session_token", "access_token", "clientSecret", "PASSWORD", "sessionId"}), r.credential("", pick(d, []string{"", "%2F"})))
	}
	if d.oneIn(3) {
		parameter("page", strconv.Itoa(d.below(9)))
	}
	return address
}

// header is a header of a call, with its value as it is to be written.
type header struct{ name, value string }

// headers returns the headers of a call. Most have credentials among them.
func (r *feedyouRow) headers() []header {
	d := &r.dice
	all := []header{{"Content-Type", "application/json"}}
	if !d.oneIn(4) {
		all = append(all, header{
			pick(d, []string{"Authorization", "authorization", "Proxy-Authorization"}),
			r.credential(pick(d, []string{"Bearer ", "Basic ", "", "Token token="}), pick(d, []string{"", "=="})),
		})
	}
	if d.oneIn(4) {
		all = append(all, header{"Cookie", r.credential("theme=dark; sid=", "")})
	}
	if d.oneIn(3) {
		name := pick(d, []string{"x-api-key", "X-API-KEY", "Ocp-Apim-Subscription-Key", "X-Auth-Token", "client-secret", "X-Session-Id", "x-password"})
		all = append(all, header{name, r.credential("", "")})
	}
	return append(all, header{"X-Request-Id", strconv.FormatUint(d.next(), 16)}, header{"Accept", "*/*; q=0.5, text/plain"})
}

// writeHeaders writes the headers of a call in one of the ways that there are.
func (r *feedyouRow) writeHeaders() {
	w, d := r.w, &r.dice
	form := d.below(6)
	all := r.headers()
	w.key("requestHeaders")
	switch form {
	case 0: // pairs
		writeHeaderPairs(w, all)
	case 1: // lines
		end := pick(d, []string{"\n", "\r\n"})
		text := ""
		for _, h := range all {
			text += h.name + ": " + h.value + end
		}
		w.text(text)
	case 2: // JSON as text
		inner := jsonWriter{}
		writeHeaderObject(&inner, all)
		w.text(string(inner.buf))
	case 3: // pairs as text
		inner := jsonWriter{}
		writeHeaderPairs(&inner, all)
		w.text(string(inner.buf))
	default:
		writeHeaderObject(w, all)
	}
}

func writeHeaderObject(w *jsonWriter, all []header) {
	w.open('{')
	for _, h := range all {
		w.member(h.name, h.value)
	}
	w.close('}')
}

func writeHeaderPairs(w *jsonWriter, all []header) {
	w.open('[')
	for _, h := range all {
		w.next()
		w.open('[')
		w.text(h.name)
		w.next()
		w.text(h.value)
		w.close(']')
	}
	w.close(']')
}
