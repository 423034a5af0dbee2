package feedyou

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
)

// Where the key is sent.
const (
	authHeader = "header"
	authQuery  = "query"
)

// Settings are the connector's keys.
type Settings struct {
	BotID               string `mapstructure:"bot_id" doc:"The bot's id: the API is at https://feedbot-BOT_ID.azurewebsites.net. Required where base_url is not given."`
	FunctionKey         string `mapstructure:"function_key" doc:"The function key that the vendor gave." required:"true" secret:"true"`
	Auth                string `mapstructure:"auth" doc:"How the key is sent: in the header x-functions-key, or as the parameter code of the address, where proxies may log it." default:"header" oneof:"header|query"`
	connectors.Settings `mapstructure:",squash"`
}

// userKeys are the keys of the streams of users.
type userKeys struct {
	NotEmpty                 []string          `mapstructure:"not_empty" doc:"Only users in whom all of these fields are there and not empty, e.g. [phone, email]: names as the API writes them."`
	Where                    map[string]string `mapstructure:"where" doc:"Only users in whom each of these fields has this value, e.g. {gender: male}: names as the API writes them."`
	connectors.StreamOptions `mapstructure:",squash"`
}

func keysOf(stream string) connectors.StreamKeys {
	if stream == userData || stream == snapshots {
		return new(userKeys)
	}
	return new(connectors.StreamOptions)
}

// What follows "feedbot-" in a host's first label, which has 63 characters at most.
var botForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,53}[A-Za-z0-9])?$`)

func decode(raw map[string]any) (*Settings, error) {
	s := new(Settings)
	config.SetDefaults(s)
	if err := config.Decode(raw, s); err != nil {
		return nil, err
	}
	switch {
	case s.FunctionKey == "":
		return nil, errors.New("function_key is required")
	case s.BotID == "" && s.baseURL() == "":
		return nil, errors.New("bot_id or base_url is required: the bot's id, or the address of its API")
	case s.BotID != "" && !botForm.MatchString(s.BotID):
		return nil, errors.New("bot_id wants letters, digits and hyphens, at most 55, as in the name of the bot's host: what stands between feedbot- and .azurewebsites.net")
	case s.Auth != authHeader && s.Auth != authQuery:
		return nil, errors.New("auth wants header or query")
	}
	return s, nil
}

func (s *Settings) baseURL() string {
	if s.BaseURL == nil {
		return ""
	}
	return *s.BaseURL
}

func (s *Settings) defaultBaseURL() string {
	if s.BotID == "" {
		return s.baseURL()
	}
	return "https://feedbot-" + s.BotID + ".azurewebsites.net"
}

// account is what stream keys and event ids hang on.
func (s *Settings) account() string {
	switch {
	case s.Account != "":
		return s.Account
	case s.BotID != "":
		return s.BotID
	}
	base, err := url.Parse(s.baseURL())
	if err != nil {
		return "" // the client refuses it
	}
	host := base.Host
	if port := base.Port(); base.Scheme == "https" && port == "443" || base.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	} else if port == "" {
		host = strings.TrimSuffix(host, ":")
	}
	return strings.ToLower(host + strings.TrimRight(base.Path, "/"))
}

// filtersOf returns the parameters of a stream's own keys.
func filtersOf(stream string, keys connectors.StreamKeys) (url.Values, error) {
	own, ok := keys.(*userKeys)
	if !ok {
		return nil, nil
	}
	filters := url.Values{}
	if slices.ContainsFunc(own.NotEmpty, func(field string) bool { return field == "" || strings.Contains(field, ",") }) {
		return nil, fmt.Errorf("streams.%s.not_empty wants a list of names of fields such as [phone, email]", stream)
	}
	if len(own.NotEmpty) > 0 {
		filters.Set("notEmpty", strings.Join(own.NotEmpty, ","))
	}
	for field, value := range own.Where {
		first, size := utf8.DecodeRuneInString(field)
		if size == 0 {
			return nil, fmt.Errorf("streams.%s.where has a value without a name: write it as in {gender: male}", stream)
		}
		name := "where" + string(unicode.ToUpper(first)) + field[size:]
		if filters.Has(name) {
			return nil, fmt.Errorf("streams.%s.where names a field twice, once with a capital letter: remove one", stream)
		}
		filters.Set(name, value)
	}
	return filters, nil
}
