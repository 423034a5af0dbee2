package netcore

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// reader reads values inside of a payload, one after the other. What is not of
// the type that it should be reads as nothing.
type reader struct{ scan *events.Scanner }

// texts derive what a person would read of each documented type. Buttons are left
// out: they are what could be answered, and stand in the payload.
var texts = map[string]func(r reader, payload []byte) string{
	"text":       func(r reader, p []byte) string { return connectors.Text(r.value(p, "message")) }, // as it is
	"attachment": reader.attachment,
	"card":       func(r reader, p []byte) string { return lines(r.text(p, "title"), r.text(p, "subtitle")) },
	"audio":      reader.file,
	"video":      reader.file,
	"image":      reader.file,
	"pdf":        reader.file,
	"doc":        reader.file,
	"xls":        reader.file,
	"ppt":        reader.file,
	"location":   reader.location,
	"contact":    reader.contact,
	"form": func(r reader, p []byte) string {
		return lines(first(r.text(p, "title"), r.text(p, "name")), r.text(p, "description"))
	},
	"formResponse":  reader.formResponse,
	"carousel":      reader.carousel,
	"list":          reader.list,
	"dynamicList":   reader.list,
	"reply":         reader.body,
	"dynamicReply":  reader.body,
	"order":         reader.order,
	"template":      reader.template,
	"productSingle": reader.product,
	"productMulti":  reader.products,
}

// textOf returns the plain text of a payload; "" where there is none. A type that
// is new is looked at for what most of the others call their text.
func textOf(kind string, payload []byte, scan *events.Scanner) string {
	r := reader{scan}
	if derive, ok := texts[kind]; ok {
		return derive(r, payload)
	}
	for _, name := range []string{"text", "message", "title", "body", "caption", "label"} {
		if text := r.text(payload, name); text != "" {
			return text
		}
	}
	return ""
}

func (r reader) attachment(p []byte) string {
	return first(r.text(p, "caption"), fileName(r.text(p, "contentUrl")), r.text(p, "contentType"))
}

func (r reader) file(p []byte) string {
	return first(r.text(p, "caption"), r.text(p, "fileName"), fileName(r.text(p, "url")))
}

func (r reader) location(p []byte) string {
	if named := lines(r.text(p, "label"), r.text(p, "address")); named != "" {
		return named
	}
	latitude, longitude := r.text(p, "latitude"), r.text(p, "longitude")
	if latitude == "" || longitude == "" {
		return ""
	}
	return latitude + ", " + longitude
}

func (r reader) contact(p []byte) string {
	name := join(" ", r.text(p, "firstName"), r.text(p, "lastName"))
	return join(", ", name, r.text(p, "phoneNumber"))
}

// formResponse writes what was answered, each as "field: answer".
func (r reader) formResponse(p []byte) string {
	var answers []string
	mapping := connectors.Object(r.value(p, "answerMapping"))
	if mapping == nil {
		return ""
	}
	r.scan.Object(mapping, func(name, value []byte) {
		text := connectors.Text(value)
		if list := elements(value); list != nil {
			var chosen []string
			for _, element := range list {
				chosen = append(chosen, connectors.Text(element))
			}
			text = join(", ", chosen...)
		}
		if text = strings.TrimSpace(text); text != "" {
			answers = append(answers, string(name)+": "+text)
		}
	})
	return lines(answers...)
}

func (r reader) carousel(p []byte) string {
	var cards []string
	for _, card := range elements(p) {
		cards = append(cards, join(": ", r.text(card, "title"), r.text(card, "subtitle")))
	}
	return lines(cards...)
}

// list writes the items too: "title: description". The key " description" is
// documented with a leading blank.
func (r reader) list(p []byte) string {
	parts := []string{r.header(p), r.words(p, "body")}
	for _, section := range elements(r.value(p, "actions", "sections")) {
		for _, row := range elements(r.value(section, "row")) {
			description := first(r.text(row, "description"), r.text(row, " description"))
			parts = append(parts, join(": ", r.text(row, "title"), description))
		}
	}
	return lines(append(parts, r.words(p, "footer"))...)
}

// body writes what types with a header, a body and a footer have alike.
func (r reader) body(p []byte) string {
	return lines(r.header(p), r.words(p, "body"), r.words(p, "footer"))
}

func (r reader) order(p []byte) string {
	items := elements(r.value(p, "items"))
	count := ""
	switch {
	case items == nil:
	case len(items) == 1:
		count = "order of 1 item"
	default:
		count = fmt.Sprintf("order of %d items", len(items))
	}
	return lines(r.text(p, "text"), count)
}

func (r reader) template(p []byte) string { return first(r.body(p), r.text(p, "name")) }

func (r reader) product(p []byte) string {
	return lines(r.words(p, "body"), join(": ", r.text(p, "action", "title"), r.text(p, "action", "subTitle")), r.words(p, "footer"))
}

func (r reader) products(p []byte) string {
	parts := []string{r.header(p), r.words(p, "body")}
	for _, section := range elements(r.value(p, "action", "sections")) {
		for _, item := range elements(r.value(section, "items")) {
			parts = append(parts, join(": ", r.text(item, "title"), r.text(item, "subTitle")))
		}
	}
	return lines(append(parts, r.words(p, "footer"))...)
}

// header is a text, or an object with a text, or with a file that may have a
// caption and a name.
func (r reader) header(p []byte) string {
	return first(r.words(p, "header"), r.text(p, "header", "caption"), r.text(p, "header", "fileName"), fileName(r.text(p, "header", "url")))
}

// words reads a member that is a text, or an object with one.
func (r reader) words(p []byte, name string) string {
	value := r.value(p, name)
	if connectors.Object(value) != nil {
		return r.text(value, "text")
	}
	return strings.TrimSpace(connectors.Text(value))
}

// text reads a text, or a number as its text, at a path of keys.
func (r reader) text(p []byte, path ...string) string {
	return strings.TrimSpace(connectors.Text(r.value(p, path...)))
}

// value returns what is at a path of keys; nil for nothing.
func (r reader) value(p []byte, path ...string) []byte {
	for _, name := range path {
		if p = member(p, name, r.scan); p == nil {
			return nil
		}
	}
	return p
}

// member returns the member of an object, as it stands in its text; nil where it
// has none, or is none.
func member(text []byte, name string, scan *events.Scanner) (found []byte) {
	if text = connectors.Object(text); text == nil {
		return nil
	}
	scan.Object(text, func(key, value []byte) {
		if string(key) == name {
			found = text[scan.End()-len(value) : scan.End()]
		}
	})
	return found
}

// elements reads an array; nil for anything else.
func elements(value []byte) []jsontext.Value {
	var list []jsontext.Value
	if connectors.ArrayOf(value) == nil || json.Unmarshal(value, &list) != nil {
		return nil
	}
	return list
}

// fileName returns the last part of an address's path; "" for none.
func fileName(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path == "" {
		return ""
	}
	if name := path.Base(u.Path); name != "/" && name != "." {
		return name
	}
	return ""
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func lines(texts ...string) string { return join("\n", texts...) }

// join puts together the texts that are not empty.
func join(between string, texts ...string) string {
	var some []string
	for _, text := range texts {
		if text != "" {
			some = append(some, text)
		}
	}
	return strings.Join(some, between)
}
