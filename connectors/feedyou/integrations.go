package feedyou

import (
	"strconv"
	"strings"

	"github.com/millrace-io/millrace/connectors"
	"github.com/millrace-io/millrace/events"
)

// integrationCall maps a row of integrationLog, all of whose fields are
// documented. Credentials in the headers and in the address are masked, in the
// event as in the record.
func integrationCall(raw []byte, f *connectors.Fields, bot string) events.Record {
	r := events.Record{Type: events.TypeIntegrationCall}
	var w who
	var url, headers span
	var method, request, status, response, duration []byte
	r.Dead = f.Object(raw, func(name, value []byte) {
		switch string(name) {
		case "url":
			url = span{f.End() - len(value), f.End()}
		case "method":
			method = value
		case "requestBody":
			request = value
		case "requestHeaders":
			headers = span{f.End() - len(value), f.End()}
		case "responseStatus":
			status = value
		case "responseBody":
			response = value
		case "duration":
			duration = value
		default:
			w.read(name, value)
		}
	})
	if r.Dead != nil {
		return r
	}
	w.begin(&r, f, bot)
	address, sent, host := maskCall(&r, raw, url, headers)
	f.JSON("url", connectors.String(address))
	f.TextOf("host", host)
	f.TextOf("method", strings.ToUpper(connectors.Text(connectors.String(method))))
	f.JSON("request_body", notNull(request))
	f.JSON("request_headers", notNull(sent))
	code, known := integer(status)
	if known {
		var digits [20]byte
		f.JSON("status", strconv.AppendInt(digits[:0], code, 10))
	}
	f.JSON("response_body", notNull(response))
	f.JSON("duration_ms", number(duration))
	if known {
		var word [5]byte
		f.JSON("ok", strconv.AppendBool(word[:0], 200 <= code && code <= 399))
	}
	return r
}

// maskCall sets the record's masked text where something had to be masked, and
// returns address and headers as they may be shown.
func maskCall(r *events.Record, raw []byte, url, headers span) (address, sent []byte, host string) {
	m := masker{text: raw}
	if headers.to > 0 && headers.from < url.from {
		m.walk(headers, someHeaders, false)
	}
	if url.to > 0 {
		m.walk(url, anAddress, false)
		if raw[url.from] == '"' {
			host = m.host
		}
	}
	if headers.to > 0 && headers.from > url.from {
		m.walk(headers, someHeaders, false)
	}
	text := raw
	if len(m.edits) > 0 {
		r.Masked = m.apply()
		text, url, headers = r.Masked, m.moved(url), m.moved(headers)
	}
	return text[url.from:url.to], text[headers.from:headers.to], host
}
