package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-io/millrace/events"
	"github.com/millrace-io/millrace/pipeline"
)

// Selection chooses dead letters.
type Selection struct {
	IDs       []string `json:"ids,omitempty"`
	Connector string   `json:"connector,omitempty"` // the name that the letters bear
	Stream    string   `json:"stream,omitempty"`    // its key, its last part, or CONNECTOR/STREAM
	Reason    string   `json:"reason,omitempty"`
	// Resolved chooses those that were replayed or discarded; else those that
	// were not.
	Resolved bool `json:"resolved,omitempty"`
}

// Empty says that nothing narrows the choice.
func (s *Selection) Empty() bool {
	return len(s.IDs) == 0 && s.Connector == "" && s.Stream == "" && s.Reason == ""
}

func (s *Selection) has(l *pipeline.Letter) bool {
	return (len(s.IDs) == 0 || slices.Contains(s.IDs, l.ID.String())) &&
		(s.Connector == "" || s.Connector == l.Connector) &&
		(s.Stream == "" || s.isOf(l.Connector, l.Stream)) &&
		(s.Reason == "" || s.Reason == l.Dead.Reason)
}

// isOf says whether the selection names this stream of a connector.
func (s *Selection) isOf(connector string, key events.StreamKey) bool {
	return s.Stream == key.Stream || s.Stream == key.String() || s.Stream == connector+"/"+key.Stream
}

// mistyped says of a selection that holds no letter what it names that nothing
// has: of a stream that is not read any more there may be letters still.
func (o *operator) mistyped(s Selection) error {
	var streams, names []string
	known := s.Stream == ""
	for _, c := range o.connectors {
		names = append(names, c.Name)
		for _, one := range c.Streams {
			known = known || s.isOf(c.Name, one.Key)
			if s.Connector == "" || s.Connector == c.Name {
				streams = append(streams, called(one))
			}
		}
	}
	switch {
	case s.Connector != "" && !slices.Contains(names, s.Connector):
		return &UsageError{fmt.Errorf("no such dead letter is of a connector %q; the configuration has %s", s.Connector, strings.Join(names, ", "))}
	case !known:
		return &UsageError{fmt.Errorf("no such dead letter is of a stream %q; the configuration has %s", s.Stream, strings.Join(streams, ", "))}
	}
	return nil
}
