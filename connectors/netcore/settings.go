package netcore

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/connectors"
)

// The ways to ask for transcripts.
const (
	byUser    = "by_user"
	byChannel = "by_channel"
)

// Settings are the connector's keys.
type Settings struct {
	AppID               string `mapstructure:"app_id" doc:"The app's id that the vendor gave." required:"true"`
	AppSecret           string `mapstructure:"app_secret" doc:"The secret that belongs to it." required:"true" secret:"true"`
	Channels            []int  `mapstructure:"channels" doc:"The channels to read, by their ids: 1010 webchat, 1014 whatsapp, 1016 telegram, 1017 facebook, 1021 instagramMessaging, ..." default:"([1010, 1014, 1016, 1017])"`
	EnrichUsers         bool   `mapstructure:"enrich_users" doc:"Asks for each user's custom fields and tags too, a request for each user." default:"false"`
	Transcripts         string `mapstructure:"transcripts" doc:"How messages are asked for: by_user lists the users and asks for each of them; by_channel asks for all of a channel, for accounts where that works, and its messages name no user. Going from one way to the other publishes again what is read again." default:"by_user" oneof:"by_user|by_channel"`
	connectors.Settings `mapstructure:",squash"`
}

// defaultChannels are those that the vendor documents for the list of users.
var defaultChannels = []int{1010, 1014, 1016, 1017}

func decode(raw map[string]any) (*Settings, error) {
	s := new(Settings)
	config.SetDefaults(s)
	s.Channels = defaultChannels
	if err := config.Decode(raw, s); err != nil {
		return nil, err
	}
	switch {
	case s.AppID == "":
		return nil, errors.New("app_id is required")
	case s.AppSecret == "":
		return nil, errors.New("app_secret is required")
	case s.Transcripts != byUser && s.Transcripts != byChannel:
		return nil, errors.New("transcripts wants by_user or by_channel")
	case len(s.Channels) == 0:
		return nil, errors.New("channels wants at least one channel's id, such as [1014]")
	}
	sorted := slices.Sorted(slices.Values(s.Channels))
	if sorted[0] <= 0 {
		return nil, errors.New("channels wants the ids of channels, such as [1010, 1014]")
	}
	for n := range sorted[1:] {
		if sorted[n] == sorted[n+1] {
			return nil, fmt.Errorf("channels names %d twice: remove one", sorted[n])
		}
	}
	return s, nil
}

// switchNote says what changing the way of asking leads to.
func switchNote(way string) string {
	other := byChannel
	if way == byChannel {
		other = byUser
	}
	return "transcripts is " + way + ". Changing it to " + other + " gives all messages new ids, because " + byChannel +
		" does not know their users: what is read again then is published again"
}

// channelNotes tell of channels that the vendor does not document: a wrong number
// is asked for like a right one.
func (s *Settings) channelNotes() (notes []string) {
	for _, id := range s.Channels {
		if channelName(id) == "" {
			notes = append(notes, fmt.Sprintf("the vendor documents no channel %d: look whether it is meant; it documents 1010 (webchat) to 1021 (instagramMessaging)", id))
		}
	}
	return notes
}

// channelNames are the vendor's words for its channels.
var channelNames = map[int]string{
	1010: "webchat", 1011: "workflow", 1012: "googleBusinessMessages", 1013: "general", 1014: "whatsapp",
	1015: "RCSBusinessMessages", 1016: "telegram", 1017: "facebook", 1018: "sms", 1019: "hangoutsChat",
	1020: "google", 1021: "instagramMessaging",
}

// channelName returns the vendor's word for a channel, "" for an unknown one.
func channelName(id int) string { return channelNames[id] }

func channelText(id int) string { return strconv.Itoa(id) }
