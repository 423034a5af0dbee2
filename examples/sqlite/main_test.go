package main

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/examples/exampletest"
)

func TestMain(m *testing.M) { exampletest.Main(m, &options, main) }

// Killed between the commit of an event and its acknowledgement, the sink has each
// event once, on either broker.
func TestKilledBeforeTheAcknowledgement(t *testing.T) {
	for name, serve := range map[string]func(*testing.T) exampletest.Server{"nats": exampletest.OnNATS, "kafka": exampletest.OnKafka} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedBeforeTheAcknowledgement(t, serve(t))
		})
	}
}

func killedBeforeTheAcknowledgement(t *testing.T, s exampletest.Server) {
	path := filepath.Join(t.TempDir(), "events.db")
	// What is of another type is in another table.
	user := events.Event{ID: events.ID{1: 1, 15: 9}, Type: events.TypeUser, Key: "u", RecordID: "u", Members: []byte(`"name":"Ada"`)}
	users := exampletest.Publish(t, s, []events.Event{user})
	want := s.KillBetween(t, func() int { return count(t, path, "message") }, path, "message", "user")
	c := exampletest.Start(t, s.Options, s.URL, path, "message", "user")
	c.Await(t, "the last event", func() bool { return count(t, path, "message") >= len(want) && count(t, path, "user") > 0 })
	c.Stop(t)
	if n := s.Acknowledged(t, len(want)); n != len(want) {
		t.Errorf("%d of %d events are acknowledged after an end in order", n, len(want))
	}
	have := column(t, path, `SELECT id FROM message ORDER BY id`)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("%d messages in the database, %d of them different; want %d", len(have), len(slices.Compact(slices.Clone(have))), len(want))
	}
	if have := column(t, path, `SELECT id FROM user`); !slices.Equal(have, users) {
		t.Errorf("the users are %v, want %v", have, users)
	}
	for query, want := range map[string]string{
		`SELECT data->>'name' FROM user JOIN latest USING (id)`:                                 "Ada",
		`SELECT count(*) FROM message JOIN latest USING (id, source, recordid, recorded)`:       fmt.Sprint(len(want)),
		`SELECT count(*) FROM latest`:                                                           fmt.Sprint(len(want) + 1),
		`SELECT data->>'text' FROM message WHERE recordid = '7'`:                                "7",
		`SELECT DISTINCT source FROM message`:                                                   "/vendor/account/messages",
		`SELECT count(DISTINCT subject) FROM message WHERE time IS NULL AND recorded > '2026-'`: "20",
	} {
		if have := strings.Join(column(t, path, query), " "); have != want {
			t.Errorf("%s gives %q, want %q", query, have, want)
		}
	}
}

// Versions of a record are all there, whatever comes again, and latest names the one
// that was recorded last.
func TestLatest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "50%25 of #1?.db")
	s, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	noon := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	version := func(n byte, recorded time.Time) *message.Message {
		m := message.NewMessage("", fmt.Appendf(nil, `{"name":"version %d"}`, n))
		e := events.Event{ID: events.ID{n}, Source: events.StreamKey{Vendor: "v", Account: "a", Stream: "s"}, Type: events.TypeUser, RecordID: "u", Recorded: recorded}
		for _, a := range new(events.Encoder).AppendAttributes(nil, &e) {
			m.Metadata["ce_"+a.Name] = a.Value
		}
		return m
	}
	for _, m := range []*message.Message{
		version(1, noon), version(2, noon.Add(time.Second)), version(1, noon), // again
		version(3, noon.Add(time.Second)),          // at the same time
		version(4, noon.Add(500*time.Millisecond)), // late, as a backfill finds it
	} {
		if err := s.handle(m); err != nil {
			t.Fatal(err)
		}
	}
	if have := column(t, path, `SELECT data->>'name' FROM user JOIN latest USING (id)`); !slices.Equal(have, []string{"version 3"}) {
		t.Errorf("the latest are %v", have)
	}
	if have := count(t, path, "user"); have != 4 {
		t.Errorf("there are %d versions, want 4", have)
	}
	// Data that do not fit are kept, and what is lost with the database comes again.
	odd := version(5, noon)
	odd.Payload = []byte(`["odd"]`)
	if err := s.handle(odd); err != nil || count(t, path, "user") != 5 {
		t.Errorf("an event with odd data: %v, %d events", err, count(t, path, "user"))
	}
	s.db.Close()
	if err := s.handle(version(6, noon)); err == nil {
		t.Error("an event is acknowledged without a database")
	}
}

// count counts the rows of a table that need not be there yet.
func count(t *testing.T, path, table string) int {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		return 0
	}
	if column(t, path, `SELECT count(*) FROM sqlite_schema WHERE name = '`+table+`'`)[0] == "0" {
		return 0
	}
	n, err := strconv.Atoi(column(t, path, `SELECT count(*) FROM `+table)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// column returns what a query of one column gives.
func column(t *testing.T, path, query string) (all []string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
		all = append(all, value)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
