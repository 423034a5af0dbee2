package simulator

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"
)

// maxBody is the largest body of a request to Netcore, in bytes.
const maxBody = 64 << 10

// tokens are those that logins gave and that are not over. It is safe for
// concurrent use.
type tokens struct {
	mu     sync.Mutex
	issued uint64 // so far
	until  map[string]time.Time
}

// issue makes a token that is accepted before until, and returns how many there
// were before it.
func (t *tokens) issue(o *Options, now, until time.Time) (token string, turn uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.until, func(_ string, until time.Time) bool { return !now.Before(until) })
	turn = t.issued
	t.issued++
	token = makeToken(o, turn, now, until)
	t.until[token] = until
	return token, turn
}

func (t *tokens) accepts(token string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Before(t.until[token])
}

func (t *tokens) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.until)
}

// makeToken returns a JSON Web Token, by the seed and its number.
func makeToken(o *Options, number uint64, now, until time.Time) string {
	w := jsonWriter{}
	w.open('{')
	w.member("appId", o.AppID)
	w.memberNumber("jti", int64(number))
	w.memberNumber("iat", now.Unix())
	w.memberNumber("exp", until.Unix())
	w.close('}')
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(w.buf)
	mac := hmac.New(sha256.New, binary.BigEndian.AppendUint64(nil, mix(o.Seed^0x70c3)))
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// EndTokens ends all tokens of Netcore at once, as if their time were over.
func (s *Simulator) EndTokens() { s.netcore().tokens.end() }

// bufferBody reads the body of a request, so that answers do not wait for it
// while the world does. It refuses one that is too long or cut.
func bufferBody(r *http.Request) *answer {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if err != nil {
		a := refuse(http.StatusBadRequest, "The body is too long or cut")
		return &a
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// authorize wants the bare token, and reads the body.
func (n *netcore) authorize(r *http.Request) *answer {
	if !n.tokens.accepts(r.Header.Get("Authorization"), n.options.Now()) {
		a := refuse(http.StatusUnauthorized, "Unauthorized")
		return &a
	}
	return bufferBody(r)
}

// readBody decodes a body that was buffered.
func readBody(r *http.Request, into any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// login answers with a token. When it ends is said in one of two fields, in
// several forms, or in the token only: another way each time.
func (n *netcore) login(r *http.Request, now time.Time) answer {
	var body struct {
		AppID     *string `json:"appId"`
		AppSecret *string `json:"appSecret"`
	}
	if readBody(r, &body) != nil || body.AppID == nil || body.AppSecret == nil {
		return refuse(http.StatusBadRequest, "appId and appSecret are required")
	}
	if *body.AppID != n.options.AppID || *body.AppSecret != n.options.APIKey {
		return refuse(http.StatusConflict, "Invalid appId or appSecret")
	}
	until := now.Add(n.options.TokenLife)
	token, turn := n.tokens.issue(n.options, now, until)
	w := jsonWriter{}
	w.open('{')
	w.member("authToken", token)
	forms := []timeForm{isoMillis, unixSeconds, isoOffset, unixMillis, isoLocal}
	if field := [...]string{"expiresAt", "expireAt", ""}[turn%3]; field != "" {
		forms[turn/3%uint64(len(forms))].write(&w, field, until.UnixMilli())
	}
	w.close('}')
	return answer{head: w.buf}
}
