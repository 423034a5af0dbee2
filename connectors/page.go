package connectors

import (
	"encoding/json"
	"io"
	"time"

	"github.com/millrace-io/millrace/events"
)

// Fields is what a mapping works with: a scanner for the record's text, another
// one for an object inside of it, and a builder for the event's data, all used
// again for the next record.
type Fields struct {
	events.Scanner
	events.Members
	Inner events.Scanner
	Key   Key // that is read; zero where a stream has no Walk
}

// Mapper makes a record of an element's text. It counts only when f.Object says
// that the text is one I-JSON object; it sets everything but Raw and Members,
// which it leaves in f. What it returns is valid until f is used again.
type Mapper func(raw []byte, f *Fields) events.Record

// Map makes a record of one element's text.
func (m Mapper) Map(raw []byte, f *Fields) events.Record {
	f.Members = f.Members[:0]
	record := m(raw, f)
	record.Raw, record.Members = raw, f.Members
	return record
}

// NewPage makes a page of an answer that holds one array at a path of keys. Next
// finds the next cursor beside the array; nil when there are no pages.
func NewPage(a *Answer, key Key, maxRecord int, path []string, mapper Mapper, next func(*Array) (json.RawMessage, error)) *Page {
	return PageOf(a, ReadArray(a, maxRecord, path...), key, mapper, next)
}

// PageOf makes a page of an answer of which array reads the list; see [NewPage].
func PageOf(a *Answer, array *Array, key Key, mapper Mapper, next func(*Array) (json.RawMessage, error)) *Page {
	return &Page{
		Began: a.Began,
		Took:  a.Took,
		Close: a.Close,
		Records: func(yield func(events.Record, error) bool) {
			f := Fields{Key: key}
			for {
				raw, err := array.Next()
				if err == io.EOF {
					return
				}
				if err != nil {
					yield(events.Record{}, err)
					return
				}
				if !yield(mapper.Map(raw, &f), nil) {
					return
				}
			}
		},
		Next: func() (json.RawMessage, error) {
			if next == nil {
				return nil, nil
			}
			return next(array)
		},
	}
}

// EmptyPage is an answer without records, the last of its window.
func EmptyPage(began time.Time) *Page {
	return &Page{
		Began: began, Close: func() {},
		Records: func(func(events.Record, error) bool) {},
		Next:    func() (json.RawMessage, error) { return nil, nil },
	}
}
