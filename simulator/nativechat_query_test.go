package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// wanted is a query and what a plain look at a document says of it.
type wanted struct {
	query string
	keep  func(map[string]any) bool
}

// find wants what each query finds, listed and counted, to be what a look at
// all documents keeps: some of them, but not all.
func find(t *testing.T, s *Simulator, path string, all []string, queries []wanted) {
	t.Helper()
	fields := decodeAll(t, all)
	for _, q := range queries {
		p := params{"query": q.query}
		want := fields.selected(all, q.keep)
		if len(want) == 0 || len(want) == len(all) {
			t.Errorf("%s proves nothing: %d of %d", q.query, len(want), len(all))
		}
		if got := allDocuments(t, s, path, p); !slices.Equal(got, want) {
			t.Errorf("%s finds %d documents, want %d", q.query, len(got), len(want))
		}
		for range 2 { // both forms of the answer
			if got := counted(t, s, path, p); got != len(want) {
				t.Errorf("%s counts %d documents, want %d", q.query, got, len(want))
			}
		}
	}
}

func TestQueriesOfConversations(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 3000})
	all := allDocuments(t, s, "conversations", nil)
	middle := at(membersOf(t, all[len(all)/2]), "StartedAt").(string)
	later := at(membersOf(t, all[len(all)*3/4]), "StartedAt").(string)
	id := membersOf(t, all[0])["_id"]
	errors := func(d map[string]any) float64 { // text is no number
		n, ok := d["Errors"].(float64)
		if !ok {
			return -1
		}
		return n
	}
	provider := func(d map[string]any) any { return at(d, "Data", "channel", "ProviderName") }
	started := func(d map[string]any) string { return d["StartedAt"].(string) }
	find(t, s, "conversations", all, []wanted{
		{`{"Status":"success"}`, func(d map[string]any) bool { return d["Status"] == "success" }},
		{fmt.Sprintf(`{"_id":%q}`, id), func(d map[string]any) bool { return d["_id"] == id }},
		{`{"Data.channel.ProviderName":"viber"}`, func(d map[string]any) bool { return provider(d) == "viber" }},
		{`{"Data.channel":{"ProviderName":"web"}}`, func(d map[string]any) bool {
			return provider(d) == "web" && at(d, "Data", "channel", "Id") == nil
		}},
		{`{"Data.user.LastName":null}`, func(d map[string]any) bool { return at(d, "Data", "user", "LastName") == nil }},
		{`{"Data.channel.Id":null}`, func(d map[string]any) bool { return at(d, "Data", "channel", "Id") == nil }},
		{`{"Errors":1}`, func(d map[string]any) bool { return errors(d) == 1 }},
		{`{"Errors":"0"}`, func(d map[string]any) bool { return d["Errors"] == "0" }},
		{`{"Errors":{"$gt":0}}`, func(d map[string]any) bool { return errors(d) > 0 }},
		{`{"Errors":{"$gte":1,"$lt":2}}`, func(d map[string]any) bool { return errors(d) == 1 }},
		{`{"Errors":{"$lte":0}}`, func(d map[string]any) bool { return errors(d) == 0 }},
		{`{"Errors":{"$in":[1,"0"]}}`, func(d map[string]any) bool { return errors(d) == 1 || d["Errors"] == "0" }},
		{`{"$or":[{"Errors":{"$gt":0}},{"Data.channel.ProviderName":"facebook"}]}`, func(d map[string]any) bool {
			return errors(d) > 0 || provider(d) == "facebook"
		}},
		{`{"$and":[{"Errors":{"$gt":0}},{"Data.channel.ProviderName":"facebook"}]}`, func(d map[string]any) bool {
			return errors(d) > 0 && provider(d) == "facebook"
		}},
		{fmt.Sprintf(`{"StartedAt":%q}`, middle), func(d map[string]any) bool { return started(d) == middle }},
		{fmt.Sprintf(`{"StartedAt":{"$gt":%q}}`, middle), func(d map[string]any) bool { return started(d) > middle }},
		{fmt.Sprintf(`{"StartedAt":{"$gte":%q}}`, middle), func(d map[string]any) bool { return started(d) >= middle }},
		{fmt.Sprintf(`{"StartedAt":{"$lt":%q}}`, middle), func(d map[string]any) bool { return started(d) < middle }},
		{fmt.Sprintf(`{"StartedAt":{"$lte":%q}}`, middle), func(d map[string]any) bool { return started(d) <= middle }},
		{fmt.Sprintf(`{"StartedAt":{"$in":[%q,%q]}}`, middle, later), func(d map[string]any) bool { return started(d) == middle || started(d) == later }},
		{fmt.Sprintf(`{"StartedAt":{"$gte":%q,"$lt":%q},"Status":"success"}`, middle, later), func(d map[string]any) bool {
			return started(d) >= middle && started(d) < later && d["Status"] == "success"
		}},
		// As text ".000Z" comes before "Z".
		{fmt.Sprintf(`{"StartedAt":{"$gt":%q}}`, middle[:19]+"Z"), func(d map[string]any) bool { return started(d) > middle[:19]+"Z" }},
		{fmt.Sprintf(`{"LastActivityAt":{"$gte":%q}}`, later), func(d map[string]any) bool { return d["LastActivityAt"].(string) >= later }},
	})
}

func TestQueriesOfMessages(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 3000, Span: 6 * time.Hour, NativeChatAllMessages: true})
	all := allDocuments(t, s, "messages", nil)
	some := membersOf(t, all[len(all)/2])
	conversation, user, moment := some["Conversation"], some["User"], some["CreatedAt"].(string)
	find(t, s, "messages", all, []wanted{
		{fmt.Sprintf(`{"Conversation":%q}`, conversation), func(d map[string]any) bool { return d["Conversation"] == conversation }},
		{fmt.Sprintf(`{"User":%q}`, user), func(d map[string]any) bool { return d["User"] == user }},
		{fmt.Sprintf(`{"User":%q,"From":"user"}`, user), func(d map[string]any) bool { return d["User"] == user && d["From"] == "user" }},
		{fmt.Sprintf(`{"Conversation":%q,"User":%q}`, conversation, user), func(d map[string]any) bool { return d["Conversation"] == conversation }},
		{fmt.Sprintf(`{"Conversation":%q,"CreatedAt":{"$gt":%q}}`, conversation, moment[:16]), func(d map[string]any) bool {
			return d["Conversation"] == conversation && d["CreatedAt"].(string) > moment[:16]
		}},
		{fmt.Sprintf(`{"CreatedAt":{"$gt":%q}}`, moment), func(d map[string]any) bool { return d["CreatedAt"].(string) > moment }},
		{fmt.Sprintf(`{"Conversation":{"$in":[%q]}}`, conversation), func(d map[string]any) bool { return d["Conversation"] == conversation }},
		{`{"QuickReplies.Title":"No"}`, func(d map[string]any) bool { list, _ := d["QuickReplies"].([]any); return len(list) > 0 }},
		{`{"Attachments.Size":{"$gt":500000}}`, func(d map[string]any) bool {
			list, _ := d["Attachments"].([]any)
			return len(list) > 0 && at(list[0], "Size").(float64) > 500_000
		}},
	})
	for _, query := range []string{`{"Conversation":"x"}`, `{"User":"x"}`, `{"Conversation":7}`, fmt.Sprintf(`{"$and":[{"User":%q},{"User":"x"}]}`, user)} {
		if got := allDocuments(t, s, "messages", params{"query": query}); len(got) != 0 {
			t.Errorf("%s finds %d messages", query, len(got))
		}
	}
}

func TestDatesMatchInOneSpellingOnly(t *testing.T) {
	for _, form := range []string{NativeChatISO, NativeChatDate, NativeChatMillis} {
		s := build(t, Options{Seed: 2, Backlog: 500, NativeChatDates: form})
		for path, fields := range map[string][]string{"conversations": {"StartedAt", "LastActivityAt"}, "messages": {"CreatedAt"}} {
			records := nativeRecords(s, path)
			from := records[len(records)/2].Time
			for _, field := range fields {
				for spelling, bound := range map[string]string{
					NativeChatISO:      fmt.Sprintf("%q", from.Format(nativeISO)),
					NativeChatDate:     fmt.Sprintf(`{"$date":%q}`, from.Format(time.RFC3339Nano)),
					NativeChatMillis:   fmt.Sprint(from.UnixMilli()),
					"date of a number": fmt.Sprintf(`{"$date":%d}`, from.UnixMilli()),
				} {
					matches := spelling == form || form == NativeChatDate && strings.HasPrefix(spelling, "date")
					for query, atLeast := range map[string]int{
						fmt.Sprintf(`{%q:{"$gte":%s}}`, field, bound):           len(records) / 2,
						fmt.Sprintf(`{%q:{"$lt":%s}}`, field, bound):            len(records) / 4,
						fmt.Sprintf(`{"$or":[{%q:{"$gte":%s}}]}`, field, bound): len(records) / 2,
					} {
						got := allDocuments(t, s, path, params{"query": query})
						if count := counted(t, s, path, params{"query": query}); count != len(got) {
							t.Errorf("%s, %s: %d are counted, %d listed", form, query, count, len(got))
						}
						if !matches && len(got) > 0 || matches && len(got) < atLeast || len(got) > len(records)*3/4 {
							t.Errorf("%s, %s: %d of %d documents", form, query, len(got), len(records))
						}
						for _, text := range got {
							if _, number := membersOf(t, text)[field].(float64); number != (form == NativeChatMillis) {
								t.Fatalf("%s: dates are shown like this: %s", form, text)
							}
						}
					}
				}
			}
		}
	}
}

func TestSorting(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 3000, Ties: 40})
	all := allDocuments(t, s, "conversations", nil)
	fields := decodeAll(t, all)
	name := func(d map[string]any) string { return at(d, "Data", "user", "FirstName").(string) }
	started := func(d map[string]any) string { return d["StartedAt"].(string) }
	for text, compare := range map[string]func(a, b map[string]any) int{
		`StartedAt`:                  func(a, b map[string]any) int { return strings.Compare(started(a), started(b)) },
		`{"StartedAt":1}`:            func(a, b map[string]any) int { return strings.Compare(started(a), started(b)) },
		`{"StartedAt":-1}`:           func(a, b map[string]any) int { return strings.Compare(started(b), started(a)) },
		`Data.user.FirstName`:        func(a, b map[string]any) int { return strings.Compare(name(a), name(b)) },
		`{"Data.user.FirstName":-1}`: func(a, b map[string]any) int { return strings.Compare(name(b), name(a)) },
		`{"Data.user.FirstName":1,"StartedAt":-1}`: func(a, b map[string]any) int {
			if order := strings.Compare(name(a), name(b)); order != 0 {
				return order
			}
			return strings.Compare(started(b), started(a))
		},
		`{"StartedAt":-1,"Data.user.FirstName":1}`: func(a, b map[string]any) int {
			if order := strings.Compare(started(b), started(a)); order != 0 {
				return order
			}
			return strings.Compare(name(a), name(b))
		},
		`{"StartedAt":1,"Data.user.FirstName":-1}`: func(a, b map[string]any) int {
			if order := strings.Compare(started(a), started(b)); order != 0 {
				return order
			}
			return strings.Compare(name(b), name(a))
		},
		`nothing`: func(a, b map[string]any) int { return 0 },
		// Numbers come before text.
		`Errors`: func(a, b map[string]any) int {
			order := func(d map[string]any) string { return fmt.Sprintf("%T%v", d["Errors"], d["Errors"]) }
			return strings.Compare(order(a), order(b))
		},
	} {
		want := slices.Clone(all)
		slices.SortStableFunc(want, func(a, b string) int { return compare(fields[a], fields[b]) })
		if got := allDocuments(t, s, "conversations", params{"sort": text}); !slices.Equal(got, want) {
			t.Errorf("%s: not in order", text)
		}
		// Of some only, and a page from the middle.
		query := params{"query": `{"Status":"success"}`, "sort": text, "skip": "50", "limit": "30"}
		want = fields.selected(want, func(d map[string]any) bool { return d["Status"] == "success" })
		if got := documents(t, s, "conversations", query); !slices.Equal(got, want[50:80]) {
			t.Errorf("%s: not in order where there is a query", text)
		}
	}
}

func TestLimitAndSkip(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 2500})
	all := allDocuments(t, s, "messages", allMessages)
	if len(all) != 2500 {
		t.Fatalf("%d messages", len(all))
	}
	for _, c := range []struct {
		limit, skip string
		from, to    int
	}{{"", "", 0, 100}, {"1", "", 0, 1}, {"1000", "", 0, 1000}, {"1000", "2000", 2000, 2500}, {"7", "2499", 2499, 2500}, {"", "2500", 0, 0}, {"", "99999", 0, 0}} {
		for _, query := range []string{allMessages["query"], `{"CreatedAt":{"$gte":""}}`} {
			p := params{"query": query}
			if c.limit != "" {
				p["limit"] = c.limit
			}
			if c.skip != "" {
				p["skip"] = c.skip
			}
			if got := documents(t, s, "messages", p); !slices.Equal(got, all[c.from:c.to]) {
				t.Errorf("limit %q, skip %q of %s: %d messages", c.limit, c.skip, query, len(got))
			}
		}
	}
}

func TestWrapper(t *testing.T) {
	bare := build(t, Options{Seed: 2, Backlog: 500})
	for _, name := range []string{"Result", "data"} {
		s := build(t, Options{Seed: 2, Backlog: 500, NativeChatWrapper: name})
		for _, p := range []params{allMessages, {"query": `{"CreatedAt":{"$gte":"2026-03-02"}}`, "skip": "20", "sort": "CreatedAt"}, {"query": `{"User":"x"}`}} {
			var object map[string]json.RawMessage
			body := native(t, s, "messages", p).Body.Bytes()
			if err := json.Unmarshal(body, &object); err != nil || len(object) != 2 {
				t.Fatalf("%v: %s", err, body)
			}
			if want := native(t, bare, "messages", p).Body.String(); string(object[name]) != want {
				t.Errorf("%s is %.200s, want %.200s", name, object[name], want)
			}
			if want := fmt.Sprint(counted(t, bare, "messages", p)); string(object["Total"]) != want {
				t.Errorf("the total is %s, want %s", object["Total"], want)
			}
		}
	}
}

func TestCountsComeInTwoForms(t *testing.T) {
	s := build(t, Options{Seed: 2, Backlog: 500})
	for range 2 {
		for _, want := range []string{`500`, `{"count":500}`} {
			if got := native(t, s, "messages/_count", nil).Body.String(); got != want {
				t.Errorf("the count is %s, want %s", got, want)
			}
		}
	}
	if e := s.Summary().Endpoints["nativechat/messages"]; e.Requests != 4 || e.Answered != 4 || e.Served != 0 {
		t.Errorf("the account says %+v", e)
	}
}
