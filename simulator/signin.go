package simulator

import (
	"html"
	"net/http"
	"net/url"
)

// signInPage returns what stands before an API when somebody put it behind a
// sign-in: a page with status 200 that repeats what was asked for.
func signInPage(r *http.Request, turn int) answer {
	back := html.EscapeString(r.URL.RequestURI())
	form := `<form method="post" action="/signin"><input type="hidden" name="returnUrl" value="` + back +
		`"><input name="user"><input name="password" type="password"><button>Sign in</button></form>`
	a := answer{contentType: "text/html; charset=utf-8"}
	switch turn % 4 {
	case 0:
		a.head = []byte("<!DOCTYPE html>\n<html lang=\"en\"><head><title>Sign in</title></head>\n<body>" + form + "</body></html>\n")
	case 1: // sent as what was asked for
		a.contentType = "application/json; charset=utf-8"
		a.head = []byte("<html><head><title>Sign in to your account</title></head><body>" + form + "</body></html>")
	case 2: // with a byte order mark and white space before it
		a.head = []byte("\ufeff\r\n\r\n<!doctype html><title>Session expired</title>" + form)
	default: // with braces and brackets that look like JSON from afar
		a.contentType = "text/html"
		a.head = []byte("<script>\n[{\"signedIn\":false}].forEach(x => x)\n</script><body>" + form + "</body>")
	}
	return a
}

// signInElsewhere returns a redirect to a sign-in at another host. It repeats the
// whole query of the request, credentials included.
func signInElsewhere(r *http.Request, turn int) answer {
	const host = "login.example.net/signin?"
	a := answer{contentType: "text/html", status: http.StatusFound, header: map[string]string{}}
	switch turn % 4 {
	case 0:
		a.header["Location"] = "https://" + host + r.URL.RawQuery
	case 1:
		a.status = http.StatusTemporaryRedirect
		a.header["Location"] = "https://" + host + "path=" + url.QueryEscape(r.URL.Path) + "&" + r.URL.RawQuery
	case 2:
		a.header["Location"] = "https://" + host + "returnUrl=" + url.QueryEscape(r.URL.RequestURI())
		a.head = []byte("<html><body>Object moved to <a href=\"" + html.EscapeString(a.header["Location"]) + "\">here</a>.</body></html>")
	default: // by the scheme of the request
		a.status = http.StatusTemporaryRedirect
		a.header["Location"] = "//" + host + r.URL.RawQuery
	}
	return a
}
