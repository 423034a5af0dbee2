package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// How many rows a page of Netcore holds.
const (
	netcoreMinPage   = 25
	netcorePage      = 50 // where limit is not given
	netcoreMaxPage   = 1000
	netcoreSmallPage = 50
)

// transcriptsReach is how far back transcripts can be asked for.
const transcriptsReach = 92 * 24 * time.Hour

// netcorePaging are the parameters of a page.
type netcorePaging struct{ page, limit int }

func parsePaging(r *http.Request, largest int) (netcorePaging, error) {
	p := netcorePaging{1, netcorePage}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return p, errors.New("malformed query string")
	}
	if q.Has("page") {
		if p.page, err = strconv.Atoi(q.Get("page")); err != nil || p.page < 1 {
			return p, errors.New("page must be a number from 1")
		}
	}
	if q.Has("limit") {
		p.limit, err = strconv.Atoi(q.Get("limit"))
		if err != nil || p.limit < netcoreMinPage || p.limit > largest {
			return p, fmt.Errorf("limit must be a number from %d to %d", netcoreMinPage, largest)
		}
	}
	return p, nil
}

// pages returns how many there are.
func (p netcorePaging) pages(total int) int { return (total + p.limit - 1) / p.limit }

// of returns a copy of the page's records, none behind the last page.
func (p netcorePaging) of(records []*record) []*record {
	if p.page > p.pages(len(records)) {
		return nil
	}
	first := (p.page - 1) * p.limit
	return slices.Clone(records[first:min(first+p.limit, len(records))])
}

// write writes the page as Netcore counts it.
func (p netcorePaging) write(w *jsonWriter, total int) {
	w.memberNumber("page", int64(p.page))
	w.memberNumber("pages", int64(p.pages(total)))
	w.memberNumber("total", int64(total))
	w.memberNumber("limit", int64(p.limit))
}

// netcoreBody is the body of a request for a list.
type netcoreBody struct {
	ChannelIDs json.RawMessage `json:"channelIds"`
	ChannelID  *int            `json:"channelId"`
	BotUserID  string          `json:"botUserId"`
	StartDate  *string         `json:"startDate"`
	EndDate    *string         `json:"endDate"`
}

// window returns the milliseconds that a body asks for. A bound that is absent is
// none.
func (b *netcoreBody) window(bounds Bounds) (within span, err error) {
	start, err := netcoreDate("startDate", b.StartDate, math.MinInt64/2)
	if err != nil {
		return within, err
	}
	end, err := netcoreDate("endDate", b.EndDate, math.MaxInt64/2)
	if err != nil {
		return within, err
	}
	if start > end {
		return within, errors.New("startDate must not be after endDate")
	}
	return bounds.ofMillis(start, end), nil
}

// netcoreDate reads a bound in UNIX milliseconds.
func netcoreDate(name string, text *string, absent int64) (int64, error) {
	if text == nil {
		return absent, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", time.DateOnly} {
		if at, err := time.Parse(layout, *text); err == nil {
			return at.UnixMilli(), nil
		}
	}
	return 0, fmt.Errorf("%s must be an ISO 8601 date", name)
}

// ofMillis returns the milliseconds of a window of UNIX milliseconds.
func (b Bounds) ofMillis(start, end int64) span {
	s := span{start, end}
	if b == Inclusive || b == OpenStart {
		s.to++
	}
	if b == Exclusive || b == OpenStart {
		s.from++
	}
	return s
}

// answerUsers answers with a page of the users of some channels.
func (n *netcore) answerUsers(r *http.Request) answer {
	largest := netcoreMaxPage
	if n.options.NetcoreSmallPages {
		largest = netcoreSmallPage
	}
	paging, err := parsePaging(r, largest)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	var body netcoreBody
	if readBody(r, &body) != nil {
		return refuse(http.StatusBadRequest, "The body is not the JSON that is documented")
	}
	switch string(body.ChannelIDs) {
	case "":
		return refuse(http.StatusInternalServerError, "Cannot read properties of undefined (reading 'forEach')")
	case "null":
		return refuse(http.StatusInternalServerError, "Cannot read properties of null (reading 'forEach')")
	}
	var channels []int
	if json.Unmarshal(body.ChannelIDs, &channels) != nil {
		return refuse(http.StatusBadRequest, "channelIds must be a list of numbers")
	}
	within, err := body.window(n.options.Bounds)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	wanted := map[string]bool{}
	for _, id := range channels {
		wanted[channelText(id)] = true
	}
	var found []*record
	for _, r := range n.list.within(within) {
		if wanted[r.id[:len("1010")]] {
			found = append(found, r)
		}
	}
	if n.options.UsersBy == UsersDescending {
		slices.Reverse(found)
	}
	return n.usersPage(paging, found)
}

func (n *netcore) usersPage(paging netcorePaging, found []*record) answer {
	w := jsonWriter{}
	w.open('{') // what follows is written behind the list
	paging.write(&w, len(found))
	no, yes := "0", "1"
	if mix(n.options.Seed^uint64(paging.page)<<32^uint64(len(found)))%2 == 1 {
		no, yes = "false", "true"
	}
	if paging.page < paging.pages(len(found)) {
		no = yes
	}
	w.memberRaw("hasNextPage", no)
	w.close('}')
	return answer{head: []byte(`{"users":[`), tail: append([]byte(`],`), w.buf[1:]...), records: paging.of(found), list: true}
}

// answerTranscripts answers with a page of the transcripts of a user, or of a
// channel.
func (n *netcore) answerTranscripts(r *http.Request, now time.Time) answer {
	paging, err := parsePaging(r, netcoreMaxPage)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	var body netcoreBody
	if readBody(r, &body) != nil {
		return refuse(http.StatusBadRequest, "The body is not the JSON that is documented")
	}
	if body.ChannelID == nil {
		return refuse(http.StatusBadRequest, "channelId is required")
	}
	oldest := now.Add(-transcriptsReach)
	if body.StartDate == nil {
		text := oldest.UTC().Format(time.RFC3339Nano)
		body.StartDate = &text
	}
	within, err := body.window(n.options.Bounds)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if within.from < oldest.UnixMilli() {
		return refuse(http.StatusBadRequest, "startDate must not be older than 3 months")
	}
	w := jsonWriter{}
	w.raw(`{"botUser":{`)
	source := n.channels[*body.ChannelID]
	if body.BotUserID == "" {
		w.memberRaw("customFields", "{}")
	} else if u := n.known[netcoreID{*body.ChannelID, body.BotUserID}]; u != nil {
		renderCustomFields(&w, u)
		source = &u.transcripts
	} else {
		w.memberRaw("customFields", "{}")
		source = nil
	}
	w.raw(`},"transcripts":[`)
	var found []*record
	if source != nil {
		found = source.within(within)
	}
	tail := jsonWriter{}
	tail.raw(`],"paginationDetails":{`)
	paging.write(&tail, len(found))
	tail.raw(`}}`)
	return answer{head: w.buf, tail: tail.buf, records: paging.of(found), list: true}
}

// answerUserData answers with what the bot stored of a user. One phone number can
// be of two users: it is then the one in the channel with the lower id.
func (n *netcore) answerUserData(r *http.Request) answer {
	for channel := webchat; channel <= instagram; channel++ {
		u := n.known[netcoreID{channel, r.PathValue("botUserId")}]
		if u == nil {
			continue
		}
		w := jsonWriter{}
		w.open('{')
		renderCustomFields(&w, u)
		d := dice{mix(u.bits ^ 3)}
		w.memberRaw("tags", pick(&d, []string{`[]`, `["vip"]`, `["lead","čekající"]`, `null`}))
		w.close('}')
		return answer{head: w.buf}
	}
	return refuse(http.StatusNotFound, "User not found")
}

// answerUsage answers with the counts of a month and channel.
func (n *netcore) answerUsage(r *http.Request) answer {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return refuse(http.StatusBadRequest, "malformed query string")
	}
	month, err := time.Parse(time.DateOnly, q.Get("monthDate"))
	if err != nil {
		return refuse(http.StatusBadRequest, "monthDate must be a date like 2021-08-01")
	}
	channel, err := strconv.Atoi(q.Get("channelId"))
	if err != nil || netcoreChannels[channel] == "" {
		return refuse(http.StatusBadRequest, "channelId must be that of a channel")
	}
	if u := n.usage[netcoreMonth{monthOf(month), channel}]; u != nil {
		return answer{head: u.row.raw}
	}
	return answer{head: renderUsage(0, 0)}
}
