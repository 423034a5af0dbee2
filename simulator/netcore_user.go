package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The channels that people use here.
const (
	webchat   = 1010
	whatsapp  = 1014
	telegram  = 1016
	instagram = 1021
)

// netcoreChannels are all that the vendor has, by their ids.
var netcoreChannels = map[int]string{
	webchat: "webchat", 1011: "workflow", 1012: "googleBusinessMessages", 1013: "general", whatsapp: "whatsapp",
	1015: "RCSBusinessMessages", telegram: "telegram", 1017: "facebook", 1018: "sms", 1019: "hangoutsChat",
	1020: "google", instagram: "instagramMessaging",
}

func channelText(id int) string { return strconv.Itoa(id) }

// netcoreID is one of a user's ids in a channel.
type netcoreID struct {
	channel int
	id      string
}

// netcoreUser is somebody who talks to the bot in one channel.
type netcoreUser struct {
	number  uint64 // of the conversation that could have been the first
	bits    uint64
	channel int
	id      string // in the users list
	phone   string // "": none
	botUser string // another id to ask with; "": none
	gains   int    // the messages after which the phone number is known
	form    timeForm

	said                 int   // messages by and to the user
	created, first, last int64 // UNIX milliseconds
	months               []int64
	transcripts          index
	row                  *record // nil: there is none yet
}

// user returns who talks in a conversation: in one of three somebody new, in the
// others somebody from a recent one or from any, who may be new as well.
func (n *netcore) user(c *conversation) *netcoreUser {
	d := dice{mix(c.bits ^ 0x7e7c)}
	number := c.number
	switch d.below(3) {
	case 1:
		number -= d.next() % min(8, c.number+1)
	case 2:
		number = d.next() % (c.number + 1)
	}
	u := n.users[number]
	if u == nil {
		u = n.newUser(number)
		n.users[number] = u
	}
	return u
}

// userBits returns the random bits of a user, and the channel that they choose.
func (n *netcore) userBits(number uint64) (uint64, int) {
	bits := mix(number ^ mix(n.options.Seed^0x7e7c))
	d := dice{mix(bits)}
	return bits, pick(&d, []int{webchat, whatsapp, whatsapp, telegram, instagram})
}

func (n *netcore) newUser(number uint64) *netcoreUser {
	bits, channel := n.userBits(number)
	d := dice{bits}
	u := &netcoreUser{
		number: number, bits: bits, channel: channel, form: pick(&d, netcoreTimes),
		transcripts: index{loading: n.loading},
	}
	switch channel {
	case webchat:
		u.id = fmt.Sprintf("%016x-web", bits)
		if d.oneIn(4) {
			u.botUser = "visitor/" + strconv.FormatUint(bits, 36) + "?ü"
		}
	case whatsapp:
		u.id = fmt.Sprintf("%024x", bits)
		if !d.oneIn(8) {
			u.phone = n.phone(number)
		}
		if d.oneIn(8) {
			u.botUser = n.phone(number)[1:]
		}
	case telegram:
		u.id = strconv.FormatUint(bits, 10)
		if _, other := n.userBits(number - 1); number > 0 && other == whatsapp {
			u.phone = n.phone(number - 1) // somebody with an account there too
		} else if d.oneIn(4) {
			u.phone = n.phone(number)
		}
	default:
		u.id = strconv.FormatUint(bits>>1, 10)
		if d.oneIn(2) {
			u.botUser = "ig_" + u.id
		}
	}
	if d.oneIn(6) {
		u.gains = 3
	}
	return u
}

// phone returns a phone number that no other number of a user gives.
func (n *netcore) phone(number uint64) string {
	const digits = 1_000_000_000
	return fmt.Sprintf("+919%09d", (number%digits*387_420_489+mix(n.options.Seed)%digits)%digits)
}

// talked counts a message by or to the user.
func (u *netcoreUser) talked(at int64) {
	if u.said == 0 {
		u.created, u.first, u.last = at, at, at
	}
	u.said++
	u.first, u.last = min(u.first, at), max(u.last, at)
}

// renew makes the next version of a user's row, and the user known by all ids in
// it.
func (n *netcore) renew(u *netcoreUser) {
	n.known[netcoreID{u.channel, u.id}] = u
	if u.showsPhone() {
		n.known[netcoreID{u.channel, u.phone}] = u
	}
	if u.botUser != "" {
		n.known[netcoreID{u.channel, u.botUser}] = u
	}
	n.list.renew(&u.row, record{
		at: position{u.form.visible(u.last), u.number},
		id: channelText(u.channel) + "/" + u.id, conversation: u.id, raw: bytes.Clone(n.renderUser(u)),
	})
}

func (u *netcoreUser) showsPhone() bool { return u.phone != "" && u.said > u.gains }

// renderUser returns the row of a user as it is now, valid until the next row is
// rendered.
func (n *netcore) renderUser(u *netcoreUser) []byte {
	w := &n.scratch
	d := dice{mix(u.bits ^ 1)} // the same for every version
	w.buf, w.ascii = w.buf[:0], d.oneIn(8)
	w.open('{')
	w.member("userId", u.id)
	w.member("channelName", netcoreChannels[u.channel])
	writeFilled(w, &d, "userName", pick(&d, []string{"Jana Nováková", "Nguyễn Thị Ngọc Ánh", "欧阳娜娜", "Asha \"Ash\" Rao", "עדי"}))
	if u.showsPhone() {
		w.member("phoneNumber", u.phone)
	} else if d.oneIn(2) {
		w.memberRaw("phoneNumber", "null")
	}
	if u.botUser != "" {
		w.member("botUserId", u.botUser)
	}
	u.form.write(w, "createdDate", u.created)
	u.form.write(w, "first interacted date", u.first)
	u.form.write(w, "last interacted date", u.last)
	renderOddities(w, &d)
	w.close('}')
	return w.buf
}

// renderCustomFields writes what the bot stored of a user.
func renderCustomFields(w *jsonWriter, u *netcoreUser) {
	d := dice{mix(u.bits ^ 2)}
	w.key("customFields")
	w.open('{')
	if d.below(4) > 0 {
		writeFilled(w, &d, "city", pick(&d, []string{"Praha 6", "Đà Nẵng", "मुंबई"}))
		w.memberRaw("loyaltyPoints", pick(&d, []string{"120", `"120"`, "0.50", "null", "9007199254740993"}))
		w.memberRaw("consent", pick(&d, []string{"true", "false", `{"marketing":false,"since":null}`}))
	}
	w.close('}')
}

// PutTranscript adds copies of a row to the transcripts of a user of Netcore:
// channel is the channel's id, e.g. 1014, and userID one of the ids that the
// user's row shows; an unknown one makes a new user with that userId. Windows
// filter the row by the time at, in milliseconds, whatever it shows itself. It can
// be seen at once, counts as use, and makes the user active at that time. raw is
// served as it is, so it can be anything but empty.
func (s *Simulator) PutTranscript(channel int, userID string, at time.Time, raw []byte, copies int) error {
	switch {
	case len(raw) == 0 || copies < 1:
		return fmt.Errorf("simulator: %d copies of a row of %d bytes; it takes one or more of each", copies, len(raw))
	case netcoreChannels[channel] == "":
		return fmt.Errorf("simulator: Netcore has no channel %d; valid are 1010 to 1021", channel)
	case userID == "":
		return errors.New("simulator: a transcript needs the id of its user")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.netcore()
	u := n.known[netcoreID{channel, userID}]
	if u == nil {
		u = n.putUser(channel, userID)
	}
	n.add(u, record{at: position{time: at.UnixMilli()}, conversation: u.id, raw: bytes.Clone(raw)}, copies)
	u.talked(at.UnixMilli())
	n.count(u, at.UnixMilli(), copies)
	n.renew(u)
	return nil
}

// putUser makes a user who is in no conversation.
func (n *netcore) putUser(channel int, id string) *netcoreUser {
	const first = 1 << 48 // beyond the number of any conversation
	number := first + n.put
	n.put++
	bits, _ := n.userBits(number)
	u := &netcoreUser{number: number, bits: bits, channel: channel, id: id, form: isoMillis}
	n.users[number] = u
	return u
}

// netcore returns the vendor.
func (s *Simulator) netcore() *netcore {
	for _, o := range s.world.observers {
		if n, ok := o.(*netcore); ok {
			return n
		}
	}
	panic("simulator: there is no Netcore") // it is in the list of vendors
}
