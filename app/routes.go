package app

import (
	"slices"

	"github.com/millrace-io/millrace/config"
	"github.com/millrace-io/millrace/events"
)

// routed returns the topics that the configuration routes events to, by their
// names behind the prefix, none of them twice.
func routed(file *config.File) []string {
	var names []string
	for _, t := range file.Transforms {
		if name, ok := t.Raw["route"].(string); ok && events.CheckTopic(name) == nil && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Topics returns the topics that events go to, by their names behind the prefix:
// those of the event types, and those that the configuration, which may be nil,
// routes events to.
func Topics(file *config.File) []string {
	var names []string
	for _, t := range events.Catalogue() {
		names = append(names, t.Name)
	}
	if file != nil {
		names = append(names, routed(file)...)
	}
	return names
}
