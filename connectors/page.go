package connectors

import (
	"encoding/json"
	"io"

	"github.com/millrace-io/millrace/events"
)

// Fields is what a mapping works with: a scanner for the record's text, another
// one for an object inside of it, and a builder for the event's data, all used
// again for the next record.
type Fields struct {
	events.Scanner
	events.Members
	Inner events.Scanner
}

// NewPage makes a page of an answer that holds one array at a path of keys. Map
// makes a record of an element's text, which counts only when f.Object says that
// it is one I-JSON object; it sets everything but Raw and Members. Next finds the
// next cursor beside the array; nil when there are no pages.
func NewPage(a *Answer, maxRecord int, path []string, mapRecord func(raw []byte, f *Fields) events.Record, next func(*Array) (json.RawMessage, error)) *Page {
	array := ReadArray(a, maxRecord, path...)
	return &Page{
		Began: a.Began,
		Close: a.Close,
		Records: func(yield func(events.Record, error) bool) {
			var f Fields
			for {
				raw, err := array.Next()
				if err == io.EOF {
					return
				}
				if err != nil {
					yield(events.Record{}, err)
					return
				}
				f.Members = f.Members[:0]
				record := mapRecord(raw, &f)
				record.Raw, record.Members = raw, f.Members
				if !yield(record, nil) {
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
