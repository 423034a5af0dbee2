package nativechat

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-io/millrace/connectors"
)

// ago is a time before now, as a layout writes it.
func ago(d time.Duration, layout string) string { return time.Now().Add(-d).UTC().Format(layout) }

// readShelf reads a stream of a shelf and wants so many different records, each
// once.
func readShelf(t *testing.T, name string, s *shelf, stream string, keys map[string]any, want int) {
	t.Helper()
	got, kept, err := readOnce(t, streamOf(t, &served{handler: s}, stream, keys))
	if err != nil || len(got) != want {
		t.Errorf("%s: %d of %d records, %v", name, len(got), want, err)
	}
	if time.Since(kept.Live.At) > 5*time.Second {
		t.Errorf("%s: it stands at %s", name, kept.Live.At)
	}
}

// An API may give fewer documents at once than were asked for, and not tell.
func TestLimitIsCapped(t *testing.T) {
	for _, most := range []int{2, 7, 50, 99, 100} {
		s := &shelf{most: most, docs: map[string][]string{}}
		for i := range 120 {
			s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","StartedAt":%q}`, i, ago(time.Duration(i)*time.Minute, isoMillis)))
		}
		for i := range 180 {
			s.docs[messages] = append(s.docs[messages], fmt.Sprintf(`{"_id":"m%d","Conversation":"c%d","CreatedAt":%q}`, i, min(i, 5), ago(time.Duration(i/2)*time.Minute, isoMillis)))
		}
		name := fmt.Sprint("at most ", most)
		readShelf(t, name, s, conversations, nil, 120)
		readShelf(t, name, s, messages, nil, 180)
		s.asked = 0
		readShelf(t, name, s, messages, map[string]any{"messages": all}, 180)
		if pages := 180 / most; s.asked > 3*pages+60 {
			t.Errorf("%s: %d requests", name, s.asked)
		}
	}
}

// Documents of one time come in one order only where that is asked for, and more
// of them may come while they are read.
func TestTiesInAnyOrder(t *testing.T) {
	at := ago(time.Hour, isoMillis)
	s := &shelf{docs: map[string][]string{conversations: {fmt.Sprintf(`{"_id":"c","StartedAt":%q}`, at)}}}
	add := func(n int) {
		s.docs[messages] = append(s.docs[messages], fmt.Sprintf(`{"_id":"m%06d","Conversation":"c","CreatedAt":%q}`, n, at))
	}
	for n := range 1000 {
		add(n)
	}
	n := 1000
	s.full = func(asked int) error {
		if n < 1300 {
			for range 30 {
				add(n)
				n++
			}
		}
		return nil
	}
	readShelf(t, "a tie", s, messages, nil, 1300)
}

// Documents that do not show their time as others do neither stop the stream nor
// hide others.
func TestOddTimes(t *testing.T) {
	var odd []string
	for i, at := range []string{`null`, fmt.Sprint(time.Now().UnixMilli()), `"soon"`, `{"a":1}`, `true`} {
		odd = append(odd, fmt.Sprintf(`{"_id":"o%d","StartedAt":%s,"ModifiedAt":%q}`, i, at, ago(time.Minute, isoMillis)))
	}
	odd = append(odd, fmt.Sprintf(`{"_id":"o","ModifiedAt":%q}`, ago(time.Minute, isoMillis)))
	for _, count := range []int{10, 95, 100, 250} {
		s := &shelf{docs: map[string][]string{conversations: slices.Clone(odd)}}
		for i := range count {
			s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","StartedAt":%q}`, i, ago(time.Duration(i)*time.Minute, isoMillis)))
		}
		readShelf(t, fmt.Sprint(count), s, conversations, nil, count+len(odd))
	}
}

// Times that leave out a fraction of zero are in another order as texts than as
// times.
func TestFractionsAsText(t *testing.T) {
	s := &shelf{docs: map[string][]string{}}
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for i := range 400 {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","StartedAt":%q}`, i, at.Add(time.Duration(i)*500*time.Millisecond).Format(time.RFC3339Nano)))
	}
	readShelf(t, "fractions", s, conversations, nil, 400)
	slices.Reverse(s.docs[conversations])
	readShelf(t, "fractions, reversed", s, conversations, nil, 400)
}

// The name that most documents have is the one that they are asked for by.
func TestNameOfMost(t *testing.T) {
	s := &shelf{docs: map[string][]string{conversations: {
		fmt.Sprintf(`{"_id":"old","StartedAt":%q,"CreatedAt":%q}`, ago(time.Hour, isoMillis), ago(time.Hour, isoMillis)),
	}}}
	for i := range 10 {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","CreatedAt":%q}`, i, ago(time.Duration(i)*time.Minute, isoMillis)))
	}
	readShelf(t, "names", s, conversations, nil, 11)
}

// The last activity may be written in another way than the beginning.
func TestActivityInAnotherSpelling(t *testing.T) {
	s := &shelf{docs: map[string][]string{
		conversations: {
			fmt.Sprintf(`{"_id":"a","StartedAt":%q,"ModifiedAt":%d}`, ago(1000*time.Hour, isoMillis), time.Now().Add(-time.Minute).UnixMilli()),
			fmt.Sprintf(`{"_id":"b","StartedAt":%q,"ModifiedAt":%d}`, ago(time.Hour, isoMillis), time.Now().Add(-time.Hour).UnixMilli()),
		},
		messages: {fmt.Sprintf(`{"_id":"m","Conversation":"a","CreatedAt":%q}`, ago(time.Minute, isoMillis))},
	}}
	readShelf(t, "conversations", s, conversations, nil, 2)
	readShelf(t, "messages", s, messages, nil, 1)
}

// A conversation whose messages show no time does not keep others from being read.
func TestFirstConversationIsOdd(t *testing.T) {
	s := &shelf{docs: map[string][]string{}}
	for _, c := range []string{"a", "b", "c"} {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":%q,"StartedAt":%q}`, c, ago(time.Hour, isoMillis)))
		at := fmt.Sprintf(`,"CreatedAt":%q`, ago(time.Hour, isoMillis))
		if c == "a" {
			at = ""
		}
		s.docs[messages] = append(s.docs[messages], fmt.Sprintf(`{"_id":"m%s","Conversation":%q%s}`, c, c, at))
	}
	stream := streamOf(t, &served{handler: s}, messages, nil)
	odd := connectors.Request{From: time.Now().Add(-2 * time.Hour), To: time.Now(), Key: connectors.Key{ID: "a"}}
	if _, err := stream.Pager.Page(t.Context(), odd); err != nil {
		t.Error(err)
	}
	readShelf(t, "odd", s, messages, nil, 2)
}

// Where the messages of a conversation cannot be read, the error names it.
func TestConversationThatFails(t *testing.T) {
	s := &shelf{docs: map[string][]string{
		conversations: {fmt.Sprintf(`{"_id":"c7","StartedAt":%q}`, ago(time.Hour, isoMillis))},
		messages:      {fmt.Sprintf(`{"_id":"m","Conversation":"c7","CreatedAt":%q}`, ago(time.Hour, isoMillis))},
	}}
	stream := streamOf(t, &served{handler: s}, messages, nil)
	s.full = func(int) error { return errors.New("no") }
	_, err := stream.Pager.Page(t.Context(), connectors.Request{From: time.Now().Add(-2 * time.Hour), To: time.Now(), Key: connectors.Key{ID: "c7"}})
	if err == nil || !strings.Contains(err.Error(), "c7") || connectors.KindOf(err) != connectors.Retry {
		t.Errorf("%v", err)
	}
}

// A conversation whose messages the API refuses does not keep the others from
// being read.
func TestAConversationThatIsRefused(t *testing.T) {
	s := &shelf{docs: map[string][]string{}}
	for i := range 9 {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"talk%d","StartedAt":%q}`, i, ago(time.Hour, isoMillis)))
		s.docs[messages] = append(s.docs[messages], fmt.Sprintf(`{"_id":"m%d","Conversation":"talk%d","CreatedAt":%q}`, i, i, ago(time.Hour, isoMillis)))
	}
	refusing := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "talk4") {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		s.ServeHTTP(w, r)
	})
	got, kept, err := readOnce(t, streamOf(t, &served{handler: refusing}, messages, nil))
	if err != nil || len(got) != 8 || time.Since(kept.Live.At) > 5*time.Second {
		t.Errorf("%d records, it stands at %s, %v", len(got), kept.Live.At, err)
	}
}

// Documents that come to an empty account are found by their first.
func TestFirstDocuments(t *testing.T) {
	s := &shelf{docs: map[string][]string{}}
	stream := streamOf(t, &served{handler: s}, conversations, nil)
	if got, _, err := readOnce(t, stream); err != nil || len(got) > 0 {
		t.Fatalf("%d, %v", len(got), err)
	}
	s.docs[conversations] = []string{fmt.Sprintf(`{"_id":"a","StartedAt":%d}`, time.Now().UnixMilli())}
	if got, _, err := readOnce(t, stream); err != nil || len(got) != 1 {
		t.Errorf("%d, %v", len(got), err)
	}
	// Before they count as nothing it is proved that they would be found.
	s.noOr, s.docs[conversations] = true, nil
	api := &served{handler: s}
	stream = streamOf(t, api, conversations, nil)
	if _, _, err := readOnce(t, stream); err != nil {
		t.Fatal(err)
	}
	s.docs[conversations] = []string{fmt.Sprintf(`{"_id":"a","StartedAt":%q}`, ago(time.Hour, isoMillis))}
	wantFail(t, "the first document", stream, api, "$or")
}

// A server that does not understand $or finds nothing by it.
func TestOrIsNotUnderstood(t *testing.T) {
	s := &shelf{noOr: true, docs: map[string][]string{conversations: {fmt.Sprintf(`{"_id":"a","StartedAt":%q}`, ago(time.Hour, isoMillis))}}}
	api := &served{handler: s}
	for _, name := range streams {
		wantFail(t, name, streamOf(t, api, name, nil), api, "$or")
	}
}

// Where documents of one time cannot be sorted, they are asked for as documented.
func TestSortByOneFieldOnly(t *testing.T) {
	s := &shelf{plainSort: true, docs: map[string][]string{}}
	for i := range 250 {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","StartedAt":%q}`, i, ago(time.Duration(i)*time.Minute, isoMillis)))
	}
	readShelf(t, "plain", s, conversations, nil, 250)
}

// What cannot be asked for by its time is told by check.
func TestCheckTellsOfOddTimes(t *testing.T) {
	s := &shelf{docs: map[string][]string{conversations: {
		fmt.Sprintf(`{"_id":"a","StartedAt":%q,"ModifiedAt":{"$date":%q}}`, ago(time.Hour, isoMillis), ago(time.Hour, isoMillis)),
		fmt.Sprintf(`{"_id":"b","StartedAt":%q}`, ago(time.Hour, isoMillis)), `{"_id":"c"}`, `{"_id":"d","StartedAt":7000000000000}`,
	}}}
	c := connect(t, &served{handler: s}, nil)
	if err := c.Probe(t.Context()); err != nil || len(c.Notes) != 2 || !strings.Contains(c.Notes[0], "ModifiedAt") || !strings.Contains(c.Notes[1], "2 of 4") {
		t.Errorf("%q, %v", c.Notes, err)
	}
}

// Messages that show no time are no emptiness, whatever the first conversations
// hold.
func TestMessagesWithoutATime(t *testing.T) {
	s := &shelf{docs: map[string][]string{}}
	for i := range looked + 2 { // the oldest have no messages any more
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"c%d","StartedAt":%q}`, i, ago(time.Hour, isoMillis)))
	}
	s.docs[messages] = []string{fmt.Sprintf(`{"_id":"m","Conversation":"c%d","CreatedOn":%q}`, looked+1, ago(time.Hour, isoMillis))}
	api := &served{handler: s}
	wantFail(t, "no time", streamOf(t, api, messages, nil), api, "time_fields")
}

// One conversation without an id does not keep the messages of others from being
// read.
func TestOneConversationWithoutAnID(t *testing.T) {
	s := &shelf{docs: map[string][]string{conversations: {fmt.Sprintf(`{"StartedAt":%q}`, ago(time.Hour, isoMillis))}}}
	for i := range 9 {
		s.docs[conversations] = append(s.docs[conversations], fmt.Sprintf(`{"_id":"talk%d","StartedAt":%q}`, i, ago(time.Hour, isoMillis)))
		s.docs[messages] = append(s.docs[messages], fmt.Sprintf(`{"_id":"m%d","Conversation":"talk%d","CreatedAt":%q}`, i, i, ago(time.Hour, isoMillis)))
	}
	readShelf(t, "one without", s, messages, nil, 9)
}

// Nor does it where nobody else talked in the time that is read, but later.
func TestAConversationWithoutAnIDAlone(t *testing.T) {
	s := &shelf{docs: map[string][]string{
		conversations: {
			fmt.Sprintf(`{"StartedAt":%q}`, ago(5*time.Hour, isoMillis)),
			fmt.Sprintf(`{"_id":"later","StartedAt":%q}`, ago(time.Minute, isoMillis)),
		},
		messages: {fmt.Sprintf(`{"_id":"m","Conversation":"later","CreatedAt":%q}`, ago(time.Minute, isoMillis))},
	}}
	from, to := time.Now().Add(-6*time.Hour).Truncate(time.Second), time.Now().Add(-4*time.Hour).Truncate(time.Second)
	kept := &store{connectors.Progress{Since: from, Live: connectors.Position{At: to}}}
	kept.Backfill = &connectors.BackfillPosition{Number: 1, From: from, To: to, Position: connectors.Position{At: from}}
	sub := connectors.NewSubscriber(streamOf(t, &served{handler: s}, messages, nil), connectors.SubscriberOptions{Once: true, Only: connectors.Backfill, Store: kept})
	out, err := sub.Subscribe(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for msg := range out {
		msg.Ack()
	}
	if err := sub.Err(); err != nil || !kept.Backfill.Over() {
		t.Errorf("it stands at %s, %v", kept.Backfill.At, err)
	}
}
