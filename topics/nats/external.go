package nats

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace-io/millrace/topics"
)

const (
	// minMajor.minMinor is the first server that puts a whole atomic batch on
	// disk before it acknowledges.
	minMajor, minMinor = 2, 15

	// foreignBatch is what a server takes in one batch unless its operator
	// raised it; it tells its own number only when it refuses.
	foreignBatch = 1000

	connectWait = 5 * time.Second
)

// connect connects to a server that is not ours and checks that it will do.
func (b *Broker) connect(ctx context.Context) (*session, error) {
	s, err := b.opts.dial(configured)
	if err != nil {
		return nil, err
	}
	if err := b.check(ctx, s); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, remote(errors.New(b.opts.redact(err.Error())))
	}
	return s, nil
}

// setting names, in errors, what somebody can change.
type setting struct{ url, login, tls string }

// configured are the keys of the configuration file.
var configured = setting{"broker.nats.url", "creds, user, password or token under broker.nats", "broker.nats.tls"}

// dial connects to the server at URL. Every error is a [*topics.OpenError].
func (o *Options) dial(named setting, more ...natsgo.Option) (*session, error) {
	where, err := hosts(named.url, o.URL)
	if err != nil {
		return nil, local(err)
	}
	s := newSession(where, foreignBatch)
	if s.nc, err = natsgo.Connect(o.URL, append(o.connectOptions(s), more...)...); err != nil {
		return nil, remote(o.explain(named, where, err))
	}
	return s, nil
}

func (o *Options) connectOptions(s *session) []natsgo.Option {
	name := "millrace"
	if o.Name != "" {
		name += " " + o.Name
	}
	options := []natsgo.Option{
		natsgo.Name(name), natsgo.Timeout(connectWait), natsgo.MaxReconnects(-1),
		natsgo.ReconnectWait(250 * time.Millisecond),
		// A batch that is cut off must not be continued on a new connection.
		natsgo.ReconnectBufSize(-1),
		natsgo.PingInterval(5 * time.Second), natsgo.MaxPingsOutstanding(2),
		natsgo.IgnoreAuthErrorAbort(),
		natsgo.ErrorHandler(func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) {
			o.Logger.Warn("NATS connection", "error", o.redact(err.Error()))
		}),
		natsgo.DisconnectErrHandler(func(_ *natsgo.Conn, err error) {
			s.cut()
			if err != nil {
				o.Logger.Warn("NATS connection lost, connecting again", "error", o.redact(err.Error()))
			}
		}),
		natsgo.ReconnectHandler(func(*natsgo.Conn) { o.Logger.Info("NATS connected again") }),
	}
	if o.TLS != nil {
		options = append(options, natsgo.Secure(o.TLS))
	}
	if o.Creds != "" {
		options = append(options, natsgo.UserCredentials(o.Creds))
	}
	if o.User != "" {
		options = append(options, natsgo.UserInfo(o.User, o.Password))
	}
	if o.Token != "" {
		options = append(options, natsgo.Token(o.Token))
	}
	return options
}

// explain says what a failed connection means, without the secrets in it.
func (o *Options) explain(named setting, where string, err error) error {
	text := o.redact(err.Error())
	advice := "check " + named.url + " and that the server runs"
	switch {
	case errors.Is(err, natsgo.ErrAuthorization), errors.Is(err, natsgo.ErrAuthExpired), errors.Is(err, natsgo.ErrAuthRevoked):
		advice = "check " + named.login
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"), errors.Is(err, natsgo.ErrSecureConnRequired), errors.Is(err, natsgo.ErrSecureConnWanted):
		advice = "check " + named.tls + " and the server's certificate"
	}
	return fmt.Errorf("connect to NATS at %s: %s: %s", where, text, advice)
}

// check refuses a server that cannot keep our promises.
func (b *Broker) check(ctx context.Context, s *session) (err error) {
	version := s.nc.ConnectedServerVersion()
	if !recent(version) {
		return fmt.Errorf("NATS at %s is version %s, but atomic batches need %d.%d or newer: update the server, or leave broker.nats.url empty to use the embedded one", s.where, version, minMajor, minMinor)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectWait)
	defer cancel()
	err = b.openStream(ctx, s)
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, natsgo.ErrNoResponders), code(err) == int(jetstream.JSErrCodeJetStreamNotEnabled):
		return fmt.Errorf("NATS at %s has JetStream switched off: start the server with JetStream (-js)", s.where)
	case errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("NATS at %s has JetStream, but not for this account: enable it there", s.where)
	case err != nil:
		return err
	}
	return b.checkTorn(ctx, s)
}

var errTorn = errors.New("ends in a half-written batch")

// checkTorn refuses a single server whose last batch is half-written: only its
// operator can say whether deleting messages there is right.
func (b *Broker) checkTorn(ctx context.Context, s *session) error {
	if s.stream.CachedInfo().Config.Replicas > 1 {
		return nil // replicas apply whole batches only
	}
	t, err := b.findTorn(ctx, s)
	if err != nil {
		return fmt.Errorf("look for a half-written batch on NATS at %s: %w", s.where, err)
	}
	if t != nil {
		return fmt.Errorf("the JetStream stream %s on NATS at %s %w (messages %d to %d), as a full disk or a power loss leaves it: stop its writers, make room, delete these messages (nats stream rmm), start again", b.names.stream(), s.where, errTorn, t.first, t.last)
	}
	return nil
}

// foreignTear returns an error when the last batch on a foreign server is known
// to be torn.
func (b *Broker) foreignTear(ctx context.Context) error {
	s, done, err := b.use(ctx)
	if err != nil {
		return nil
	}
	defer done()
	if err := b.checkTorn(ctx, s); errors.Is(err, errTorn) {
		return remote(err)
	}
	return nil
}

var versionPattern = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

func recent(version string) bool {
	m := versionPattern.FindStringSubmatch(version)
	if m == nil {
		return false
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return err1 == nil && err2 == nil && (major > minMajor || major == minMajor && minor >= minMinor)
}

// hosts returns the hosts of a list of URLs, without anything secret; setting
// is where the list was given.
func hosts(setting, urls string) (string, error) {
	var list []string
	for i, text := range splitURLs(urls) {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			// The parser's own error would show the text.
			return "", fmt.Errorf("%s: address %d is not a URL such as nats://host:4222", setting, i+1)
		}
		list = append(list, u.Host)
	}
	if len(list) == 0 {
		return "", errors.New(setting + " holds no address")
	}
	return strings.Join(list, ", "), nil
}

func splitURLs(urls string) []string {
	var list []string
	for text := range strings.SplitSeq(urls, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		list = append(list, text)
	}
	return list
}

// urlSecrets returns what must not be shown of a list of URLs, the longest
// forms first.
func urlSecrets(urls string) []string {
	var secrets []string
	for _, text := range splitURLs(urls) {
		u, err := url.Parse(text)
		if err != nil || u.User == nil {
			continue
		}
		if password, ok := u.User.Password(); ok {
			secrets = append(secrets, u.User.String(), password)
		} else {
			// A name without a password is a token.
			secrets = append(secrets, u.User.String(), u.User.Username())
		}
	}
	return secrets
}

var _ topics.Stream = (*stream)(nil)
