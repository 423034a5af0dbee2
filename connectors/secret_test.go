package connectors

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Keys as vendors give them: base64, with what escapes change, or look like escapes.
var awkward = []string{"a/b+c==", "p q\"r\\s", "50%41x", "gr\u00fc\u00df/\u20ac", "%2f%2F"}

func TestHolds(t *testing.T) {
	for _, secret := range append(awkward, "plain-key") {
		query, path := url.QueryEscape(secret), url.PathEscape(secret)
		all := "" // every byte is escaped
		for _, b := range []byte(secret) {
			all += fmt.Sprintf("%%%02x", b)
		}
		for _, form := range []string{
			secret, query, path, strings.ToLower(query), strings.ToLower(path), all, strings.ToUpper(all),
			url.QueryEscape(query), url.QueryEscape(strings.ToLower(query)), url.QueryEscape(url.QueryEscape(path)),
			strings.ReplaceAll(path, "%2F", "/"),
		} {
			for _, text := range []string{form, "x?code=" + form + "&y", fmt.Sprintf("Location header %q", "/x?code="+form)} {
				if !holds(text, secret) {
					t.Errorf("%q is not found in %s", secret, text)
				}
			}
		}
	}
	for _, text := range []string{"", "connection refused", "100% of %zz %4", `a \ b`, "a/b", "a%2fb+c"} {
		for _, secret := range append(awkward, "plain-key") {
			if holds(text, secret) {
				t.Errorf("%q is found in %q", secret, text)
			}
		}
	}
	if holds("anything", "") {
		t.Error("no secret is found")
	}
}

// What net/http says of a Location that it cannot read quotes it, in forms that
// nobody foresees: it is not shown, whatever it holds.
func TestUnreadableRedirect(t *testing.T) {
	for _, location := range []string{"https://h:bad/x?code=ab/c+d%3D%3D", "https://%zz", "https://h:bad/other"} {
		c := testClient(t, roundTrip(func(r *http.Request) (*http.Response, error) {
			return respond(r, 302, "", "Location", location), nil
		}), nil)
		c.credential = Credential{Secret: "ab/c+d==", Authorize: func(*http.Request, string) {}}
		_, err := get(t.Context(), c)
		var failed *Error
		if !errors.As(err, &failed) || failed.Kind != Retry || failed.Err.Error() != "the API redirects to an address that cannot be read; check base_url" {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// An address that is repeated to us, however it is escaped, stays out of errors.
func TestErrorsWithAddresses(t *testing.T) {
	for _, key := range awkward {
		for _, escaped := range []string{url.QueryEscape(key), url.PathEscape(key), strings.ToLower(url.QueryEscape(key)), url.QueryEscape(strings.ToLower(url.QueryEscape(key)))} {
			c := testClient(t, nil, nil)
			c.credential = Credential{Secret: key, Authorize: func(*http.Request, string) {}}
			for _, transport := range []roundTrip{
				func(r *http.Request) (*http.Response, error) {
					return respond(r, 302, "", "Location", "https://x y/%zz?code="+escaped), nil
				},
				func(*http.Request) (*http.Response, error) {
					return nil, errors.New(`malformed HTTP response "GET /x?code=` + escaped + `"`)
				},
			} {
				c.http.Transport = transport
				_, err := get(t.Context(), c)
				if err == nil || strings.Contains(err.Error(), escaped) || strings.Contains(err.Error(), key) {
					t.Errorf("%q as %s: %v", key, escaped, err)
				}
			}
		}
	}
}
