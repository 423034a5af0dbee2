package feedyou

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// addressKeys are where an object that stands for a recipient has the address.
var addressKeys = []string{"address", "email", "emailAddress", "mail", "phone", "phoneNumber", "number", "to"}

// addRecipients adds to, a list of addresses: recipients is one string with any
// number of them, an object that has one, or an array of these.
func addRecipients(f *connectors.Fields, value []byte) {
	before := len(f.Members)
	f.JSON("to", []byte("["))
	begin := len(f.Members)
	if connectors.ArrayOf(value) != nil {
		for element := range elements(value, 0) {
			addRecipient(f, value[element.from:element.to], begin)
		}
	} else {
		addRecipient(f, value, begin)
	}
	if len(f.Members) == begin {
		f.Members = f.Members[:before]
		return
	}
	f.Members = append(f.Members, ']')
}

func addRecipient(f *connectors.Fields, value []byte, begin int) {
	if connectors.Object(value) != nil {
		value = addressOf(&f.Inner, value)
	}
	list, quotes := connectors.Text(value), true
	for list != "" {
		var end int
		end, quotes = mailboxEnd(list, quotes)
		if address := addressIn(list[:end]); address != "" {
			if len(f.Members) > begin {
				f.Members = append(f.Members, ',')
			}
			f.Members, _ = jsontext.AppendQuote(f.Members, address)
		}
		list = strings.TrimLeft(list[end:], ",;")
	}
}

// addressOf finds the address in an object.
func addressOf(scan *events.Scanner, value []byte) (address []byte) {
	best := len(addressKeys)
	scan.Object(value, func(name, value []byte) {
		for rank, key := range addressKeys[:best] {
			if strings.EqualFold(string(name), key) && connectors.Text(value) != "" {
				address, best = value, rank
				return
			}
		}
	})
	return address
}

// mailboxEnd returns where the first of a list of mailboxes ends: at a comma or a
// semicolon that is neither in quotes nor in angle brackets. What is opened and
// never closed is taken for text, as are the quotes behind a quote that is not
// closed: it returns false once there is one.
func mailboxEnd(list string, quotes bool) (int, bool) {
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case ',', ';':
			return i, quotes
		case '"':
			if !quotes {
				continue
			}
			end := quoteEnd(list, i)
			if quotes = end > 0; quotes {
				i = end
			}
		case '<':
			if end := strings.IndexAny(list[i+1:], "<>"); end >= 0 && list[i+1+end] == '>' {
				i += 1 + end
			}
		}
	}
	return len(list), quotes
}

// quoteEnd returns where the quote at i is closed, 0 when it is not.
func quoteEnd(text string, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return 0
}

// addressIn returns the address of a mailbox: what stands in angle brackets, else
// all of it.
func addressIn(mailbox string) string {
	mailbox = strings.TrimSpace(mailbox)
	if strings.HasSuffix(mailbox, ">") {
		if i := strings.LastIndexByte(mailbox, '<'); i >= 0 {
			return strings.TrimSpace(mailbox[i+1 : len(mailbox)-1])
		}
	}
	return mailbox
}
