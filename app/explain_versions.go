package app

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/millrace-io/millrace/events"
)

// versionOf tells of the n-th event of a record, and what differs from the one
// before it.
func versionOf(all []*foundEvent, n int) ExplainedVersion {
	e := all[n]
	v := ExplainedVersion{ID: e.ID.String(), Type: e.Type, Time: e.Time, Recorded: e.Recorded, Replay: e.Replay, Place: e.place()}
	if n > 0 {
		v.Again = all[n-1].ID == e.ID
		v.Changed = differences(all[n-1].data, e.data)
	}
	return v
}

// differences names the members that differ of two events' data.
func differences(before, after []byte) []string {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return nil
	}
	names := differing(a, b, "")
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a["raw"], &x) == nil && json.Unmarshal(b["raw"], &y) == nil {
		names = slices.DeleteFunc(names, func(name string) bool { return name == "raw" })
		names = append(names, differing(x, y, "raw.")...)
	}
	return names
}

func differing(a, b map[string]json.RawMessage, prefix string) []string {
	var names []string
	for name, value := range a {
		if other, ok := b[name]; !ok || !sameValue(value, other) {
			names = append(names, prefix+name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, prefix+name)
		}
	}
	slices.Sort(names)
	return names
}

// sameValue says whether two texts mean the same JSON.
func sameValue(a, b []byte) bool {
	x, err1 := events.Canonical(a)
	y, err2 := events.Canonical(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y) || bytes.Equal(a, b)
}
