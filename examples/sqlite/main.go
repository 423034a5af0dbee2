// Command sqlite puts events of some types, from NATS or from Kafka, into a SQLite
// database: each into the table of its type, once, although a broker delivers it at
// least once. The table latest names the latest version of each record.
//
//	SELECT data->>'name', data->>'channel' FROM user JOIN latest USING (id);
//
// What one event brings about is one transaction, with its id in it. So either all
// of it is there or nothing, and what comes again is known.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	_ "modernc.org/sqlite" // the driver

	"github.com/millrace-io/millrace/consumers"
	"github.com/millrace-io/millrace/examples/router"
)

// options say who reads.
var options = router.Reader("example-sqlite")

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: sqlite nats://HOST:PORT|kafka://HOST:PORT[,HOST:PORT...] FILE TYPE...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, broker, path string, types []string) (err error) {
	s, err := open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Close()) }()
	return router.Run(ctx, broker, options, types, s.handle)
}

// sink writes events into a database. Safe for concurrent use.
type sink struct{ db *sql.DB }

func open(path string) (*sink, error) {
	// A transaction takes its lock when it begins; who reads does not hold it up.
	db, err := sql.Open("sqlite", "file:"+url.PathEscape(path)+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS latest (
		source TEXT, recordid TEXT, type TEXT, id TEXT, recorded TEXT, PRIMARY KEY (source, recordid, type))`)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), db.Close())
	}
	return &sink{db}, nil
}

// handle has an event acknowledged when it returns nil, which is after the commit.
func (s *sink) handle(m *message.Message) error {
	e, err := consumers.Decode(m)
	if e == nil {
		log.Printf("left out: %v", err)
		return nil
	}
	// Data that do not fit the type are kept as well: they stay JSON here.
	tx, err := s.db.BeginTx(m.Context(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if added, err := insert(tx, e); err != nil || !added {
		return err
	}
	if err := update(tx, e); err != nil {
		return err
	}
	return tx.Commit()
}

// insert adds an event's row; false where it is there.
func insert(tx *sql.Tx, e *consumers.Event) (bool, error) {
	table := `"` + strings.ReplaceAll(e.Type, `"`, `""`) + `"`
	_, err := tx.Exec(`CREATE TABLE IF NOT EXISTS ` + table + ` (
		id TEXT PRIMARY KEY, source TEXT, recordid TEXT, subject TEXT, time TEXT, recorded TEXT, data TEXT)`)
	if err != nil {
		return false, err
	}
	result, err := tx.Exec(`INSERT INTO `+table+` VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.ID, e.Source, e.RecordID, e.Subject, text(e.Time), text(e.RecordedTime), string(e.JSON))
	if err != nil {
		return false, err
	}
	added, err := result.RowsAffected()
	return added > 0, err
}

// update has latest name the event, unless a later version of its record came first.
// Of several that a transform has made of one record it is the last.
func update(tx *sql.Tx, e *consumers.Event) error {
	_, err := tx.Exec(`INSERT INTO latest VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET id = excluded.id, recorded = excluded.recorded WHERE excluded.recorded >= recorded`,
		e.Source, e.RecordID, e.Type, e.ID, text(e.RecordedTime))
	return err
}

// text is a time that sorts as text; NULL where there is none.
func text(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z")
}
